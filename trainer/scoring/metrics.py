"""Counts that can be added, and the figures computed from the sums. This module does no input or output."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int64
from scipy.sparse import csr_array  # type: ignore[import-untyped]  # it has no stubs
from scipy.sparse.csgraph import maximum_bipartite_matching  # type: ignore[import-untyped]  # it has no stubs

from earmark.trainer.events import Figures, Interval

COLLAR_MS = 200
OFFSET_SHARE = 0.5
SEGMENT_MS = 100
RESAMPLES = 1_000
FEWEST_FILES = 5  # with the type in them, for an interval: fewer are too few to resample


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


def event_counts(
    reference: Int64[np.ndarray, "reference 2"], estimated: Int64[np.ndarray, "estimated 2"]
) -> Counts:
    """Counts events of one type in one file. Each row is an onset and an offset in ms."""
    return Counts(len(reference), len(estimated), int(matched(reference, estimated).sum()))


def event_counts_by_region(
    reference: Int64[np.ndarray, "reference 2"],
    estimated: Int64[np.ndarray, "estimated 2"],
    region_starts: Int64[np.ndarray, " regions"],
) -> Int64[np.ndarray, "regions 3"]:
    """The numbers of reference, estimated and matched events of one type, by region.

    The regions lie one after the other on one timeline. Each starts at its `region_starts` in ms.
    """
    onsets = reference[:, 0], estimated[:, 0], reference[matched(reference, estimated), 0]
    numbers = (np.searchsorted(region_starts, group, "right") - 1 for group in onsets)
    return np.stack([np.bincount(group, minlength=len(region_starts)) for group in numbers], axis=1)


def matched(
    reference: Int64[np.ndarray, "reference 2"], estimated: Int64[np.ndarray, "estimated 2"]
) -> Bool[np.ndarray, " reference"]:
    """Which reference events have a partner in the largest one-to-one matching with the estimated ones."""
    rows, columns = close_pairs(reference, estimated)
    has_partner = np.zeros(len(reference), bool)
    has_partner[rows] = True
    if max(np.bincount(rows, minlength=1).max(), np.bincount(columns, minlength=1).max()) > 1:
        shape = len(reference), len(estimated)
        pairs = csr_array((np.ones(len(rows), np.int8), (rows, columns)), shape=shape)
        partners: np.ndarray = maximum_bipartite_matching(pairs, perm_type="column")
        has_partner = partners >= 0
    return has_partner


def close_pairs(
    reference: Int64[np.ndarray, "reference 2"], estimated: Int64[np.ndarray, "estimated 2"]
) -> tuple[Int64[np.ndarray, " pairs"], Int64[np.ndarray, " pairs"]]:
    """The pairs of events that are close enough to match: their rows in `reference` and in `estimated`.

    The rule is that of sed_eval (Mesaros, Heittola and Virtanen 2016): the onsets differ by at most
    COLLAR_MS, and the offsets by at most the larger of COLLAR_MS and OFFSET_SHARE of the event's length.
    """
    order = np.argsort(estimated[:, 0], kind="stable")
    onsets = estimated[order, 0]
    first = np.searchsorted(onsets, reference[:, 0] - COLLAR_MS, "left")
    near = np.searchsorted(onsets, reference[:, 0] + COLLAR_MS, "right") - first
    rows = np.repeat(np.arange(len(reference)), near)
    columns = order[np.arange(len(rows)) + np.repeat(first - np.cumsum(near) + near, near)]
    collar = np.maximum(COLLAR_MS, OFFSET_SHARE * (reference[:, 1] - reference[:, 0]))
    close = np.abs(reference[rows, 1] - estimated[columns, 1]) <= collar[rows]
    return rows[close], columns[close]


def segment_counts(
    reference: Int64[np.ndarray, "reference 2"], estimated: Int64[np.ndarray, "estimated 2"]
) -> Counts:
    """Counts segments of SEGMENT_MS as sed_eval does: one is active if an event covers any part of it."""
    length = max(0, *(-(-int(spans[:, 1].max(initial=0)) // SEGMENT_MS) for spans in (reference, estimated)))
    return boolean_counts(*(segment_labels(spans, length) for spans in (reference, estimated)))


def segment_labels(spans: Int64[np.ndarray, "events 2"], segments: int) -> Bool[np.ndarray, " segments"]:
    """True for each segment of which an event covers any part. `spans` are in ms."""
    return _inside(spans[:, 0] // SEGMENT_MS, -(-spans[:, 1] // SEGMENT_MS), segments)


def chunk_labels(
    spans: Int64[np.ndarray, "events 2"], starts: Int64[np.ndarray, " chunks"], chunk_ms: int
) -> Bool[np.ndarray, " chunks"]:
    """True for each chunk of which events cover at least half, or in which at least half of an event lies.

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
    labels: np.ndarray = half_of_event | (2 * shared >= chunk_ms)
    return labels


def _inside(first: np.ndarray, last: np.ndarray, length: int) -> np.ndarray:
    """(length,) bool: true from each `first` up to, but not including, its `last`."""
    steps = np.bincount(first, minlength=length + 1) - np.bincount(last, minlength=length + 1)
    return np.cumsum(steps[:length]) > 0


def _union(spans: np.ndarray) -> np.ndarray:
    """The spans in ascending order; those that touch or overlap are joined."""
    spans = spans[np.argsort(spans[:, 0], kind="stable")]
    reach = np.maximum.accumulate(spans[:, 1])
    apart = spans[1:, 0] > reach[:-1]
    return np.stack([spans[np.append(True, apart), 0], reach[np.append(apart, True)]], axis=1)


def boolean_counts(reference: Bool[np.ndarray, " items"], estimated: Bool[np.ndarray, " items"]) -> Counts:
    """Counts items that are true in either array or in both."""
    return Counts(int(reference.sum()), int(estimated.sum()), int((reference & estimated).sum()))


def average_precision(
    positive: Bool[np.ndarray, " items"], scores: Float[np.ndarray, " items"]
) -> float | None:
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


def f1_interval(counts: Int64[np.ndarray, "files 3"]) -> Interval | None:
    """The 95 % percentile interval of F1 by the bootstrap (Efron and Tibshirani 1993).

    `counts` are the reference, estimated and matched events of each validation file. Whole files are drawn
    with replacement, because the events of one file are alike. A draw without a reference has no F1 and is
    left out. None if the type is in fewer than FEWEST_FILES files.
    """
    if np.count_nonzero(counts[:, 0]) < FEWEST_FILES:
        return None
    files = len(counts)
    drawn = np.random.default_rng(0).multinomial(files, np.full(files, 1 / files), RESAMPLES) @ counts
    drawn = drawn[drawn[:, 0] > 0]
    low, high = np.percentile(2 * drawn[:, 2] / (drawn[:, 0] + drawn[:, 1]), [2.5, 97.5])
    return Interval(float(low), float(high))
