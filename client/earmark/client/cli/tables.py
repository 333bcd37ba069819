"""Tables of metrics, detections and trainers."""

from collections.abc import Iterable
from datetime import UTC

from earmark.v1.detection_pb2 import Detection
from earmark.v1.metrics_pb2 import EvalMetrics, Figures, TypeMetrics
from earmark.v1.training_service_pb2 import GetCapacityResponse, TrainerStatus
from rich.markup import escape
from rich.table import Table


def metrics_table(metrics: EvalMetrics, title: str | None = None) -> Table:
    """Return precision, recall, F1 and support by artifact type and over all; unset figures are a dash."""
    table = Table(title=title, title_justify="left", show_footer=bool(metrics.per_type))
    table.add_column("artifact type", "over all")
    overall = _row(metrics.overall)
    for name, figure in zip(("precision", "recall", "F1", "support"), overall, strict=True):
        table.add_column(name, figure, justify="right")
    for name, found in sorted(metrics.per_type.items()):
        table.add_row(escape(name), *_row(found))
    return table


def detection_table(detections: Iterable[Detection]) -> Table:
    """Return the detections, one a row."""
    table = Table()
    table.add_column("artifact type")
    for name in ("start", "end", "confidence"):
        table.add_column(name, justify="right")
    for found in detections:
        table.add_row(
            escape(found.artifact_type),
            seconds(found.start_ms),
            seconds(found.end_ms),
            f"{found.confidence:.2f}",
        )
    return table


def trainer_table(trainers: Iterable[TrainerStatus]) -> Table:
    """Return the trainers, one a row; slots are a dash where the trainer does not say."""
    table = Table()
    table.add_column("address", overflow="fold")
    table.add_column("state")
    table.add_column("device")
    for name in ("training", "audio"):
        table.add_column(name, justify="right")
    table.add_column("note")
    for trainer in trainers:
        table.add_row(
            escape(trainer.address),
            "available" if trainer.is_available else "[red]unavailable[/red]",
            escape(trainer.device),
            _slots(trainer.training_slots, trainer.free_training_slots),
            _slots(trainer.audio_slots, trainer.free_audio_slots),
            escape(_note(trainer)),
        )
    return table


def job_counts(capacity: GetCapacityResponse) -> str:
    """Return how many jobs wait and how many train, in words."""
    waiting = {0: "no job waits", 1: "1 job waits"}.get(
        capacity.waiting_jobs, f"{capacity.waiting_jobs} jobs wait"
    )
    running = {0: "none trains", 1: "1 trains"}.get(capacity.training_jobs, f"{capacity.training_jobs} train")
    return f"{waiting}, {running}"


def _slots(total: int, free: int) -> str:
    """Return the used of all."""
    return f"{total - free}/{total}" if total else "–"  # noqa: RUF001


def _note(trainer: TrainerStatus) -> str:
    """Return the problem, and since when a trainer that is not available has been silent."""
    if trainer.is_available or not trainer.HasField("seen_at"):
        return trainer.problem
    seen = trainer.seen_at.ToDatetime(UTC).astimezone()
    return f"{trainer.problem} (last heard of {seen:%Y-%m-%d %H:%M:%S})"


def seconds(ms: int) -> str:
    """Return a time in a recording, in seconds."""
    return f"{ms / 1000:.3f} s"


def figure(figures: Figures | TypeMetrics, name: str) -> str:
    """Return one of `precision`, `recall` and `f1_score` with two decimals, a dash where it is unset."""
    return f"{getattr(figures, name):.2f}" if figures.HasField(name) else "–"  # noqa: RUF001


def _row(figures: Figures | TypeMetrics) -> list[str]:
    names = ("precision", "recall", "f1_score")
    return [*(figure(figures, name) for name in names), str(figures.support)]
