"""Figures as messages, for the trainer that computes them in training and the gateway that evaluates."""

from earmark.figures import EvalMetrics, Figures, Interval, TypeMetrics
from earmark.v1 import metrics_pb2


def to_metrics(metrics: EvalMetrics) -> metrics_pb2.EvalMetrics:
    """Leaves a figure that is None unset."""
    return metrics_pb2.EvalMetrics(
        overall=to_figures(metrics.overall),
        per_type={name: to_type_metrics(of_type) for name, of_type in metrics.per_type.items()},
        macro_f1_score=metrics.macro_f1_score,
        chunk=to_figures(metrics.chunk),
        segment=to_figures(metrics.segment),
        f1_score_interval=to_interval(metrics.f1_score_interval),
    )


def to_type_metrics(metrics: TypeMetrics) -> metrics_pb2.TypeMetrics:
    """Puts the event-level figures at the top, and those of chunks and segments into their own fields."""
    return metrics_pb2.TypeMetrics(
        precision=metrics.event.precision,
        recall=metrics.event.recall,
        f1_score=metrics.event.f1_score,
        support=metrics.event.support,
        chunk=to_figures(metrics.chunk),
        average_precision=metrics.average_precision,
        best_threshold=metrics.best_threshold,
        segment=to_figures(metrics.segment),
        precision_recall_curve=[
            metrics_pb2.OperatingPoint(threshold=p.threshold, precision=p.precision, recall=p.recall)
            for p in metrics.precision_recall_curve
        ],
        f1_score_interval=to_interval(metrics.f1_score_interval),
    )


def to_interval(interval: Interval | None) -> metrics_pb2.ConfidenceInterval | None:
    """Leaves the field unset if there is no interval."""
    return metrics_pb2.ConfidenceInterval(low=interval.low, high=interval.high) if interval else None


def to_figures(figures: Figures | None) -> metrics_pb2.DetectionFigures | None:
    """Leaves a figure that is None unset, and the field if there are no figures."""
    if figures is None:
        return None
    return metrics_pb2.DetectionFigures(
        precision=figures.precision,
        recall=figures.recall,
        f1_score=figures.f1_score,
        support=figures.support,
    )
