"""Tables of metrics, detections and trainers."""

from collections.abc import Iterable
from datetime import UTC

from rich.markup import escape
from rich.table import Table

from earmark.client.cli.search import Found
from earmark.v1.admin_service_pb2 import BackgroundTask, GetCapacityResponse, Trainer
from earmark.v1.metrics_pb2 import DetectionFigures, EvalMetrics, TypeMetrics


def metrics_table(metrics: EvalMetrics, title: str | None = None) -> Table:
    """Return precision, recall, F1 and support by artifact type and over all; an unset figure is a dash."""
    table = Table(title=title, title_justify="left", show_footer=bool(metrics.per_type))
    table.add_column("artifact type", "over all")
    overall = _row(metrics.overall)
    for name, footer in zip(("precision", "recall", "F1", "support"), overall, strict=True):
        table.add_column(name, footer, justify="right")
    for name, figures in sorted(metrics.per_type.items()):
        table.add_row(escape(name), *_row(figures))
    return table


def detection_table(detections: Iterable[Found], *, with_files: bool) -> Table:
    """Return a table with one row for each detection."""
    table = Table()
    if with_files:
        table.add_column("file", overflow="fold")
    table.add_column("artifact type")
    for name in ("start", "end", "confidence"):
        table.add_column(name, justify="right")
    table.add_column("channels")
    for detection in detections:
        table.add_row(
            *([escape(detection.file)] if with_files else []),
            escape(detection.artifact_type),
            seconds(detection.start_ms),
            seconds(detection.end_ms),
            f"{detection.confidence:.2f}",
            ", ".join(map(str, detection.channels)),
        )
    return table


def detection_line(detection: Found) -> str:
    """Return a detection as one line, for output that goes on."""
    times = f"{seconds(detection.start_ms)} - {seconds(detection.end_ms)}"
    channels = ", ".join(map(str, detection.channels))
    return f"{times}  {detection.artifact_type}  {detection.confidence:.2f}  channels {channels}"


def trainer_table(trainers: Iterable[Trainer]) -> Table:
    """Return a table with one row for each trainer; unknown slots are a dash."""
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
    """Return how many jobs wait and how many train: `2 jobs wait, 1 trains`."""
    waiting = {0: "no job waits", 1: "1 job waits"}.get(
        capacity.waiting_jobs, f"{capacity.waiting_jobs} jobs wait"
    )
    running = {0: "none trains", 1: "1 trains"}.get(capacity.training_jobs, f"{capacity.training_jobs} train")
    return f"{waiting}, {running}"


def outdated_files(capacity: GetCapacityResponse) -> str:
    """Return how many files' features are left to compute again, such as `12 files left, 1 failing`."""
    if not capacity.outdated_files:
        return ""
    left = f"{capacity.outdated_files} file{'s' if capacity.outdated_files > 1 else ''} left"
    failing = (
        f", [red]{capacity.failing_outdated_files} failing[/red]" if capacity.failing_outdated_files else ""
    )
    return f"features are being computed again for the trainers' front end: {left}{failing}"


def task_failures(task: BackgroundTask) -> str:
    """Return how often a task of the gateway has failed, and its last error."""
    failed = f"{task.failed_at.ToDatetime(UTC).astimezone():%Y-%m-%d %H:%M:%S}"
    state = "[red]keeps failing[/red]" if task.keeps_failing else "has failed"
    return f"{escape(task.name)} {state} ({task.restarts} in all, last {failed}): {escape(task.last_error)}"


def _slots(total: int, free: int) -> str:
    """Return used and all slots: `1/2`."""
    return f"{total - free}/{total}" if total else "–"  # noqa: RUF001


def _note(trainer: Trainer) -> str:
    """Return a trainer's problem and, if it is unavailable, when it last answered."""
    if trainer.is_available or not trainer.HasField("seen_at"):
        return trainer.problem
    seen = trainer.seen_at.ToDatetime(UTC).astimezone()
    return f"{trainer.problem} (last seen {seen:%Y-%m-%d %H:%M:%S})"


def seconds(ms: int) -> str:
    """Return a time in milliseconds as text in seconds: `1.200 s`."""
    return f"{ms / 1000:.3f} s"


def figure(figures: DetectionFigures | TypeMetrics, name: str) -> str:
    """Return one of `precision`, `recall` and `f1_score` with two decimals, or a dash if it is unset."""
    return f"{getattr(figures, name):.2f}" if figures.HasField(name) else "–"  # noqa: RUF001


def _row(figures: DetectionFigures | TypeMetrics) -> list[str]:
    names = ("precision", "recall", "f1_score")
    return [*(figure(figures, name) for name in names), str(figures.support)]
