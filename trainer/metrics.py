"""Counts that add up, and the figures made of them last. Pure NumPy; no input or output."""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from trainer.events import Figures

COLLAR_MS = 200
OFFSET_SHARE = 0.5


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
    """Events of one type in one file, (events, 2) onsets and offsets in ms.

    As sed_eval counts (Mesaros, Heittola and Virtanen 2016): an estimate can match an event whose onset is
    within COLLAR_MS and whose offset is within the larger of COLLAR_MS and OFFSET_SHARE of the event's
    length; as many as possible are matched one to one.
    """
    return Counts(len(reference), len(estimated), match(reference, estimated))


def match(reference: np.ndarray, estimated: np.ndarray) -> int:
    """The size of the largest one-to-one matching."""
    if not len(reference) or not len(estimated):
        return 0
    return int((maximum_bipartite_matching(csr_array(acceptable(reference, estimated))) >= 0).sum())


def acceptable(reference: np.ndarray, estimated: np.ndarray) -> np.ndarray:
    """(reference, estimated) bool: which pairs are close enough to match."""
    distance = np.abs(reference[:, None] - estimated[None])
    collar = np.maximum(COLLAR_MS, OFFSET_SHARE * (reference[:, 1] - reference[:, 0]))
    return (distance[..., 0] <= COLLAR_MS) & (distance[..., 1] <= collar[:, None])


def chunk_labels(spans: np.ndarray, starts: np.ndarray, chunk_ms: int) -> np.ndarray:
    """(chunks,) bool: an event covers at least half of the chunk, or has at least half of itself in it.

    `spans` (events, 2) of one type and `starts` (chunks,) in ms. Overlapping events count once.
    """
    if not len(spans):
        return np.zeros(len(starts), bool)
    first = np.maximum(starts[:, None], spans[None, :, 0])
    last = np.minimum(starts[:, None] + chunk_ms, spans[None, :, 1])
    shared = np.maximum(0, last - first)
    own = ((shared > 0) & (2 * shared >= spans[:, 1] - spans[:, 0])).any(axis=1)
    return own | (2 * shared.sum(axis=1) >= chunk_ms)


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
