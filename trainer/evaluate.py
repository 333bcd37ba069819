"""Figures of a model on held-out audio, from the very detections that a user would be given."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from trainer.chunks import Grid, chunk_starts
from trainer.detect import Detection, DetectionConfig, detections
from trainer.events import EvalMetrics, Figures, TypeMetrics
from trainer.frontend import FRAME_MS
from trainer.metrics import Counts, average_precision, boolean_counts, chunk_labels, event_counts
from trainer.model import OUTPUT_MS

THRESHOLDS = np.round(np.arange(0.05, 1, 0.05), 2)


@dataclass(frozen=True, slots=True)
class HeldOut:
    """One held-out region: `features` (frames, FEATURES), and per type its events (n, 2) in ms."""

    features: np.ndarray
    events: Mapping[str, np.ndarray]
    duration_ms: int


def evaluate(
    held: Sequence[HeldOut],
    scores: Sequence[np.ndarray],
    types: Sequence[str],
    grid: Grid,
) -> EvalMetrics:
    """`scores[i]` (frames, types) are those of `held[i]`. Detection runs at its defaults."""
    events: dict[str, Counts] = defaultdict(Counts)
    chunks: dict[str, Counts] = defaultdict(Counts)
    ranked: dict[str, list[np.ndarray]] = defaultdict(list)
    for region, track in zip(held, scores, strict=True):
        found = spans_by_type(detections(track, types, region.duration_ms, DetectionConfig()))
        starts = chunk_starts(-(-region.duration_ms // FRAME_MS), grid)
        for column, kind in enumerate(types):
            reference, estimated = region.events.get(kind, NO_SPANS), found.get(kind, NO_SPANS)
            events[kind] += event_counts(reference, estimated)
            real, claimed = (
                chunk_labels(spans, starts * FRAME_MS, grid.chunk * FRAME_MS)
                for spans in (reference, estimated)
            )
            chunks[kind] += boolean_counts(real, claimed)
            ranked[kind].append(np.stack([real, _highest(track[:, column], starts, grid)]))
    per_type = {
        kind: TypeMetrics(
            event=events[kind].figures(),
            chunk=chunks[kind].figures(),
            average_precision=average_precision(*np.concatenate(ranked[kind], axis=1)) if held else None,
            best_threshold=None,
        )
        for kind in types
    }
    return EvalMetrics(
        overall=sum(events.values(), Counts()).figures(),
        chunk=sum(chunks.values(), Counts()).figures(),
        macro_f1_score=macro_f1([metrics.event for metrics in per_type.values()]),
        per_type=per_type,
    )


NO_SPANS = np.empty((0, 2), np.int64)


def spans_by_type(found: Sequence[Detection]) -> dict[str, np.ndarray]:
    """(detections, 2) in ms per type that was found."""
    spans = defaultdict(list)
    for detection in found:
        spans[detection.artifact_type].append((detection.start_ms, detection.end_ms))
    return {kind: np.array(pairs) for kind, pairs in spans.items()}


def macro_f1(figures: Sequence[Figures]) -> float | None:
    """The mean over the types that have support; None without any."""
    values = [figure.f1_score for figure in figures if figure.f1_score is not None]
    return float(np.mean(values)) if values else None


def _highest(track: np.ndarray, starts: np.ndarray, grid: Grid) -> np.ndarray:
    """(chunks,): the highest score of one type in each chunk."""
    ratio = OUTPUT_MS // FRAME_MS
    last = len(track) - 1
    places = starts[:, None] // ratio + np.arange(-(-grid.chunk // ratio))
    return track[np.minimum(places, last)].max(axis=1)


def with_best_thresholds(
    metrics: EvalMetrics,
    held: Sequence[HeldOut],
    scores: Sequence[np.ndarray],
    types: Sequence[str],
) -> EvalMetrics:
    """Adds the threshold of the best event-level F1 per type, the middle one of equals.

    It is chosen on the same audio as the figures, and flatters them: it is a recommendation, no result.
    """
    counts = {
        threshold: _counts_at(float(threshold), held, scores, types) for threshold in THRESHOLDS.tolist()
    }
    per_type = {}
    for kind, figures in metrics.per_type.items():
        found = {threshold: by_type[kind].figures().f1_score for threshold, by_type in counts.items()}
        best = max((value for value in found.values() if value is not None), default=None)
        equals = [threshold for threshold, value in found.items() if value is not None and value == best]
        per_type[kind] = replace(figures, best_threshold=equals[len(equals) // 2] if best else None)
    return replace(metrics, per_type=per_type)


def _counts_at(
    threshold: float,
    held: Sequence[HeldOut],
    scores: Sequence[np.ndarray],
    types: Sequence[str],
) -> dict[str, Counts]:
    counts: dict[str, Counts] = defaultdict(Counts)
    for region, track in zip(held, scores, strict=True):
        found = detections(track, types, region.duration_ms, DetectionConfig(threshold=threshold))
        spans = spans_by_type(found)
        for kind in types:
            counts[kind] += event_counts(region.events.get(kind, NO_SPANS), spans.get(kind, NO_SPANS))
    return counts
