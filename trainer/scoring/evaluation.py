"""Figures of a model on validation audio, from the same detections that a user would get."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float32, Int64

from earmark.trainer.chunks import Grid, chunk_starts
from earmark.trainer.events import EvalMetrics, Figures, OperatingPoint, TypeMetrics
from earmark.trainer.features.frontend import FRAME_MS
from earmark.trainer.model import LearnedType
from earmark.trainer.regions import NO_SPANS, Spans, ValidationRegion, across_channels
from earmark.trainer.scoring.calibration import CANDIDATES, offset
from earmark.trainer.scoring.detection import shifted
from earmark.trainer.scoring.findings import DetectionConfig, merged, runs
from earmark.trainer.scoring.metrics import (
    COLLAR_MS,
    SEGMENT_MS,
    Counts,
    average_precision,
    boolean_counts,
    chunk_labels,
    event_counts,
    event_counts_by_region,
    f1_interval,
    segment_counts,
)

THRESHOLDS = np.round(np.arange(0.05, 1, 0.05), 2)
GAP_MS = 2 * COLLAR_MS  # between regions on the timeline: no event matches one of another region


def evaluate(
    regions: Sequence[ValidationRegion],
    scores: Sequence[Float32[np.ndarray, "tracks _ types"]],
    types: Sequence[LearnedType],
    grid: Grid,
) -> EvalMetrics:
    """Event, chunk and segment level figures from the cleaned scores of each region, at default settings."""
    chunk_ms = grid.chunk * FRAME_MS
    region_starts = _region_starts(regions, chunk_ms)
    reference = _reference(regions, types, region_starts)
    estimated = _estimated(regions, scores, types, region_starts, DetectionConfig())
    chunk_begins, highest = _chunks(regions, scores, len(types), region_starts, grid)
    events, chunks, segments, per_type = Counts(), Counts(), Counts(), {}
    for column, name in enumerate(learned.name for learned in types):
        type_events = event_counts(reference[name], estimated[name])
        positive = chunk_labels(reference[name], chunk_begins, chunk_ms)
        type_chunks = boolean_counts(positive, chunk_labels(estimated[name], chunk_begins, chunk_ms))
        type_segments = segment_counts(reference[name], estimated[name])
        per_type[name] = TypeMetrics(
            event=type_events.figures(),
            chunk=type_chunks.figures(),
            segment=type_segments.figures(),
            average_precision=average_precision(positive, highest[:, column]),
        )
        events, chunks, segments = events + type_events, chunks + type_chunks, segments + type_segments
    return EvalMetrics(
        overall=events.figures(),
        chunk=chunks.figures(),
        segment=segments.figures(),
        macro_f1_score=macro_f1([metrics.event for metrics in per_type.values()]),
        per_type=per_type,
    )


def macro_f1(figures: Sequence[Figures]) -> float | None:
    """The mean over the types that have support; None without any."""
    values = [figure.f1_score for figure in figures if figure.f1_score is not None]
    return float(np.mean(values)) if values else None


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
    counts = _counts(regions, scores, types, CANDIDATES.tolist())
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
    metrics = _with_intervals(metrics, regions, cross_scores, types)
    return new_types, _with_curves(metrics, regions, new_scores, types)


def recommended_thresholds(metrics: EvalMetrics) -> dict[str, float]:
    """The threshold with the best F1 of each type that has one."""
    return {
        name: type_metrics.best_threshold
        for name, type_metrics in metrics.per_type.items()
        if type_metrics.best_threshold is not None
    }


def _with_intervals(
    metrics: EvalMetrics,
    regions: Sequence[ValidationRegion],
    scores: Sequence[np.ndarray],
    types: Sequence[LearnedType],
) -> EvalMetrics:
    """Adds the confidence intervals of F1 at the default threshold."""
    by_threshold = _counts(regions, scores, types, [DetectionConfig().threshold])
    counts = {name: type_counts[0] for name, type_counts in by_threshold.items()}
    per_type = {
        name: replace(type_metrics, f1_score_interval=f1_interval(counts[name]))
        for name, type_metrics in metrics.per_type.items()
    }
    return replace(metrics, per_type=per_type, f1_score_interval=f1_interval(sum(counts.values())))


def _with_curves(
    metrics: EvalMetrics,
    regions: Sequence[ValidationRegion],
    scores: Sequence[np.ndarray],
    types: Sequence[LearnedType],
) -> EvalMetrics:
    """Adds the precision-recall curve of each type, and the threshold with the best event-level F1.

    If several thresholds are equally good, the middle one is chosen. The choice is made on the same audio as
    the figures, so its F1 is too high: it is a recommendation, not a result.
    """
    counts = _counts(regions, scores, types, THRESHOLDS.tolist())
    per_type = {}
    for name, type_metrics in metrics.per_type.items():
        totals = {
            threshold: Counts(*row)
            for threshold, row in zip(THRESHOLDS.tolist(), counts[name].sum(axis=1).tolist(), strict=True)
        }
        best, curve = _best_threshold(totals), _curve(totals)
        per_type[name] = replace(type_metrics, best_threshold=best, precision_recall_curve=curve)
    return replace(metrics, per_type=per_type)


def _counts(
    regions: Sequence[ValidationRegion],
    scores: Sequence[np.ndarray],
    types: Sequence[LearnedType],
    thresholds: Sequence[float],
) -> dict[str, np.ndarray]:
    """By type (thresholds, regions, 3): reference, estimated and matched events."""
    region_starts = _region_starts(regions)
    reference = _reference(regions, types, region_starts)
    counts: dict[str, list[np.ndarray]] = {learned.name: [] for learned in types}
    for threshold in thresholds:
        config = DetectionConfig(threshold=threshold)
        estimated = _estimated(regions, scores, types, region_starts, config)
        for name, type_counts in counts.items():
            type_counts.append(event_counts_by_region(reference[name], estimated[name], region_starts))
    return {
        name: np.array(type_counts).reshape(len(thresholds), len(regions), 3)
        for name, type_counts in counts.items()
    }


def _best_threshold(counts: Mapping[float, Counts]) -> float | None:
    f1_scores = {threshold: total.figures().f1_score for threshold, total in counts.items()}
    best = max((f1_score for f1_score in f1_scores.values() if f1_score), default=None)
    equals = [threshold for threshold, f1_score in f1_scores.items() if f1_score == best]
    return equals[len(equals) // 2] if best else None


def _curve(counts: Mapping[float, Counts]) -> tuple[OperatingPoint, ...]:
    """By rising threshold; empty without support."""
    points = [(threshold, total.figures()) for threshold, total in sorted(counts.items())]
    return tuple(
        OperatingPoint(threshold, figures.precision, figures.recall)
        for threshold, figures in points
        if figures.recall is not None
    )


# The validation regions are put one after the other on one timeline, so that one pass counts them all.


def _region_starts(regions: Sequence[ValidationRegion], beyond_ms: int = 0) -> np.ndarray:
    """Where each region starts on the timeline: (regions,) in ms.

    The starts lie on the grid of segments, and the regions too far apart for events of two to match. A chunk
    may reach `beyond_ms` beyond the end of its region.
    """
    lengths = [region.duration_ms + beyond_ms + GAP_MS for region in regions]
    whole_segments = [-(-length // SEGMENT_MS) * SEGMENT_MS for length in lengths]
    return np.cumsum([0, *whole_segments[:-1]])[: len(regions)]


def _reference(
    regions: Sequence[ValidationRegion], types: Sequence[LearnedType], region_starts: np.ndarray
) -> dict[str, Spans]:
    """The annotated events of each type on the timeline, in ms."""
    spans: dict[str, list[Spans]] = {learned.name: [NO_SPANS] for learned in types}
    for region, start in zip(regions, region_starts, strict=True):
        for name, of_region in region.events.items():
            spans[name].append(of_region + start)
    return {name: np.concatenate(of_type) for name, of_type in spans.items()}


def _estimated(
    regions: Sequence[ValidationRegion],
    scores: Sequence[np.ndarray],
    types: Sequence[LearnedType],
    region_starts: np.ndarray,
    config: DetectionConfig,
) -> dict[str, Spans]:
    """The events of each type that `detections` finds in each region, on the timeline, in ms."""
    if not len(regions):
        return {learned.name: NO_SPANS for learned in types}
    starts = region_starts // FRAME_MS
    region_ends = region_starts + [region.duration_ms for region in regions]
    tracks = max(len(region.tracks) for region in regions)
    # Between two regions the score is 0 for longer than any merge window.
    timeline = np.zeros((len(types), tracks, starts[-1] + scores[-1].shape[1]), np.float32)
    for of_region, start in zip(scores, starts, strict=True):
        timeline[:, : len(of_region), start : start + of_region.shape[1]] = of_region.transpose(2, 0, 1)
    estimated = {}
    for learned, of_type in zip(types, timeline, strict=True):
        threshold, merge_window_ms, min_duration_ms = config.for_type(learned)
        by_track = []
        for of_track in of_type:
            spans = runs(of_track >= threshold) * FRAME_MS
            number = np.searchsorted(region_starts, spans[:, 0], "right") - 1
            spans = merged(np.minimum(spans, region_ends[number, None]), merge_window_ms)
            by_track.append(spans[spans[:, 1] - spans[:, 0] >= max(1, min_duration_ms)])
        estimated[learned.name] = across_channels(by_track)
    return estimated


def _chunks(
    regions: Sequence[ValidationRegion],
    scores: Sequence[np.ndarray],
    types: int,
    region_starts: np.ndarray,
    grid: Grid,
) -> tuple[Int64[np.ndarray, " chunks"], Float32[np.ndarray, "chunks types"]]:
    """Where each chunk begins on the timeline in ms, and its highest score of each type."""
    begins, highest = [np.empty(0, np.int64)], [np.empty((0, types), np.float32)]
    for region, region_scores, start in zip(regions, scores, region_starts, strict=True):
        first_frames = chunk_starts(-(-region.duration_ms // FRAME_MS), grid)
        frames = first_frames[:, None] + np.arange(grid.chunk)
        begins.append(first_frames * FRAME_MS + start)
        best = region_scores.max(axis=0)
        highest.append(best[np.minimum(frames, len(best) - 1)].max(axis=1))
    return np.concatenate(begins), np.concatenate(highest)
