"""Detection: features to scores to detections. The very same code serves users and evaluates epochs."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy
from flax import nnx
from scipy import ndimage

from storage.objects import ObjectStore
from trainer.chunks import ALIGNMENT
from trainer.frontend import FEATURES, FRONTEND_VERSION
from trainer.model import FOLD, OUTPUT_MS, Architecture, default_dtype, initial_parameters, logits
from trainer.trees import from_arrays

TILE = 1024  # frames of the front end that the network sees at once, context included
BATCHES = (2, 16)  # tiles at a time
WIDENED = 3  # outputs: one on each side
MODEL_FORMAT = 2


class UnreadableModelError(ValueError):
    """The stored model is not one that this trainer can run."""


@dataclass(frozen=True, slots=True)
class ArtifactType:
    """What a model knows of one of its types, besides its weights.

    `smoothing` is the length in outputs, odd, of the median filter that its scores go through,
    `shortest_ms` the length under which nothing is one, `offset` what its logits are shifted by so that 0.5
    is a good threshold.
    """

    name: str
    smoothing: int = 1
    shortest_ms: int = 0
    offset: float = 0.0


@dataclass(frozen=True, slots=True)
class Model:
    """A trained model in memory. `mean` and `deviation` (FEATURES,) normalise the front end's output."""

    architecture: Architecture
    types: tuple[ArtifactType, ...]
    parameters: nnx.State
    mean: np.ndarray
    deviation: np.ndarray


@dataclass(frozen=True, slots=True)
class Detection:
    """One artifact that was found; `confidence` is 0-1."""

    artifact_type: str
    start_ms: int
    end_ms: int
    confidence: float


@dataclass(frozen=True, slots=True)
class DetectionConfig:
    """`thresholds` override `threshold` for the types they name."""

    threshold: float = 0.5
    thresholds: Mapping[str, float] = field(default_factory=dict)
    merge_window_ms: int = 200
    min_duration_ms: int = 50


def load_model(objects: ObjectStore, weights_key: str, config_key: str) -> Model:
    """Raises ObjectNotFoundError, and UnreadableModelError for what this trainer cannot run."""
    config, weights = objects.get(config_key), objects.get(weights_key)
    try:
        return _model(json.loads(config), safetensors.numpy.load(weights))
    except (KeyError, TypeError, ValueError, safetensors.SafetensorError) as error:
        raise UnreadableModelError(f"the model {config_key} cannot be read: {error}") from error


def _model(config: Mapping[str, Any], weights: dict[str, np.ndarray]) -> Model:
    if (config["format"], config["frontend"]) != (MODEL_FORMAT, FRONTEND_VERSION):
        raise ValueError(
            f"it is of format {config['format']} and front end {config['frontend']}, this trainer has "
            f"{MODEL_FORMAT} and {FRONTEND_VERSION}; train it again"
        )
    stored = {name: tuple(v) if isinstance(v, list) else v for name, v in config["architecture"].items()}
    architecture = replace(Architecture(**stored), dtype=default_dtype())
    template = jax.eval_shape(lambda: initial_parameters(architecture, 0))
    return Model(
        architecture,
        tuple(ArtifactType(**known) for known in config["artifact_types"]),
        jax.device_put(from_arrays(template, weights)),
        np.array(config["mean"], np.float32),
        np.array(config["deviation"], np.float32),
    )


def detect(model: Model, features: np.ndarray, duration_ms: int, config: DetectionConfig) -> list[Detection]:
    """Every artifact in one file's features (frames, FEATURES), by start."""
    (scores,) = frame_scores(model, [features])
    return detections(scores, model.types, duration_ms, config)


def frame_scores(model: Model, files: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Features (frames, FEATURES) to scores 0-1 (ceil(frames / FOLD), types), ready for a threshold."""
    return [cleaned(scores, model.types) for scores in raw_scores(model, files)]


def raw_scores(model: Model, files: Sequence[np.ndarray]) -> list[np.ndarray]:
    """What the network says of each file, one score every OUTPUT_MS.

    Files go through in tiles that overlap by what the network sees, many at a time and always in the same
    shapes, so that memory is bounded, nothing is compiled for a length, and the result is that of the whole.
    """
    context = -(-model.architecture.reach // ALIGNMENT) * ALIGNMENT
    useful = TILE - 2 * context
    tiles = [(number, first) for number, file in enumerate(files) for first in range(0, len(file), useful)]
    result = [np.empty((-(-len(file) // FOLD), len(model.types)), np.float32) for file in files]
    for batch in _batches(tiles):
        x, valid = np.zeros((len(batch), TILE, FEATURES), np.float16), np.zeros((len(batch), TILE), bool)
        for row, (number, first) in enumerate(filter(None, batch)):
            part = files[number][max(0, first - context) : first - context + TILE]
            place = slice(max(0, context - first), max(0, context - first) + len(part))
            x[row, place], valid[row, place] = part, True
        scores = np.asarray(_scores(model, x, valid))[:, context // FOLD : -context // FOLD]
        for row, (number, first) in enumerate(filter(None, batch)):
            part = result[number][first // FOLD : (first + useful) // FOLD]
            part[:] = scores[row, : len(part), : len(model.types)]
    return result


def cleaned(scores: np.ndarray, types: Sequence[ArtifactType]) -> np.ndarray:
    """Raw scores (frames, types), shifted by the types' offsets, without what is too short, and without gaps.

    Types too short for a median filter are as short as the network's steps, and last longer than the one they
    score in: their scores are widened. Both filters commute with any threshold, so it need not be known.
    """
    shifts = shifted(scores, [kind.offset for kind in types])
    columns = [
        ndimage.median_filter(shifts[:, column], kind.smoothing, mode="constant")
        if kind.smoothing > 1
        else ndimage.maximum_filter1d(shifts[:, column], WIDENED, mode="constant")
        for column, kind in enumerate(types)
    ]
    return np.stack(columns, axis=1)


def shifted(scores: np.ndarray, offsets: Sequence[float]) -> np.ndarray:
    """Scores (frames, types) 0-1 to the same, with `offsets` (types,) added to their logits."""
    odds = scores * np.exp(np.array(offsets, np.float32))
    return odds / (odds + (1 - scores))


def _batches(tiles: Sequence[tuple[int, int]]) -> Iterator[list[tuple[int, int] | None]]:
    """In the lengths that are compiled, filled up with None."""
    for first in range(0, len(tiles), BATCHES[-1]):
        batch: list[tuple[int, int] | None] = list(tiles[first : first + BATCHES[-1]])
        size = next(size for size in BATCHES if size >= len(batch))
        yield batch + [None] * (size - len(batch))


def _scores(model: Model, x: np.ndarray, valid: np.ndarray) -> jax.Array:
    normal = (model.mean, model.deviation)
    return _tile_scores(model.parameters, x, valid, *normal, architecture=model.architecture)


@partial(jax.jit, static_argnames=("architecture",))
def _tile_scores(
    parameters: nnx.State,
    x: jax.Array,
    valid: jax.Array,
    mean: jax.Array,
    deviation: jax.Array,
    *,
    architecture: Architecture,
) -> jax.Array:
    """(tiles, TILE, FEATURES) to (tiles, TILE / FOLD, outputs)."""
    x = (x.astype(jnp.float32) - mean) / deviation
    return jax.nn.sigmoid(logits(architecture, parameters, x, valid))


def detections(
    scores: np.ndarray,
    types: Sequence[ArtifactType],
    duration_ms: int,
    config: DetectionConfig,
) -> list[Detection]:
    """Scores (frames, types) to detections by start: runs over the threshold, joined, then the short dropped.

    The confidence is the highest score in the detection, so none is below the threshold.
    """
    found = []
    for column, kind in enumerate(types):
        track = scores[:, column]
        spans = runs(track >= config.thresholds.get(kind.name, config.threshold))
        spans = merged(np.minimum(spans * OUTPUT_MS, duration_ms), config.merge_window_ms)
        found += [
            Detection(
                kind.name, int(start), int(end), float(track[start // OUTPUT_MS : -(-end // OUTPUT_MS)].max())
            )
            for start, end in spans
            if end - start >= max(1, config.min_duration_ms, kind.shortest_ms)
        ]
    return sorted(
        found, key=lambda detection: (detection.start_ms, detection.end_ms, detection.artifact_type)
    )


def runs(active: np.ndarray) -> np.ndarray:
    """(frames,) bool to (runs, 2): first frame of each run of true, and the first after it."""
    edges = np.diff(active.astype(np.int8), prepend=0, append=0)
    return np.stack([np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)], axis=1)


def merged(spans: np.ndarray, window_ms: int) -> np.ndarray:
    """(spans, 2) in ascending order, those joined that are no further apart than `window_ms`."""
    if len(spans) == 0:
        return spans
    apart = spans[1:, 0] - spans[:-1, 1] > window_ms
    return np.stack([spans[np.append(True, apart), 0], spans[np.append(apart, True), 1]], axis=1)
