"""Recordings one after the other on one timeline, so that one pass counts the events of all of them."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from earmark.matching import COLLAR_MS
from earmark.metrics import SEGMENT_MS, event_counts_by_region
from earmark.scores import (
    FRAME_MS,
    NO_SPANS,
    NOTHING,
    DetectionConfig,
    FrameScores,
    Spans,
    TypeDefaults,
    across_channels,
    merged,
    runs,
)

GAP_MS = 2 * COLLAR_MS  # between regions: no event matches one of another region


@dataclass(frozen=True, slots=True)
class ScoredRegion:
    """A stretch of audio: its cleaned `scores` (tracks, frames, types), and what is annotated by type.

    A score of NOTHING reaches no threshold.
    """

    scores: FrameScores
    events: Mapping[str, Spans]
    duration_ms: int


class Timeline:
    """The regions on one timeline; `starts` are theirs in ms.

    The starts lie on the grid of segments, and so far apart that neither a match nor a merge window of at
    most GAP_MS + `beyond_ms` reaches from one region to another.
    """

    def __init__(
        self, regions: Sequence[ScoredRegion], types: Sequence[TypeDefaults], beyond_ms: int = 0
    ) -> None:
        lengths = [region.duration_ms + beyond_ms + GAP_MS for region in regions]
        whole_segments = [-(-length // SEGMENT_MS) * SEGMENT_MS for length in lengths]
        self.starts: npt.NDArray[np.int64] = np.cumsum([0, *whole_segments[:-1]])[: len(regions)]
        self._ends = self.starts + np.array([region.duration_ms for region in regions], np.int64)
        self._types = types
        self._scores = self._joined([region.scores for region in regions])
        self.reference = self._reference(regions)

    def estimated(self, config: DetectionConfig) -> dict[str, Spans]:
        """What `scores.detections` finds of each type in each region, in ms on the timeline."""
        found = {}
        for learned, of_type in zip(self._types, self._scores, strict=True):
            threshold, merge_window_ms, min_duration_ms = config.for_type(learned)
            by_track = []
            for of_track in of_type:
                spans = runs(of_track >= threshold) * FRAME_MS
                number = np.searchsorted(self.starts, spans[:, 0], "right") - 1
                spans = merged(np.minimum(spans, self._ends[number, None]), merge_window_ms)
                by_track.append(spans[spans[:, 1] - spans[:, 0] >= max(1, min_duration_ms)])
            found[learned.name] = across_channels(by_track)
        return found

    def counts(self, config: DetectionConfig) -> dict[str, npt.NDArray[np.int64]]:
        """By type (regions, 3): the reference, estimated and matched events."""
        return {
            name: event_counts_by_region(self.reference[name], spans, self.starts)
            for name, spans in self.estimated(config).items()
        }

    def _joined(self, scores: Sequence[FrameScores]) -> FrameScores:
        """(types, tracks, frames) of the timeline."""
        starts = (self.starts // FRAME_MS).tolist()
        tracks = max((len(of_region) for of_region in scores), default=0)
        frames = starts[-1] + scores[-1].shape[1] if starts else 0
        joined = np.full((len(self._types), tracks, frames), NOTHING, np.float32)
        for of_region, start in zip(scores, starts, strict=True):
            end = start + of_region.shape[1]
            joined[:, : len(of_region), start:end] = of_region.transpose(2, 0, 1)
        return joined

    def _reference(self, regions: Sequence[ScoredRegion]) -> dict[str, Spans]:
        """The annotated events of each type, in ms on the timeline."""
        spans: dict[str, list[Spans]] = defaultdict(lambda: [NO_SPANS])
        for learned in self._types:
            spans[learned.name] = [NO_SPANS]
        for region, start in zip(regions, self.starts, strict=True):
            for name, of_region in region.events.items():
                spans[name].append(of_region + start)
        return {name: np.concatenate(of_type) for name, of_type in spans.items()}
