"""Tables of metrics and detections."""

from collections.abc import Iterable

from earmark.v1.detection_pb2 import Detection
from earmark.v1.metrics_pb2 import EvalMetrics, Figures, TypeMetrics
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


def seconds(ms: int) -> str:
    """Return a time in a recording, in seconds."""
    return f"{ms / 1000:.3f} s"


def figure(figures: Figures | TypeMetrics, name: str) -> str:
    """Return one of `precision`, `recall` and `f1_score` with two decimals, a dash where it is unset."""
    return f"{getattr(figures, name):.2f}" if figures.HasField(name) else "–"  # noqa: RUF001


def _row(figures: Figures | TypeMetrics) -> list[str]:
    names = ("precision", "recall", "f1_score")
    return [*(figure(figures, name) for name in names), str(figures.support)]
