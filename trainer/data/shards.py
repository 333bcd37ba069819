"""Packs the training regions into arrays of one shape, so that one compilation serves any dataset."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float16, Float32, Int32, UInt8

from earmark.trainer.chunks import Grid, window_table
from earmark.trainer.data.loading import Dataset
from earmark.trainer.features.frontend import FEATURES, FRAME_MS
from earmark.trainer.network import output_bucket
from earmark.trainer.regions import Region, RegionEvent

SHARD_FRAMES = 1 << 18  # 44 minutes
BOUNDARY_FRAMES = 2  # that are not active between two events of a type that touch
SMALLEST_DEVIATION = 1e-2  # a feature that is constant in training must not explode if it varies later


@dataclass(frozen=True, slots=True)
class HostShard:
    """A shard in the host's memory.

    `windows` has the rows of `window_table`. The first `frames` frames contain data; the rest is padding.
    """

    features: Float16[np.ndarray, "shard_frames features"]
    targets: UInt8[np.ndarray, "shard_frames outputs"]
    windows: Int32[np.ndarray, "windows 4"]
    frames: int


def feature_statistics(
    dataset: Dataset, regions: Sequence[Region]
) -> tuple[Float32[np.ndarray, " features"], Float32[np.ndarray, " features"]]:
    """Return mean and standard deviation of each feature over the regions.

    They are computed from running sums, so that the regions are never copied into one array.
    """
    total, squares, frames = np.zeros(FEATURES), np.zeros(FEATURES), 0
    for region in regions:
        values = dataset.features[region.file][region.start : region.end].astype(np.float32)
        total += values.sum(axis=0, dtype=np.float64)
        squares += (values**2).sum(axis=0, dtype=np.float64)
        frames += len(values)
    mean = total / frames
    deviation = np.sqrt(np.maximum(squares / frames - mean**2, SMALLEST_DEVIATION**2))
    return mean.astype(np.float32), deviation.astype(np.float32)


def pack_shards(
    dataset: Dataset, regions: Sequence[Region], types: Sequence[str], grid: Grid, seed: int
) -> tuple[HostShard, ...]:
    """Pack all regions into shards, in an order drawn from `seed`, so that each shard is a random sample."""
    return tuple(_shard(dataset, pieces, types, grid) for pieces in _packed(regions, grid, seed))


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
class _Piece:
    """Frames `start` to `end` of a region, counted from the region's start."""

    region: Region
    start: int
    end: int


def _packed(regions: Sequence[Region], grid: Grid, seed: int) -> Iterator[list[_Piece]]:
    """Yield the pieces of each shard. A region longer than a shard is cut at the start of a chunk."""
    step = SHARD_FRAMES // grid.stride * grid.stride
    pieces = [
        _Piece(region, start, min(region.frames, start + SHARD_FRAMES))
        for region in regions
        for start in range(0, region.frames, step)
    ]
    order = np.random.default_rng(seed).permutation(len(pieces))
    shard: list[_Piece] = []
    frames = 0
    for piece in (pieces[number] for number in order):
        length = piece.end - piece.start
        if frames + length > SHARD_FRAMES:
            yield shard
            shard, frames = [], 0
        shard.append(piece)
        frames += length
    yield shard


def _shard(dataset: Dataset, pieces: Sequence[_Piece], types: Sequence[str], grid: Grid) -> HostShard:
    """Join the pieces into a shard. Each piece has its own windows."""
    features = np.zeros((SHARD_FRAMES, FEATURES), np.float16)
    targets = np.zeros((SHARD_FRAMES, output_bucket(len(types))), np.uint8)
    bounds: list[tuple[int, int]] = []
    place = 0
    for piece in pieces:
        region = piece.region
        values = dataset.features[region.file][region.start + piece.start : region.start + piece.end]
        end = place + len(values)
        features[place:end] = values
        region_targets = frame_targets(region.events, types, region.frames)
        targets[place:end, : len(types)] = region_targets[piece.start : piece.start + len(values)]
        bounds.append((place, place + piece.end - piece.start))
        place = end
    return HostShard(features, targets, window_table(bounds, grid), place)
