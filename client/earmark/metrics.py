"""Counts that can be added, and the figures computed from the sums. This module does no input or output."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from earmark.figures import EvalMetrics, Figures, Interval, OperatingPoint, TypeMetrics
from earmark.matching import matched_pairs
from earmark.scores import Spans

SEGMENT_MS = 100
THRESHOLDS = np.round(np.arange(0.05, 1, 0.05), 2)
RESAMPLES = 1_000
DRAWN_AT_ONCE = 1 << 22  # numbers of 8 bytes
FEWEST_FILES = 5  # with the type in them, for an interval: fewer are too few to resample

Flags = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Counts:
    """How many items are annotated (`reference`), how many are detected (`estimated`), and how many match."""

    reference: int = 0
    estimated: int = 0
    matched: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            self.reference + other.reference,
            self.estimated + other.estimated,
            self.matched + other.matched,
        )

    def figures(self) -> Figures:
        """The figures of these counts: all None without a reference, no precision without an estimate."""
        if not self.reference:
            return Figures(None, None, None, 0)
        return Figures(
            precision=self.matched / self.estimated if self.estimated else None,
            recall=self.matched / self.reference,
            f1_score=2 * self.matched / (self.reference + self.estimated),
            support=self.reference,
        )


def event_counts(reference: Spans, estimated: Spans) -> Counts:
    """Counts events of one type in one file. Each row is an onset and an offset in ms."""
    return Counts(len(reference), len(estimated), len(matched_pairs(reference, estimated)[0]))


def event_counts_by_region(reference: Spans, estimated: Spans, region_starts: Numbers) -> Numbers:
    """(regions, 3): the numbers of reference, estimated and matched events of one type, by region.

    The regions lie one after the other on one timeline. Each starts at its `region_starts` in ms.
    """
    onsets = reference[:, 0], estimated[:, 0], reference[matched_pairs(reference, estimated)[0], 0]
    numbers = (np.searchsorted(region_starts, group, "right") - 1 for group in onsets)
    return np.stack([np.bincount(group, minlength=len(region_starts)) for group in numbers], axis=1)


def segment_counts(reference: Spans, estimated: Spans) -> Counts:
    """Counts segments of SEGMENT_MS as sed_eval does: one is active if an event covers any part of it."""
    length = max(0, *(-(-int(spans[:, 1].max(initial=0)) // SEGMENT_MS) for spans in (reference, estimated)))
    return boolean_counts(*(segment_labels(spans, length) for spans in (reference, estimated)))


def segment_labels(spans: Spans, segments: int) -> Flags:
    """(segments,) bool: true for each segment of which an event covers any part. `spans` are in ms."""
    return _inside(spans[:, 0] // SEGMENT_MS, -(-spans[:, 1] // SEGMENT_MS), segments)


def chunk_labels(spans: Spans, starts: Numbers, chunk_ms: int) -> Flags:
    """(chunks,) bool: true where events cover at least half of a chunk, or half of an event lies in it.

    The `spans` of one type and the ascending `starts` are in ms. Time that two events cover counts once.
    """
    # min(offset, start + chunk) - max(onset, start) >= length / 2, solved for start.
    middle = spans[spans[:, 1] - spans[:, 0] <= 2 * chunk_ms].sum(axis=1)
    first = np.searchsorted(2 * starts, middle - 2 * chunk_ms, "left")
    half_of_event = _inside(first, np.searchsorted(2 * starts, middle, "right"), len(starts))
    if not len(spans):
        return half_of_event
    edges = _union(spans).ravel()
    covered = np.append(0, np.cumsum(np.diff(edges) * (np.arange(len(edges) - 1) % 2 == 0)))
    shared = np.interp(starts + chunk_ms, edges, covered) - np.interp(starts, edges, covered)
    labels: Flags = half_of_event | (2 * shared >= chunk_ms)
    return labels


def _inside(first: Numbers, last: Numbers, length: int) -> Flags:
    """(length,) bool: true from each `first` up to, but not including, its `last`."""
    steps = np.bincount(first, minlength=length + 1) - np.bincount(last, minlength=length + 1)
    inside: Flags = np.cumsum(steps[:length]) > 0
    return inside


def _union(spans: Spans) -> Spans:
    """The spans in ascending order; those that touch or overlap are joined."""
    spans = spans[np.argsort(spans[:, 0], kind="stable")]
    reach = np.maximum.accumulate(spans[:, 1])
    apart = spans[1:, 0] > reach[:-1]
    return np.stack([spans[np.append(True, apart), 0], reach[np.append(apart, True)]], axis=1)


def boolean_counts(reference: Flags, estimated: Flags) -> Counts:
    """Counts items that are true in either array or in both."""
    return Counts(int(reference.sum()), int(estimated.sum()), int((reference & estimated).sum()))


def average_precision(positive: Flags, scores: npt.NDArray[np.floating]) -> float | None:
    """The mean of the precisions at each step of recall, weighted by the step, as scikit-learn defines it.

    Equal scores make one step. None if no item, or every item, is positive.
    """
    total = int(positive.sum())
    if total in (0, len(positive)):
        return None
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(positive[order])
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)
    steps = np.diff(hits[ends], prepend=0)
    return float((steps * hits[ends] / (ends + 1)).sum() / total)


def metrics_of(
    events: Mapping[str, Counts],
    segments: Mapping[str, Counts],
    chunks: Mapping[str, Counts] | None = None,
    average_precisions: Mapping[str, float | None] | None = None,
) -> EvalMetrics:
    """The figures of these counts, which are by type. Without chunks there are no figures of chunks."""
    per_type = {
        name: TypeMetrics(
            event=of_type.figures(),
            chunk=chunks[name].figures() if chunks is not None else None,
            segment=segments[name].figures(),
            average_precision=(average_precisions or {}).get(name),
        )
        for name, of_type in events.items()
    }
    return EvalMetrics(
        overall=_total(events).figures(),
        chunk=_total(chunks).figures() if chunks is not None else None,
        segment=_total(segments).figures(),
        macro_f1_score=macro_f1([metrics.event for metrics in per_type.values()]),
        per_type=per_type,
    )


def _total(counts: Mapping[str, Counts]) -> Counts:
    return sum(counts.values(), Counts())


def macro_f1(figures: Sequence[Figures]) -> float | None:
    """The mean over the types that have support; None without any."""
    values = [figure.f1_score for figure in figures if figure.f1_score is not None]
    return float(np.mean(values)) if values else None


def with_curves(metrics: EvalMetrics, counts: Mapping[str, Numbers]) -> EvalMetrics:
    """Adds the precision-recall curve of each type, and the threshold with the best event-level F1.

    `counts` are by type (thresholds, 3): the reference, estimated and matched events at each of THRESHOLDS.
    If several thresholds are equally good, the middle one is chosen. The choice is made on the same audio as
    the figures, so its F1 is too high: it is a recommendation, not a result.
    """
    per_type = {}
    for name, type_metrics in metrics.per_type.items():
        totals = {
            threshold: Counts(*row)
            for threshold, row in zip(THRESHOLDS.tolist(), counts[name].tolist(), strict=True)
        }
        best, curve = _best_threshold(totals), _curve(totals)
        per_type[name] = replace(type_metrics, best_threshold=best, precision_recall_curve=curve)
    return replace(metrics, per_type=per_type)


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


def with_intervals(metrics: EvalMetrics, counts: Mapping[str, Numbers]) -> EvalMetrics:
    """Adds the confidence intervals of F1.

    `counts` are by type (files, 3): the reference, estimated and matched events of each file.
    """
    if not metrics.per_type:
        return metrics
    of_types = np.stack([counts[name] for name in metrics.per_type], axis=1)
    *intervals, micro = f1_intervals(np.concatenate([of_types, of_types.sum(axis=1, keepdims=True)], axis=1))
    per_type = {
        name: replace(type_metrics, f1_score_interval=interval)
        for (name, type_metrics), interval in zip(metrics.per_type.items(), intervals, strict=True)
    }
    return replace(metrics, per_type=per_type, f1_score_interval=micro)


def f1_intervals(counts: Numbers) -> list[Interval | None]:
    """The 95 % percentile interval of each group's F1 by the bootstrap (Efron and Tibshirani 1993).

    `counts` (files, groups, 3) are the reference, estimated and matched events. A draw without a reference
    has no F1 and is left out. None if the group is in fewer than FEWEST_FILES files.
    """
    enough = np.count_nonzero(counts[:, :, 0], axis=0) >= FEWEST_FILES
    if not enough.any():
        return [None] * len(enough)
    of_draws = resampled(counts)
    return [interval(_f1(of_draws[:, group])) if enough[group] else None for group in range(len(enough))]


def resampled(counts: Numbers) -> Numbers:
    """(draws, ...): the sums of the files' `counts` (files, ...) in each of RESAMPLES bootstrap draws.

    Whole files are drawn with replacement, because the events of one file are alike. Which are drawn depends
    on the number of files alone.
    """
    files = len(counts)
    random, shares = np.random.default_rng(0), np.full(files, 1 / files)
    at_once = max(1, DRAWN_AT_ONCE // files)
    parts = [
        random.multinomial(files, shares, min(at_once, RESAMPLES - first)) @ counts.reshape(files, -1)
        for first in range(0, RESAMPLES, at_once)
    ]
    return np.concatenate(parts).reshape(RESAMPLES, *counts.shape[1:])


def interval(values: npt.NDArray[np.float64]) -> Interval:
    """The interval with 95 % of the values."""
    low, high = np.percentile(values, [2.5, 97.5])
    return Interval(float(low), float(high))


def _f1(counts: Numbers) -> npt.NDArray[np.float64]:
    """The F1 of each (draw, 3) that has a reference."""
    known = counts[counts[:, 0] > 0]
    f1_scores: npt.NDArray[np.float64] = 2 * known[:, 2] / (known[:, 0] + known[:, 1])
    return f1_scores
