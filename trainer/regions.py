"""Regions: stretches of a job's files, each with the events in it.

The events of a region are determined once, when the region is created, and are stored in it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float16, Int64

from trainer.features.frontend import FRAME_MS
from trainer.job import TrainingFile

Spans = Int64[np.ndarray, "events 2"]  # onsets and offsets in ms


@dataclass(frozen=True, slots=True)
class RegionEvent:
    """An annotated artifact. `onset_ms` and `offset_ms` are relative to the start of its region."""

    artifact_type: str
    onset_ms: int
    offset_ms: int


@dataclass(frozen=True, slots=True)
class Region:
    """Frames `start` to `end` of file number `file`, and the events that are entirely inside them."""

    file: int
    start: int
    end: int
    events: tuple[RegionEvent, ...] = ()

    def spans(self, types: Sequence[str]) -> dict[str, Spans]:
        """The events of each of these types, by onset."""
        spans: dict[str, list[tuple[int, int]]] = {name: [] for name in types}
        for event in self.events:
            spans[event.artifact_type].append((event.onset_ms, event.offset_ms))
        return {name: np.array(of_type, np.int64).reshape(-1, 2) for name, of_type in spans.items()}

    @property
    def frames(self) -> int:
        """The length of the region in frames."""
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class ValidationRegion:
    """A region of the validation audio as a recording of its own, with the events of each artifact type."""

    features: Float16[np.ndarray, "frames features"]
    events: Mapping[str, Spans]
    duration_ms: int


def draw_region(
    files: Sequence[TrainingFile], file: int, start: int, end: int, types: Sequence[str]
) -> Region:
    """Create a region with its events of these types, by onset. Events that cross an edge are left out."""
    begin_ms, end_ms = start * FRAME_MS, end * FRAME_MS
    events = [
        RegionEvent(event.artifact_type, event.start_ms - begin_ms, event.end_ms - begin_ms)
        for event in files[file].annotations
        if event.artifact_type in types and event.start_ms >= begin_ms and event.end_ms <= end_ms
    ]
    events.sort(key=lambda event: (event.onset_ms, event.offset_ms, event.artifact_type))
    return Region(file, start, end, tuple(events))
