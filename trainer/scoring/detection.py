"""Detection: features to scores to detections. The same code serves users and evaluates epochs."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float16, Float32
from scipy import ndimage  # type: ignore[import-untyped]  # it has no stubs

from earmark.scores import Detection, DetectionConfig, Scores, rounded
from earmark.trainer.chunks import ALIGNMENT
from earmark.trainer.devices import ONE_DEVICE, Devices
from earmark.trainer.features.frontend import FEATURES
from earmark.trainer.features.stored import FileFeatures
from earmark.trainer.model import LearnedType, Model
from earmark.trainer.network import Architecture, Weights, logits
from earmark.trainer.regions import ValidationRegion

T = TypeVar("T")

TILE = 1024  # frames of the front end that the network gets at once, context included
BATCHES = (2, 16)  # the numbers of tiles in a device's batch that code is compiled for


def detect(
    model: Model, features: FileFeatures, duration_ms: int, config: DetectionConfig
) -> list[Detection]:
    """Detects the artifacts in the features of one file. They are ordered by start."""
    (scores,) = scores_of_files(model, [(features, duration_ms)])
    return scores.detections(model.types, config)


def scores_of_files(
    model: Model,
    files: Sequence[tuple[FileFeatures, int]],
    check: Callable[[], None] = lambda: None,
    devices: Devices = ONE_DEVICE,
) -> Iterator[Scores]:
    """The scores of each file, given with its duration in ms. Their tiles share batches.

    `check` is called before each batch, and what it raises ends the work.
    """
    tracks_of_files = [track for features, _ in files for track in features.tracks]
    raw = iter(raw_scores(model, tracks_of_files, check, devices))
    for features, duration_ms in files:
        tracks = [cleaned(next(raw), model.types) for _ in features.tracks]
        yield Scores(np.stack(tracks), features.channels, tuple(features.begins), duration_ms)


def prepare(model: Model) -> None:
    """Compiles what recordings of any length need, for all models of this architecture."""
    for tiles in BATCHES:
        raw_scores(model, [np.zeros((1, FEATURES), np.float16)] * tiles)


def frame_scores(
    model: Model, tracks: Sequence[Float16[np.ndarray, "_ features"]], devices: Devices = ONE_DEVICE
) -> list[Float32[np.ndarray, "_ types"]]:
    """Cleaned scores (0-1) of each track, ready for a threshold: one per frame and type."""
    return [cleaned(scores, model.types) for scores in raw_scores(model, tracks, devices=devices)]


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
    model: Model,
    files: Sequence[Float16[np.ndarray, "_ features"]],
    check: Callable[[], None] = lambda: None,
    devices: Devices = ONE_DEVICE,
) -> list[Float32[np.ndarray, "_ types"]]:
    """The network's scores (0-1) of each file, one per frame and type.

    Files are cut into tiles that overlap by the network's reach, so that the scores are those of the whole
    file. Batches of tiles have few shapes, so that memory is bounded and no length of file needs compiling;
    each of the devices gets as many tiles of a batch as one alone would. `check` is called before each batch,
    and what it raises ends the work.
    """
    past, future = (
        -(-reach // ALIGNMENT) * ALIGNMENT for reach in (model.architecture.past, model.architecture.future)
    )
    useful = TILE - past - future
    tiles = [(number, first) for number, file in enumerate(files) for first in range(0, len(file), useful)]
    result = [np.empty((len(file), len(model.types)), np.float32) for file in files]
    parameters, mean, deviation = devices.whole((model.parameters, model.mean, model.deviation))

    def scored() -> Iterator[tuple[Sequence[tuple[int, int] | None], Float32[Array, "tiles frames outputs"]]]:
        for batch in _batches(tiles, devices.count):
            check()
            x, valid = (devices.split(part, axis=0) for part in _padded(files, batch, past))
            yield (
                batch,
                tile_scores(parameters, x, valid, mean, deviation, architecture=model.architecture),
            )

    for batch, of_tiles in _prefetched(scored()):
        scores = np.asarray(of_tiles)[:, past : TILE - future]
        for row, (number, first) in enumerate(filter(None, batch)):
            part = result[number][first : first + useful]
            part[:] = scores[row, : len(part), : len(model.types)]
    return result


def cleaned(
    scores: Float32[np.ndarray, "frames types"], types: Sequence[LearnedType]
) -> Float32[np.ndarray, "frames types"]:
    """Raw scores, shifted by the offset of each type, without short peaks and short gaps, and rounded.

    A median filter commutes with any threshold, so it does not need to know the threshold.
    """
    moved = shifted(scores, [learned.offset for learned in types])
    columns = [
        ndimage.median_filter(moved[:, column], learned.smoothing, mode="constant")
        for column, learned in enumerate(types)
    ]
    return rounded(np.stack(columns, axis=1))


def shifted(
    scores: Float32[np.ndarray, "*frames types"], offsets: Sequence[float]
) -> Float32[np.ndarray, "*frames types"]:
    """The scores (0-1) with the offset of each type added to their logits."""
    odds: np.ndarray = scores * np.exp(np.array(offsets, np.float32))
    result: np.ndarray = odds / (odds + (1 - scores))
    return result


def _batches(tiles: Sequence[tuple[int, int]], devices: int) -> Iterator[list[tuple[int, int] | None]]:
    """Splits the tiles into batches of the sizes BATCHES for each of the devices, filled up with None."""
    sizes = [devices * size for size in BATCHES]
    for first in range(0, len(tiles), sizes[-1]):
        batch: list[tuple[int, int] | None] = list(tiles[first : first + sizes[-1]])
        size = next(size for size in sizes if size >= len(batch))
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
def tile_scores(
    parameters: Weights,
    x: Float16[Array, "tiles frames features"],
    valid: Bool[Array, "tiles frames"],
    mean: Float32[Array, " features"],
    deviation: Float32[Array, " features"],
    *,
    architecture: Architecture,
) -> Float32[Array, "tiles frames outputs"]:
    """The scores of frames, of which `valid` ones are in the audio. It is compiled for each shape."""
    normalised = (x.astype(jnp.float32) - mean[None, None]) / deviation[None, None]
    return jax.nn.sigmoid(logits(architecture, parameters, normalised, valid))
