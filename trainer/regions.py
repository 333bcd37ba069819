"""Regions: stretches of a job's files, each with the events in it.

The events of a region are determined once, when the region is created, and are stored in it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float16, Int64

from earmark.trainer.features.frontend import FRAME_MS
from earmark.trainer.job import Annotation, TrainingFile

CERTAIN = 255  # the label of an event that the annotator is sure of
LIKELY = 0.5  # the confidence from which an annotation counts as an event; training uses the others too

Spans = Int64[np.ndarray, "events 2"]  # onsets and offsets in ms


@dataclass(frozen=True, slots=True)
class RegionEvent:
    """An annotated artifact. `onset_ms` and `offset_ms` are relative to the start of its region.

    `confidence` (0-1) is the annotator's.
    """

    artifact_type: str
    onset_ms: int
    offset_ms: int
    confidence: float = 1.0

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

    def spans(self, types: Sequence[str]) -> dict[str, Spans]:
        """The likely events of each of these types, by onset."""
        spans: dict[str, list[tuple[int, int]]] = {name: [] for name in types}
        for event in self.events:
            if event.is_likely:
                spans[event.artifact_type].append((event.onset_ms, event.offset_ms))
        return {name: np.array(of_type, np.int64).reshape(-1, 2) for name, of_type in spans.items()}

    @property
    def frames(self) -> int:
        """The length of the region in frames."""
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class ValidationRegion:
    """A region of the validation audio as a recording of its own, with the likely events of each type."""

    features: Float16[np.ndarray, "frames features"]
    events: Mapping[str, Spans]
    duration_ms: int


def draw_region(
    files: Sequence[TrainingFile], file: int, start: int, end: int, types: Sequence[str]
) -> Region:
    """Create a region with its events of these types, by onset. Events that cross an edge are left out."""
    begin_ms, end_ms = start * FRAME_MS, end * FRAME_MS
    events = [
        RegionEvent(event.artifact_type, event.start_ms - begin_ms, event.end_ms - begin_ms, event.confidence)
        for event in distinct(files[file].annotations)
        if event.artifact_type in types and event.start_ms >= begin_ms and event.end_ms <= end_ms
    ]
    events.sort(key=lambda event: (event.onset_ms, event.offset_ms, event.artifact_type))
    return Region(file, start, end, tuple(events))


def distinct(annotations: Sequence[Annotation]) -> list[Annotation]:
    """The annotations without repetitions; of those that differ in confidence alone, the most confident."""
    ordered = sorted(annotations, key=lambda annotation: annotation.confidence)
    return list({(one.artifact_type, one.start_ms, one.end_ms): one for one in ordered}.values())
