"""Detection: features to scores to detections. The same code serves users and evaluates epochs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float16, Float32, Int64
from scipy import ndimage  # type: ignore[import-untyped]  # it has no stubs

from earmark.trainer.chunks import ALIGNMENT
from earmark.trainer.features.frontend import FEATURES, FRAME_MS
from earmark.trainer.features.stored import FileFeatures
from earmark.trainer.model import LearnedType, Model
from earmark.trainer.network import Architecture, Weights, logits
from earmark.trainer.regions import ValidationRegion, same_artifacts

T = TypeVar("T")

TILE = 1024  # frames of the front end that the network gets at once, context included
BATCHES = (2, 16)  # the numbers of tiles in a batch that code is compiled for


@dataclass(frozen=True, slots=True)
class Detection:
    """One detected artifact; `confidence` is 0-1. `channels` are those with it, from 0, ascending."""

    artifact_type: str
    start_ms: int
    end_ms: int
    confidence: float
    channels: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class DetectionConfig:
    """The settings of a detection.

    `merge_window_ms` and `min_duration_ms` are for all types; without them, each type has its own. The maps
    override `threshold`, `merge_window_ms` and `min_duration_ms` for the types that they name.
    """

    threshold: float = 0.5
    thresholds: Mapping[str, float] = field(default_factory=dict)
    merge_window_ms: int | None = None
    min_duration_ms: int | None = None
    merge_windows_ms: Mapping[str, int] = field(default_factory=dict)
    min_durations_ms: Mapping[str, int] = field(default_factory=dict)

    def for_type(self, learned: LearnedType) -> tuple[float, int, int]:
        """The threshold, the merge window in ms and the minimum duration in ms that apply to a type."""
        window, minimum = self.merge_window_ms, self.min_duration_ms
        return (
            self.thresholds.get(learned.name, self.threshold),
            self.merge_windows_ms.get(learned.name, learned.merge_window_ms if window is None else window),
            self.min_durations_ms.get(learned.name, learned.min_duration_ms if minimum is None else minimum),
        )


def detect(
    model: Model, features: FileFeatures, duration_ms: int, config: DetectionConfig
) -> list[Detection]:
    """Detects the artifacts in the features of one file. They are ordered by start."""
    scores = np.stack(frame_scores(model, list(features.tracks)))
    return detections(scores, features.channels, model.types, duration_ms, config)


def frame_scores(
    model: Model, tracks: Sequence[Float16[np.ndarray, "_ features"]]
) -> list[Float32[np.ndarray, "_ types"]]:
    """Cleaned scores (0-1) of each track, ready for a threshold: one per frame and type."""
    return [cleaned(scores, model.types) for scores in raw_scores(model, tracks)]


def by_region(
    scores: Sequence[Float32[np.ndarray, "_ types"]], regions: Sequence[ValidationRegion]
) -> list[Float32[np.ndarray, "tracks _ types"]]:
    """The scores of the tracks of all regions, one after the other, as one array for each region."""
    of_track = iter(scores)
    return [np.stack([next(of_track) for _ in region.tracks]) for region in regions]


def cleaned_regions(
    scores: Sequence[Float32[np.ndarray, "tracks _ types"]], types: Sequence[LearnedType]
) -> list[Float32[np.ndarray, "tracks _ types"]]:
    """The raw scores of each region, cleaned: ready for a threshold."""
    return [np.stack([cleaned(of_track, types) for of_track in region]) for region in scores]


def raw_scores(
    model: Model, files: Sequence[Float16[np.ndarray, "_ features"]]
) -> list[Float32[np.ndarray, "_ types"]]:
    """The network's scores (0-1) of each file, one per frame and type.

    Files are cut into tiles that overlap by the network's reach, so that the scores are those of the whole
    file. Batches of tiles have few shapes, so that memory is bounded and no length of file needs compiling.
    """
    past, future = (
        -(-reach // ALIGNMENT) * ALIGNMENT for reach in (model.architecture.past, model.architecture.future)
    )
    useful = TILE - past - future
    tiles = [(number, first) for number, file in enumerate(files) for first in range(0, len(file), useful)]
    result = [np.empty((len(file), len(model.types)), np.float32) for file in files]
    scored = (
        (
            batch,
            _tile_scores(
                model.parameters,
                *_padded(files, batch, past),
                model.mean,
                model.deviation,
                architecture=model.architecture,
            ),
        )
        for batch in _batches(tiles)
    )
    for batch, tile_scores in _prefetched(scored):
        scores = np.asarray(tile_scores)[:, past : TILE - future]
        for row, (number, first) in enumerate(filter(None, batch)):
            part = result[number][first : first + useful]
            part[:] = scores[row, : len(part), : len(model.types)]
    return result


def cleaned(
    scores: Float32[np.ndarray, "frames types"], types: Sequence[LearnedType]
) -> Float32[np.ndarray, "frames types"]:
    """Raw scores, shifted by the offset of each type, with short peaks removed and short gaps filled.

    A median filter commutes with any threshold, so it does not need to know the threshold.
    """
    moved = shifted(scores, [learned.offset for learned in types])
    columns = [
        ndimage.median_filter(moved[:, column], learned.smoothing, mode="constant")
        for column, learned in enumerate(types)
    ]
    return np.stack(columns, axis=1)


def shifted(
    scores: Float32[np.ndarray, "*frames types"], offsets: Sequence[float]
) -> Float32[np.ndarray, "*frames types"]:
    """The scores (0-1) with the offset of each type added to their logits."""
    odds: np.ndarray = scores * np.exp(np.array(offsets, np.float32))
    result: np.ndarray = odds / (odds + (1 - scores))
    return result


def _batches(tiles: Sequence[tuple[int, int]]) -> Iterator[list[tuple[int, int] | None]]:
    """Splits the tiles into batches of the sizes BATCHES, filled up with None."""
    for first in range(0, len(tiles), BATCHES[-1]):
        batch: list[tuple[int, int] | None] = list(tiles[first : first + BATCHES[-1]])
        size = next(size for size in BATCHES if size >= len(batch))
        yield batch + [None] * (size - len(batch))


def _padded(
    files: Sequence[np.ndarray], batch: Sequence[tuple[int, int] | None], past: int
) -> tuple[Float16[np.ndarray, "tiles frames features"], Bool[np.ndarray, "tiles frames"]]:
    """The features of the batch's tiles, and which of their frames are in their files."""
    x, valid = np.zeros((len(batch), TILE, FEATURES), np.float16), np.zeros((len(batch), TILE), bool)
    for row, (number, first) in enumerate(filter(None, batch)):
        part = files[number][max(0, first - past) : first - past + TILE]
        place = slice(max(0, past - first), max(0, past - first) + len(part))
        x[row, place], valid[row, place] = part, True
    return x, valid


def _prefetched(items: Iterator[T]) -> Iterator[T]:
    """The items, each once the next was asked for: a device computes one while the host makes another."""
    waiting = list(islice(items, 1))
    for item in items:
        yield waiting.pop()
        waiting.append(item)
    yield from waiting


@partial(jax.jit, static_argnames=("architecture",))
def _tile_scores(
    parameters: Weights,
    x: Float16[Array, "tiles frames features"],
    valid: Bool[Array, "tiles frames"],
    mean: Float32[Array, " features"],
    deviation: Float32[Array, " features"],
    *,
    architecture: Architecture,
) -> Float32[Array, "tiles frames outputs"]:
    normalised = (x.astype(jnp.float32) - mean[None, None]) / deviation[None, None]
    return jax.nn.sigmoid(logits(architecture, parameters, normalised, valid))


def detections(
    scores: Float32[np.ndarray, "tracks frames types"],
    channels: Sequence[tuple[int, ...]],
    types: Sequence[LearnedType],
    duration_ms: int,
    config: DetectionConfig,
) -> list[Detection]:
    """The detections in the cleaned scores of a file's tracks, by start. `channels` are those of each track.

    Runs of scores that reach the threshold are joined, and then those that are too short are dropped. The
    confidence is the highest score in the detection, so it is never below the threshold. What is found at the
    same time in several tracks is one detection.
    """
    result = []
    for column, learned in enumerate(types):
        threshold, merge_window_ms, min_duration_ms = config.for_type(learned)
        of_tracks = [
            found(track[:, column] >= threshold, duration_ms, merge_window_ms, min_duration_ms)
            for track in scores
        ]
        track_of = np.repeat(np.arange(len(scores)), [len(spans) for spans in of_tracks])
        spans = np.concatenate(of_tracks)
        for group in same_artifacts(of_tracks):
            start, end = int(spans[group, 0].min()), int(spans[group, 1].max())
            tracks = track_of[group].tolist()
            highest = float(scores[tracks, start // FRAME_MS : -(-end // FRAME_MS), column].max())
            heard = sorted(channel for track in tracks for channel in channels[track])
            result.append(Detection(learned.name, start, end, highest, tuple(heard)))
    return sorted(
        result, key=lambda detection: (detection.start_ms, detection.end_ms, detection.artifact_type)
    )


def found(
    active: Bool[np.ndarray, " frames"], duration_ms: int, merge_window_ms: int, min_duration_ms: int
) -> Int64[np.ndarray, "found 2"]:
    """The onsets and offsets in ms of what is detected where frames are active."""
    spans = merged(np.minimum(runs(active) * FRAME_MS, duration_ms), merge_window_ms)
    long_enough: np.ndarray = spans[spans[:, 1] - spans[:, 0] >= max(1, min_duration_ms)]
    return long_enough


def runs(active: Bool[np.ndarray, " frames"]) -> Int64[np.ndarray, "runs 2"]:
    """The first frame of each run of true, and the first one after it."""
    edges = np.diff(active.astype(np.int8), prepend=0, append=0)
    return np.stack([np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)], axis=1)


def merged(spans: Int64[np.ndarray, "spans 2"], window_ms: int) -> Int64[np.ndarray, "merged 2"]:
    """The spans, given in ascending order; those no further apart than `window_ms` are joined."""
    if len(spans) == 0:
        return spans
    apart = spans[1:, 0] - spans[:-1, 1] > window_ms
    return np.stack([spans[np.append(True, apart), 0], spans[np.append(apart, True), 1]], axis=1)
