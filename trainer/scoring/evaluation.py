"""Figures of a model on validation audio, from the very detections that a user would be given."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from trainer.chunks import Grid, chunk_starts
from trainer.events import EvalMetrics, Figures, OperatingPoint, TypeMetrics
from trainer.features.frontend import FRAME_MS
from trainer.model import LearnedType
from trainer.network import OUTPUT_MS
from trainer.regions import ValidationRegion
from trainer.scoring.calibration import CANDIDATES, offset
from trainer.scoring.detection import DetectionConfig, detections, shifted
from trainer.scoring.metrics import (
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
APART_MS = 2 * COLLAR_MS
NO_SPANS = np.empty((0, 2), np.int64)


def evaluate(
    regions: Sequence[ValidationRegion],
    scores: Sequence[np.ndarray],
    types: Sequence[LearnedType],
    grid: Grid,
) -> EvalMetrics:
    """`scores[i]` (frames, types) are those of `regions[i]`. Detection runs at its defaults."""
    chunk_ms = grid.chunk * FRAME_MS
    begins = _begins(regions, chunk_ms)
    real = _reference(regions, types, begins)
    claimed = _estimated(regions, scores, types, begins, DetectionConfig())
    starts, highest = _chunks(regions, scores, len(types), begins, grid)
    events, chunks, segments, per_type = Counts(), Counts(), Counts(), {}
    for column, name in enumerate(kind.name for kind in types):
        of_events = event_counts(real[name], claimed[name])
        positive = chunk_labels(real[name], starts, chunk_ms)
        of_chunks = boolean_counts(positive, chunk_labels(claimed[name], starts, chunk_ms))
        of_segments = segment_counts(real[name], claimed[name])
        per_type[name] = TypeMetrics(
            event=of_events.figures(),
            chunk=of_chunks.figures(),
            segment=of_segments.figures(),
            average_precision=average_precision(positive, highest[:, column]),
        )
        events, chunks, segments = events + of_events, chunks + of_chunks, segments + of_segments
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
    scores: Sequence[np.ndarray],
    types: Sequence[LearnedType],
    grid: Grid,
) -> tuple[tuple[LearnedType, ...], EvalMetrics]:
    """The types with better offsets, and a finished model's figures, from its scores with the present ones.

    The offsets are chosen on all validation audio. For the figures, each region is scored with offsets that
    were chosen without it and every other region, so that the choice does not flatter the figures.
    """
    counts = _counts(regions, scores, types, CANDIDATES.tolist())
    numbers = np.arange(len(regions))
    crossed = list(scores)
    for side in (0, 1):
        changes = [offset(of_type[:, numbers % 2 != side]) for of_type in counts.values()]
        crossed[side::2] = [shifted(track, changes) for track in scores[side::2]]
    changes = [offset(of_type) for of_type in counts.values()]
    known = tuple(
        replace(kind, offset=kind.offset + change) for kind, change in zip(types, changes, strict=True)
    )
    metrics = _with_intervals(evaluate(regions, crossed, types, grid), regions, crossed, types)
    return known, _with_curves(metrics, regions, [shifted(track, changes) for track in scores], types)


def recommended_thresholds(metrics: EvalMetrics) -> dict[str, float]:
    """The threshold of the best F1 of each type that has one."""
    return {
        name: figures.best_threshold
        for name, figures in metrics.per_type.items()
        if figures.best_threshold is not None
    }


def _with_intervals(
    metrics: EvalMetrics,
    regions: Sequence[ValidationRegion],
    scores: Sequence[np.ndarray],
    types: Sequence[LearnedType],
) -> EvalMetrics:
    counts = {
        name: of[0] for name, of in _counts(regions, scores, types, [DetectionConfig().threshold]).items()
    }
    per_type = {
        name: replace(of_type, f1_score_interval=f1_interval(counts[name]))
        for name, of_type in metrics.per_type.items()
    }
    return replace(metrics, per_type=per_type, f1_score_interval=f1_interval(sum(counts.values())))


def _with_curves(
    metrics: EvalMetrics,
    regions: Sequence[ValidationRegion],
    scores: Sequence[np.ndarray],
    types: Sequence[LearnedType],
) -> EvalMetrics:
    """Adds per type the curve and the threshold of the best event-level F1, the middle one of equals.

    It is chosen on the same audio as the figures, and flatters them: it is a recommendation, no result.
    """
    counts = _counts(regions, scores, types, THRESHOLDS.tolist())
    per_type = {}
    for name, of_type in metrics.per_type.items():
        totals = {
            threshold: Counts(*row)
            for threshold, row in zip(THRESHOLDS.tolist(), counts[name].sum(axis=1).tolist(), strict=True)
        }
        best, curve = _best_threshold(totals), _curve(totals)
        per_type[name] = replace(of_type, best_threshold=best, precision_recall_curve=curve)
    return replace(metrics, per_type=per_type)


def _counts(
    regions: Sequence[ValidationRegion],
    scores: Sequence[np.ndarray],
    types: Sequence[LearnedType],
    thresholds: Sequence[float],
) -> dict[str, np.ndarray]:
    """By type (thresholds, regions, 3): reference, estimated and matched events."""
    begins = _begins(regions)
    real = _reference(regions, types, begins)
    counts: dict[str, list[np.ndarray]] = {kind.name: [] for kind in types}
    for threshold in thresholds:
        claimed = _estimated(regions, scores, types, begins, DetectionConfig(threshold=threshold))
        for name, of_type in counts.items():
            of_type.append(event_counts_by_region(real[name], claimed[name], begins))
    return {
        name: np.array(of_type).reshape(len(thresholds), len(regions), 3) for name, of_type in counts.items()
    }


def _best_threshold(counts: Mapping[float, Counts]) -> float | None:
    found = {threshold: of.figures().f1_score for threshold, of in counts.items()}
    best = max((value for value in found.values() if value), default=None)
    equals = [threshold for threshold, value in found.items() if value == best]
    return equals[len(equals) // 2] if best else None


def _curve(counts: Mapping[float, Counts]) -> tuple[OperatingPoint, ...]:
    """By rising threshold; empty without support."""
    points = [(threshold, of.figures()) for threshold, of in sorted(counts.items())]
    return tuple(
        OperatingPoint(threshold, figures.precision, figures.recall)
        for threshold, figures in points
        if figures.recall is not None
    )


# The validation regions lie one after the other on one line of time, so that one pass counts them all.


def _begins(regions: Sequence[ValidationRegion], reach_ms: int = 0) -> np.ndarray:
    """(regions,) ms: where each begins. They lie on the segments' grid, and too far apart to match.

    `reach_ms` is how far a chunk may reach beyond the end of its region.
    """
    lengths = [region.duration_ms + reach_ms + APART_MS for region in regions]
    whole = [-(-length // SEGMENT_MS) * SEGMENT_MS for length in lengths]
    return np.cumsum([0, *whole[:-1]])[: len(regions)]


def _reference(
    regions: Sequence[ValidationRegion], types: Sequence[LearnedType], begins: np.ndarray
) -> dict[str, np.ndarray]:
    return {
        kind.name: np.concatenate(
            [NO_SPANS]
            + [
                np.asarray(region.events.get(kind.name, NO_SPANS), np.int64) + begin
                for region, begin in zip(regions, begins, strict=True)
            ]
        )
        for kind in types
    }


def _estimated(
    regions: Sequence[ValidationRegion],
    scores: Sequence[np.ndarray],
    types: Sequence[LearnedType],
    begins: np.ndarray,
    config: DetectionConfig,
) -> dict[str, np.ndarray]:
    spans: dict[str, list[tuple[int, int]]] = {kind.name: [] for kind in types}
    for region, track, begin in zip(regions, scores, begins.tolist(), strict=True):
        for found in detections(track, types, region.duration_ms, config):
            spans[found.artifact_type].append((begin + found.start_ms, begin + found.end_ms))
    return {kind: np.array(pairs, np.int64).reshape(-1, 2) for kind, pairs in spans.items()}


def _chunks(
    regions: Sequence[ValidationRegion],
    scores: Sequence[np.ndarray],
    types: int,
    begins: np.ndarray,
    grid: Grid,
) -> tuple[np.ndarray, np.ndarray]:
    """Where the chunks start (chunks,) in ms, and their highest scores (chunks, types)."""
    ratio = OUTPUT_MS // FRAME_MS
    starts, highest = [np.empty(0, np.int64)], [np.empty((0, types), np.float32)]
    for region, track, begin in zip(regions, scores, begins, strict=True):
        mine = chunk_starts(-(-region.duration_ms // FRAME_MS), grid)
        frames = mine[:, None] // ratio + np.arange(-(-grid.chunk // ratio))
        starts.append(mine * FRAME_MS + begin)
        highest.append(track[np.minimum(frames, len(track) - 1)].max(axis=1))
    return np.concatenate(starts), np.concatenate(highest)
