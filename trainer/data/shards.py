"""Packs the training regions into arrays of one shape, so that one compilation serves any dataset."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float16, Float32, Int32, UInt8

from earmark.scores import FRAME_MS
from earmark.trainer.chunks import Grid, window_table
from earmark.trainer.data.channels import SharesOfRegion, events_of_track
from earmark.trainer.data.loading import Dataset
from earmark.trainer.features.frontend import FEATURES
from earmark.trainer.network import output_bucket
from earmark.trainer.regions import Region, RegionEvent

SHARD_FRAMES = 1 << 18  # 44 minutes
BOUNDARY_FRAMES = 2  # that are not active between two events of a type that touch
SMALLEST_DEVIATION = 1e-2  # of a feature in training; others count as constant
IGNORED = np.float32(
    1e6
)  # the deviation that a constant feature gets, so that it does not count if it varies later


@dataclass(frozen=True, slots=True)
class HostShard:
    """A shard in the host's memory.

    `windows` has the rows of `window_table`; a view of the same audio is `view_shifts` frames further, or
    there is none where that is 0. The first `frames` frames contain data; the rest is padding.
    """

    features: Float16[np.ndarray, "shard_frames features"]
    targets: UInt8[np.ndarray, "shard_frames outputs"]
    windows: Int32[np.ndarray, "windows 4"]
    view_shifts: Int32[np.ndarray, " windows"]
    frames: int
    pieces: "tuple[Piece, ...]"


def feature_statistics(
    dataset: Dataset, regions: Sequence[Region]
) -> tuple[Float32[np.ndarray, " features"], Float32[np.ndarray, " features"]]:
    """Return mean and standard deviation of each feature over the regions' tracks and their views.

    They are computed from running sums, so that the regions are never copied into one array.
    """
    total, squares, frames = np.zeros(FEATURES), np.zeros(FEATURES), 0
    for region in regions:
        of_file = dataset.features[region.file]
        for track in (*of_file.tracks, *(track for view in of_file.views for track in view)):
            values = track[region.start : region.end].astype(np.float32)
            total += values.sum(axis=0, dtype=np.float64)
            squares += (values**2).sum(axis=0, dtype=np.float64)
            frames += len(values)
    mean = total / frames
    deviation = np.sqrt(np.maximum(squares / frames - mean**2, 0))
    deviation[deviation < SMALLEST_DEVIATION] = IGNORED
    return mean.astype(np.float32), deviation.astype(np.float32)


def pack_shards(
    dataset: Dataset,
    regions: Sequence[Region],
    types: Sequence[str],
    grid: Grid,
    seed: int,
    shares: Mapping[tuple[int, int], SharesOfRegion] | None = None,
) -> tuple[HostShard, ...]:
    """Pack all tracks of the regions into shards, in an order drawn from `seed`: each is a random sample."""
    return tuple(
        _shard(dataset, pieces, types, grid, shares or {}) for pieces in _packed(dataset, regions, grid, seed)
    )


def frame_targets(
    events: Sequence[RegionEvent], types: Sequence[str], frames: int
) -> UInt8[np.ndarray, "frames types"]:
    """Return the label of the event of the type that overlaps each frame, even in part; 0 without an event.

    Where events overlap, the more confident one counts.
    Events of one type that touch, or nearly do, would be one run of frames, which nothing could cut again.
    Therefore BOUNDARY_FRAMES around their boundary are 0, but each of the two keeps at least one frame.
    Overlapping events stay one run. `events` are ordered by onset.
    """
    targets = np.zeros((frames, len(types)), np.uint8)
    by_type: dict[str, list[RegionEvent]] = defaultdict(list)
    for event in events:
        by_type[event.artifact_type].append(event)
    for name, of_type in by_type.items():
        targets[:, types.index(name)] = _targets_of_type(of_type, frames)
    return targets


def _targets_of_type(events: Sequence[RegionEvent], frames: int) -> UInt8[np.ndarray, " frames"]:
    targets = np.zeros(frames, np.uint8)
    spans_ms = np.array([(event.onset_ms, event.offset_ms) for event in events])
    labels = np.array([event.label for event in events])
    first, last = spans_ms[:, 0] // FRAME_MS, -(-spans_ms[:, 1] // FRAME_MS)
    for label in np.unique(labels):  # the most confident last
        begins, ends = (
            np.bincount(np.minimum(edges[labels == label], frames), minlength=frames + 1)
            for edges in (first, last)
        )
        targets[np.cumsum(begins - ends)[:frames] > 0] = label
    latest_ms = np.maximum.accumulate(spans_ms[:, 1])
    latest = np.maximum.accumulate(np.where(spans_ms[:, 1] == latest_ms, np.arange(len(events)), 0))
    gaps_ms = spans_ms[1:, 0] - latest_ms[:-1]
    for later in np.flatnonzero((gaps_ms >= 0) & (gaps_ms < BOUNDARY_FRAMES * FRAME_MS)) + 1:
        middle_ms = (spans_ms[later, 0] + latest_ms[later - 1]) // 2
        start = middle_ms // FRAME_MS - BOUNDARY_FRAMES // 2
        end = min(last[later] - 1, start + BOUNDARY_FRAMES)
        targets[max(first[latest[later - 1]] + 1, start) : end] = 0
    return targets


@dataclass(frozen=True, slots=True)
class Piece:
    """Frames `start` to `end` of a track of a region, counted from the region's start."""

    region: Region
    track: int
    start: int
    end: int
    has_view: bool

    @property
    def length(self) -> int:
        """The frames that it takes in a shard, with its view."""
        return (self.end - self.start) * (2 if self.has_view else 1)


def _packed(dataset: Dataset, regions: Sequence[Region], grid: Grid, seed: int) -> Iterator[list[Piece]]:
    """Yield the pieces of each shard. A region longer than a shard is cut at the start of a chunk."""
    pieces = []
    for region in regions:
        of_file = dataset.features[region.file]
        has_view = len(of_file.views) > 0
        longest = SHARD_FRAMES // (2 if has_view else 1)
        pieces += [
            Piece(region, track, start, min(region.frames, start + longest), has_view)
            for track in range(len(of_file.tracks))
            for start in range(0, region.frames, longest // grid.stride * grid.stride)
        ]
    order = np.random.default_rng(seed).permutation(len(pieces))
    shard: list[Piece] = []
    frames = 0
    for piece in (pieces[number] for number in order):
        if frames + piece.length > SHARD_FRAMES:
            yield shard
            shard, frames = [], 0
        shard.append(piece)
        frames += piece.length
    yield shard


def _shard(
    dataset: Dataset,
    pieces: Sequence[Piece],
    types: Sequence[str],
    grid: Grid,
    shares: Mapping[tuple[int, int], SharesOfRegion],
) -> HostShard:
    """Join the pieces into a shard. Each piece has its own windows, and its view follows it."""
    features = np.zeros((SHARD_FRAMES, FEATURES), np.float16)
    bounds: list[tuple[int, int]] = []
    place = 0
    for piece in pieces:
        of_file = dataset.features[piece.region.file]
        part = slice(piece.region.start + piece.start, piece.region.start + piece.end)
        length = piece.end - piece.start
        features[place : place + length] = of_file.tracks[piece.track, part]
        if piece.has_view:
            features[place + length : place + 2 * length] = of_file.views[0, piece.track, part]
        bounds.append((place, place + length))
        place += piece.length
    windows = window_table(bounds, grid)
    shift_of = {
        begin: end - begin if piece.has_view else 0
        for (begin, end), piece in zip(bounds, pieces, strict=True)
    }
    shifts = [shift_of[begin] for begin in windows[:, 1].tolist()]
    targets = shard_targets(dataset, pieces, types, shares)
    return HostShard(features, targets, windows, np.array(shifts, np.int32), place, tuple(pieces))


def shard_targets(
    dataset: Dataset,
    pieces: Sequence[Piece],
    types: Sequence[str],
    shares: Mapping[tuple[int, int], SharesOfRegion],
) -> UInt8[np.ndarray, "shard_frames outputs"]:
    """The labels of the pieces, and of their views, as they lie in their shard."""
    targets = np.zeros((SHARD_FRAMES, output_bucket(len(types))), np.uint8)
    place = 0
    for piece in pieces:
        region, of_file = piece.region, dataset.features[piece.region.file]
        events = events_of_track(region, of_file, piece.track, shares.get((region.file, region.start), {}))
        of_piece = frame_targets(events, types, region.frames)[piece.start : piece.end]
        for begin in range(place, place + piece.length, len(of_piece)):
            targets[begin : begin + len(of_piece), : len(types)] = of_piece
        place += piece.length
    return targets
