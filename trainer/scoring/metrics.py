"""Counts that add up, and the figures made of them last. Pure NumPy; no input or output."""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from trainer.events import Figures, Interval

COLLAR_MS = 200
OFFSET_SHARE = 0.5
SEGMENT_MS = 100
RESAMPLES = 1_000
FEWEST_FILES = 5  # with the type in them: fewer are too few to resample


@dataclass(frozen=True, slots=True)
class Counts:
    """`matched` of `reference` real things and of `estimated` claimed ones."""

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
        """Without a reference there is nothing to measure: all unset. Precision of no claim is unset too."""
        if not self.reference:
            return Figures(None, None, None, 0)
        return Figures(
            precision=self.matched / self.estimated if self.estimated else None,
            recall=self.matched / self.reference,
            f1_score=2 * self.matched / (self.reference + self.estimated),
            support=self.reference,
        )


def event_counts(reference: np.ndarray, estimated: np.ndarray) -> Counts:
    """Events of one type in one file, (events, 2) onsets and offsets in ms."""
    return Counts(len(reference), len(estimated), int(matched(reference, estimated).sum()))


def event_counts_by_region(reference: np.ndarray, estimated: np.ndarray, begins: np.ndarray) -> np.ndarray:
    """(regions, 3): reference, estimated and matched events of one type.

    The regions lie one after the other on one line of time, from `begins` (regions,) in ms on.
    """
    onsets = reference[:, 0], estimated[:, 0], reference[matched(reference, estimated), 0]
    regions = (np.searchsorted(begins, of, "right") - 1 for of in onsets)
    return np.stack([np.bincount(of, minlength=len(begins)) for of in regions], axis=1)


def matched(reference: np.ndarray, estimated: np.ndarray) -> np.ndarray:
    """(reference,) bool: which events have an estimate of their own in the largest one-to-one matching."""
    rows, columns = matchable(reference, estimated)
    found = np.zeros(len(reference), bool)
    found[rows] = True
    if max(np.bincount(rows, minlength=1).max(), np.bincount(columns, minlength=1).max()) > 1:
        shape = len(reference), len(estimated)
        close = csr_array((np.ones(len(rows), np.int8), (rows, columns)), shape=shape)
        found = maximum_bipartite_matching(close, perm_type="column") >= 0
    return found


def matchable(reference: np.ndarray, estimated: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The pairs (of reference, of estimated) that are close enough to match.

    As sed_eval has it (Mesaros, Heittola and Virtanen 2016): the onset within COLLAR_MS, the offset within
    the larger of COLLAR_MS and OFFSET_SHARE of the event's length.
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


def segment_counts(reference: np.ndarray, estimated: np.ndarray) -> Counts:
    """Segments of SEGMENT_MS, active when an event covers any of them, as sed_eval counts them."""
    length = max(0, *(-(-int(spans[:, 1].max(initial=0)) // SEGMENT_MS) for spans in (reference, estimated)))
    return boolean_counts(*(segment_labels(spans, length) for spans in (reference, estimated)))


def segment_labels(spans: np.ndarray, segments: int) -> np.ndarray:
    """(segments,) bool: an event covers any of the segment. `spans` (events, 2) in ms."""
    return _inside(spans[:, 0] // SEGMENT_MS, -(-spans[:, 1] // SEGMENT_MS), segments)


def chunk_labels(spans: np.ndarray, starts: np.ndarray, chunk_ms: int) -> np.ndarray:
    """(chunks,) bool: events cover at least half of the chunk, or one has at least half of itself in it.

    `spans` (events, 2) of one type and `starts` (chunks,), ascending, in ms. What two cover counts once.
    """
    # min(offset, start + chunk) - max(onset, start) >= length / 2, solved for start.
    middle = spans[spans[:, 1] - spans[:, 0] <= 2 * chunk_ms].sum(axis=1)
    first = np.searchsorted(2 * starts, middle - 2 * chunk_ms, "left")
    own = _inside(first, np.searchsorted(2 * starts, middle, "right"), len(starts))
    if not len(spans):
        return own
    edges = _union(spans).ravel()
    covered = np.append(0, np.cumsum(np.diff(edges) * (np.arange(len(edges) - 1) % 2 == 0)))
    shared = np.interp(starts + chunk_ms, edges, covered) - np.interp(starts, edges, covered)
    return own | (2 * shared >= chunk_ms)


def _inside(first: np.ndarray, last: np.ndarray, length: int) -> np.ndarray:
    """(length,) bool: true from any `first` up to its `last`, without it."""
    steps = np.bincount(first, minlength=length + 1) - np.bincount(last, minlength=length + 1)
    return np.cumsum(steps[:length]) > 0


def _union(spans: np.ndarray) -> np.ndarray:
    """(spans, 2) in ascending order, those that touch or overlap joined."""
    spans = spans[np.argsort(spans[:, 0], kind="stable")]
    reach = np.maximum.accumulate(spans[:, 1])
    apart = spans[1:, 0] > reach[:-1]
    return np.stack([spans[np.append(True, apart), 0], reach[np.append(apart, True)]], axis=1)


def boolean_counts(reference: np.ndarray, estimated: np.ndarray) -> Counts:
    """Two (n,) bool arrays, item by item."""
    return Counts(int(reference.sum()), int(estimated.sum()), int((reference & estimated).sum()))


def average_precision(positive: np.ndarray, scores: np.ndarray) -> float | None:
    """The precisions at each recall step, weighted by the step, as scikit-learn defines it; ties as one.

    None where nothing, or everything, is positive.
    """
    total = int(positive.sum())
    if total in (0, len(positive)):
        return None
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(positive[order])
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)
    steps = np.diff(hits[ends], prepend=0)
    return float((steps * hits[ends] / (ends + 1)).sum() / total)


def f1_interval(counts: np.ndarray) -> Interval | None:
    """Where 95 % of the F1 lie when validation files are drawn again and again, with replacement.

    `counts` (files, 3) are reference, estimated and matched. The bootstrap's percentile interval (Efron and
    Tibshirani 1993), over whole files since the events of one are alike. A draw without a reference has no
    F1. None where the type is in fewer than FEWEST_FILES.
    """
    if np.count_nonzero(counts[:, 0]) < FEWEST_FILES:
        return None
    files = len(counts)
    drawn = np.random.default_rng(0).multinomial(files, np.full(files, 1 / files), RESAMPLES) @ counts
    drawn = drawn[drawn[:, 0] > 0]
    low, high = np.percentile(2 * drawn[:, 2] / (drawn[:, 0] + drawn[:, 1]), [2.5, 97.5])
    return Interval(float(low), float(high))
