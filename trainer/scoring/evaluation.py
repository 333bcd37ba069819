"""Figures of a model on validation audio, from the same detections that a user would get."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float32, Int64

from earmark.figures import EvalMetrics
from earmark.metrics import (
    THRESHOLDS,
    average_precision,
    boolean_counts,
    chunk_labels,
    event_counts,
    metrics_of,
    segment_counts,
    with_curves,
    with_intervals,
)
from earmark.scores import FRAME_MS, DetectionConfig, counted
from earmark.timeline import ScoredRegion, Timeline
from earmark.trainer.chunks import Grid, chunk_starts
from earmark.trainer.model import LearnedType
from earmark.trainer.regions import ValidationRegion
from earmark.trainer.scoring.calibration import CANDIDATES, offset
from earmark.trainer.scoring.detection import shifted


def evaluate(
    regions: Sequence[ValidationRegion],
    scores: Sequence[Float32[np.ndarray, "tracks _ types"]],
    types: Sequence[LearnedType],
    grid: Grid,
) -> EvalMetrics:
    """Event, chunk and segment level figures from the cleaned scores of each region, at default settings."""
    chunk_ms = grid.chunk * FRAME_MS
    scored = _scored(regions, scores)
    timeline = Timeline(scored, types, beyond_ms=chunk_ms)
    reference, estimated = timeline.reference, timeline.estimated(DetectionConfig())
    chunk_begins, highest = _chunks(scored, len(types), timeline.starts, grid)
    names = [learned.name for learned in types]
    positive = {name: chunk_labels(reference[name], chunk_begins, chunk_ms) for name in names}
    chunks = {
        name: boolean_counts(labels, chunk_labels(estimated[name], chunk_begins, chunk_ms))
        for name, labels in positive.items()
    }
    return metrics_of(
        events={name: event_counts(reference[name], estimated[name]) for name in names},
        segments={name: segment_counts(reference[name], estimated[name]) for name in names},
        chunks=chunks,
        average_precisions={
            name: average_precision(positive[name], highest[:, column]) for column, name in enumerate(names)
        },
    )


def calibrated(
    regions: Sequence[ValidationRegion],
    scores: Sequence[Float32[np.ndarray, "tracks _ types"]],
    types: Sequence[LearnedType],
    grid: Grid,
) -> tuple[tuple[LearnedType, ...], EvalMetrics]:
    """The types with calibrated offsets, and the figures of the finished model.

    `scores` are cleaned with the offsets that `types` have now. The new offsets are chosen on all validation
    audio. For the figures, each half of the regions is scored with offsets chosen on the other half, so that
    the choice does not make the figures look better than they are.
    """
    counts = _counts(Timeline(_scored(regions, scores), types), CANDIDATES.tolist())
    numbers = np.arange(len(regions))
    cross_scores = list(scores)
    for half in (0, 1):
        changes = [offset(type_counts[:, numbers % 2 != half]) for type_counts in counts.values()]
        cross_scores[half::2] = [shifted(region_scores, changes) for region_scores in scores[half::2]]
    changes = [offset(type_counts) for type_counts in counts.values()]
    new_types = tuple(
        replace(learned, offset=learned.offset + change)
        for learned, change in zip(types, changes, strict=True)
    )
    new_scores = [shifted(region_scores, changes) for region_scores in scores]
    metrics = evaluate(regions, cross_scores, types, grid)
    metrics = with_intervals(
        metrics, Timeline(_scored(regions, cross_scores), types).counts(DetectionConfig())
    )
    by_threshold = _counts(Timeline(_scored(regions, new_scores), types), THRESHOLDS.tolist())
    return new_types, with_curves(metrics, {name: c.sum(axis=1) for name, c in by_threshold.items()})


def recommended_thresholds(metrics: EvalMetrics) -> dict[str, float]:
    """The threshold with the best F1 of each type that has one."""
    return {
        name: type_metrics.best_threshold
        for name, type_metrics in metrics.per_type.items()
        if type_metrics.best_threshold is not None
    }


def _scored(regions: Sequence[ValidationRegion], scores: Sequence[np.ndarray]) -> list[ScoredRegion]:
    return [
        ScoredRegion(counted(of_region, region.begins), region.events, region.duration_ms)
        for region, of_region in zip(regions, scores, strict=True)
    ]


def _counts(timeline: Timeline, thresholds: Sequence[float]) -> dict[str, np.ndarray]:
    """By type (thresholds, regions, 3): reference, estimated and matched events."""
    by_threshold = [timeline.counts(DetectionConfig(threshold=threshold)) for threshold in thresholds]
    return {name: np.stack([counts[name] for counts in by_threshold]) for name in by_threshold[0]}


def _chunks(
    regions: Sequence[ScoredRegion], types: int, region_starts: np.ndarray, grid: Grid
) -> tuple[Int64[np.ndarray, " chunks"], Float32[np.ndarray, "chunks types"]]:
    """Where each chunk begins on the timeline in ms, and its highest score of each type."""
    begins, highest = [np.empty(0, np.int64)], [np.empty((0, types), np.float32)]
    for region, start in zip(regions, region_starts, strict=True):
        first_frames = chunk_starts(-(-region.duration_ms // FRAME_MS), grid)
        frames = first_frames[:, None] + np.arange(grid.chunk)
        begins.append(first_frames * FRAME_MS + start)
        best = region.scores.max(axis=0)
        highest.append(best[np.minimum(frames, len(best) - 1)].max(axis=1))
    return np.concatenate(begins), np.concatenate(highest)
