"""Which detection is in the place of which annotation, of the same type or of another."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from earmark.matching import matched_pairs
from earmark.scores import NO_SPANS, Spans

NONE = -1

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Events:
    """Events of all types: `types` (events,) are numbers of types, `spans` (events, 2) are in ms."""

    types: Numbers
    spans: Spans

    @classmethod
    def of(cls, by_type: Mapping[str, Spans], names: Sequence[str]) -> "Events":
        """The events of the types with these names, by type."""
        spans = [by_type.get(name, NO_SPANS) for name in names]
        types = np.repeat(np.arange(len(names)), [len(of_type) for of_type in spans])
        return cls(types, np.concatenate([NO_SPANS, *spans]))


def partners(annotated: Events, detected: Events) -> tuple[Numbers, Numbers]:
    """The number of the other event in the place of each annotated and of each detected one, or NONE.

    First, events of one type are matched, as the figures count them. What is left is matched with what is
    left of other types.
    """
    of_annotated = np.full(len(annotated.types), NONE, np.int64)
    of_detected = np.full(len(detected.types), NONE, np.int64)

    def match(rows: Numbers, columns: Numbers) -> None:
        ours, theirs = matched_pairs(annotated.spans[rows], detected.spans[columns])
        of_annotated[rows[ours]], of_detected[columns[theirs]] = columns[theirs], rows[ours]

    for number in np.intersect1d(annotated.types, detected.types):
        match(np.flatnonzero(annotated.types == number), np.flatnonzero(detected.types == number))
    match(np.flatnonzero(of_annotated == NONE), np.flatnonzero(of_detected == NONE))
    return of_annotated, of_detected


def confusion(annotated: Events, detected: Events, types: int) -> Numbers:
    """(types + 1, types + 1): how many events of the row's type were detected as the column's type.

    The last row is of what is not annotated, the last column of what was not detected.
    """
    of_annotated, of_detected = partners(annotated, detected)
    detected_as = np.append(detected.types, types)[of_annotated]
    counts = np.zeros((types + 1, types + 1), np.int64)
    np.add.at(counts, (annotated.types, detected_as), 1)
    np.add.at(counts[types], detected.types[of_detected == NONE], 1)
    return counts
