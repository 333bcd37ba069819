"""Regions: stretches of a job's files, each with the events in it.

The events of a region are determined once, when the region is created, and are stored in it.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float16

from earmark.scores import FRAME_MS, LIKELY, Spans, by_type
from earmark.trainer.job import Annotation, TrainingFile

CERTAIN = 255  # the label of an event that the annotator is sure of


class RegionEvent(NamedTuple):
    """An annotated artifact. `onset_ms` and `offset_ms` are relative to the start of its region.

    `confidence` (0-1) is the annotator's. `channel` is None if the annotation does not name one.
    """

    artifact_type: str
    onset_ms: int
    offset_ms: int
    confidence: float = 1.0
    channel: int | None = None

    @property
    def label(self) -> int:
        """The target of the event's frames, 0 to CERTAIN: a soft label if the annotator is not sure."""
        return round(CERTAIN * self.confidence)

    @property
    def is_likely(self) -> bool:
        """Whether the annotator thinks that this is more likely an artifact than not."""
        return self.confidence >= LIKELY


@dataclass(frozen=True, slots=True)
class Region:
    """Frames `start` to `end` of file number `file`, and the events that are entirely inside them."""

    file: int
    start: int
    end: int
    events: tuple[RegionEvent, ...] = ()

    def spans(self) -> dict[str, Spans]:
        """The likely events of each type that has any, by onset. One in several channels counts once."""
        return by_type(self.spans_by_channel())

    def spans_by_channel(self) -> dict[tuple[str, int | None], Spans]:
        """The likely events of each type and channel that has any, by onset."""
        spans: dict[tuple[str, int | None], list[tuple[int, int]]] = defaultdict(list)
        for event in self.events:
            if event.is_likely:
                spans[event.artifact_type, event.channel].append((event.onset_ms, event.offset_ms))
        return {key: np.array(of_channel, np.int64) for key, of_channel in spans.items()}

    @property
    def frames(self) -> int:
        """The length of the region in frames."""
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class ValidationRegion:
    """A region of the validation audio as a recording of its own, with the likely events of each type.

    `tracks` are the features of each track of the file, and `begins` the frames from which they count.
    """

    tracks: tuple[Float16[np.ndarray, "frames features"], ...]
    begins: tuple[int, ...]
    events: Mapping[str, Spans]
    duration_ms: int


def draw_region(
    files: Sequence[TrainingFile], file: int, start: int, end: int, types: Collection[str]
) -> Region:
    """Create a region with its events of these types, by onset. Events that cross an edge are left out."""
    begin_ms, end_ms = start * FRAME_MS, end * FRAME_MS
    annotations = files[file].annotations
    first = bisect_left(annotations, begin_ms, key=_onset_ms)
    last = bisect_left(annotations, end_ms + 1, lo=first, key=_onset_ms)
    events = (
        RegionEvent(
            event.artifact_type,
            event.start_ms - begin_ms,
            event.end_ms - begin_ms,
            event.confidence,
            event.channel,
        )
        for event in annotations[first:last]
        if event.artifact_type in types and event.end_ms <= end_ms
    )
    return Region(file, start, end, tuple(events))


def _onset_ms(annotation: Annotation) -> int:
    return annotation.start_ms
