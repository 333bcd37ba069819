"""Which track an annotated artifact is in, where the annotation does not say.

Such an artifact is in at least one of the file's channels. At first it counts as one in every track; after
each epoch, in each track as far as the model finds it there, compared with the track where it finds it best.
The shares are a part of the state of a job: they are stored with its checkpoints. This module does no input
or output.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float16, Float32

from earmark.scores import FRAME_MS
from earmark.trainer.data.loading import Dataset
from earmark.trainer.features.stored import FileFeatures
from earmark.trainer.regions import Region, RegionEvent

Shares = Float32[np.ndarray, "unknown tracks"]
SharesOfRegion = Mapping[int, Float32[np.ndarray, " tracks"]]  # by the number of the event in its region
RawScores = Callable[[Sequence[Float16[np.ndarray, "_ features"]]], Sequence[Float32[np.ndarray, "_ types"]]]
SHARPNESS = 2  # the power of the ratio of two scores: a track with half of the best score is a weak example


@dataclass(frozen=True, slots=True)
class Unknown:
    """The events whose track is not known: for each, its region and its number in the region."""

    places: tuple[tuple[Region, int], ...]
    tracks: int

    @classmethod
    def among(cls, dataset: Dataset, regions: Sequence[Region]) -> "Unknown":
        """Those of files with several tracks."""
        places = [
            (region, number)
            for region in regions
            if len(dataset.features[region.file].tracks) > 1
            for number, event in enumerate(region.events)
            if event.channel is None
        ]
        tracks = max((len(dataset.features[region.file].tracks) for region, _ in places), default=1)
        return cls(tuple(places), tracks)

    def all_tracks(self) -> Shares:
        """The shares before a model was trained."""
        return np.ones((len(self.places), self.tracks), np.float32)

    def by_region(self, shares: Shares) -> Mapping[tuple[int, int], SharesOfRegion]:
        """The shares of each region's events. The key is the region's file and its start."""
        table: dict[tuple[int, int], dict[int, np.ndarray]] = {}
        for (region, number), of_event in zip(self.places, shares, strict=True):
            table.setdefault((region.file, region.start), {})[number] = of_event
        return table

    def learnt(self, dataset: Dataset, types: Sequence[str], raw_scores: RawScores) -> Shares:
        """The shares by the mean score of each event in each track."""
        shares = np.zeros((len(self.places), self.tracks), np.float32)
        columns = {name: column for column, name in enumerate(types)}
        first = 0
        while first < len(self.places):
            region, _ = self.places[first]
            last = first
            while last < len(self.places) and self.places[last][0] is region:
                last += 1
            tracks = dataset.features[region.file].tracks[:, region.start : region.end]
            scores = np.stack(raw_scores(list(tracks)))
            for row in range(first, last):
                event = region.events[self.places[row][1]]
                start = min(event.onset_ms // FRAME_MS, tracks.shape[1] - 1)
                end = max(start + 1, -(-event.offset_ms // FRAME_MS))
                mean = scores[:, start:end, columns[event.artifact_type]].mean(axis=1)
                shares[row, : len(mean)] = (mean / max(float(mean.max()), 1e-9)) ** SHARPNESS
            first = last
        return shares


def events_of_track(
    region: Region, features: FileFeatures, track: int, shares: SharesOfRegion
) -> list[RegionEvent]:
    """The events of a region that count as examples in this track, with their labels there."""
    channels = features.channels[track]
    return [
        event._replace(confidence=event.confidence * float(shares[number][track]))
        if number in shares
        else event
        for number, event in enumerate(region.events)
        if event.channel is None or event.channel in channels
    ]
