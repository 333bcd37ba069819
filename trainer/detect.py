"""Detection: features to scores to detections. The very same code serves users and evaluates epochs."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy
from flax import nnx

from storage.objects import ObjectStore
from trainer.frontend import FEATURES, FRONTEND_VERSION
from trainer.model import FOLD, OUTPUT_MS, Architecture, default_dtype, initial_parameters, logits
from trainer.trees import from_arrays

BUCKETS = (512, 1024, 2048, 4096, 8192)  # frames of 10 ms: compiled lengths, context included
MODEL_FORMAT = 1


class UnreadableModelError(ValueError):
    """The stored model is not one that this trainer can run."""


@dataclass(frozen=True, slots=True)
class Model:
    """A trained model in memory. `mean` and `deviation` (FEATURES,) normalise the front end's output."""

    architecture: Architecture
    types: tuple[str, ...]
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
        tuple(config["artifact_types"]),
        jax.device_put(from_arrays(template, weights)),
        np.array(config["mean"], np.float32),
        np.array(config["deviation"], np.float32),
    )


def detect(model: Model, features: np.ndarray, duration_ms: int, config: DetectionConfig) -> list[Detection]:
    """Every artifact in one file's features (frames, FEATURES), by start."""
    return detections(frame_scores(model, features), model.types, duration_ms, config)


def frame_scores(model: Model, features: np.ndarray) -> np.ndarray:
    """(frames, FEATURES) to float32 scores 0-1 (ceil(frames / FOLD), types), one every OUTPUT_MS.

    A long file goes through in segments that overlap by what the network sees, so that memory is bounded
    and the result is that of the whole.
    """
    frames = len(features)
    context = model.architecture.reach * FOLD
    longest = BUCKETS[-1] - 2 * context
    parts = [
        _segment_scores(model, features, first, min(frames, first + longest), context)
        for first in range(0, frames, longest)
    ]
    return np.concatenate([np.empty((0, len(model.types)), np.float32), *parts])


def _segment_scores(model: Model, features: np.ndarray, first: int, last: int, context: int) -> np.ndarray:
    begin, end = max(0, first - context), min(len(features), last + context)
    length = next(bucket for bucket in BUCKETS if bucket >= last - first + 2 * context)
    x = np.zeros((length, FEATURES), np.float16)
    valid = np.zeros(length, bool)
    place = slice(begin - first + context, end - first + context)
    x[place], valid[place] = features[begin:end], True
    scores = _scores(model.parameters, x, valid, model.mean, model.deviation, architecture=model.architecture)
    skipped = context // FOLD
    return np.asarray(scores)[skipped : skipped + -(-(last - first) // FOLD), : len(model.types)]


@partial(jax.jit, static_argnames=("architecture",))
def _scores(
    parameters: nnx.State,
    x: jax.Array,
    valid: jax.Array,
    mean: jax.Array,
    deviation: jax.Array,
    *,
    architecture: Architecture,
) -> jax.Array:
    x = normalise(x, mean, deviation)
    return jax.nn.sigmoid(logits(architecture, parameters, x[None], valid[None])[0])


def normalise(x: jax.Array, mean: jax.Array, deviation: jax.Array) -> jax.Array:
    """Features (frames, FEATURES) to zero mean and unit deviation over the training audio, in float16 steps.

    Training keeps its resident features in float16; detection rounds alike.
    """
    return ((x.astype(jnp.float32) - mean) / deviation).astype(jnp.float16).astype(jnp.float32)


def detections(
    scores: np.ndarray,
    types: Sequence[str],
    duration_ms: int,
    config: DetectionConfig,
) -> list[Detection]:
    """Scores (frames, types) to detections by start: runs over the threshold, joined, then the short dropped.

    The confidence is the highest score in the detection, so none is below the threshold.
    """
    found = []
    for column, kind in enumerate(types):
        track = scores[:, column]
        spans = runs(track >= config.thresholds.get(kind, config.threshold))
        spans = merged(np.minimum(spans * OUTPUT_MS, duration_ms), config.merge_window_ms)
        found += [
            Detection(
                kind, int(start), int(end), float(track[start // OUTPUT_MS : -(-end // OUTPUT_MS)].max())
            )
            for start, end in spans
            if end - start >= max(1, config.min_duration_ms)
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
