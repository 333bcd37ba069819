"""Converts a job's or a model's figures from their stored JSON form."""

from typing import Any

from earmark.gateway.convert.values import from_json
from earmark.v1 import metrics_pb2

MetricsView = metrics_pb2.MetricsView


def eval_metrics_message(stored: dict[str, Any], view: MetricsView) -> metrics_pb2.EvalMetrics:
    """The figures as the API shows them: without the curves unless `view` is FULL."""
    return from_json(
        stored if view == metrics_pb2.METRICS_VIEW_FULL else _without_curves(stored), metrics_pb2.EvalMetrics
    )


def _without_curves(stored: dict[str, Any]) -> dict[str, Any]:
    per_type = {
        name: {key: value for key, value in figures.items() if key != "precision_recall_curve"}
        for name, figures in stored.get("per_type", {}).items()
    }
    return {**stored, "per_type": per_type} if per_type else stored
