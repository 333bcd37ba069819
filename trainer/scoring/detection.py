"""Detection: features to scores to detections. The very same code serves users and evaluates epochs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from scipy import ndimage

from trainer.chunks import ALIGNMENT
from trainer.features.frontend import FEATURES
from trainer.model import LearnedType, Model
from trainer.network import FOLD, OUTPUT_MS, Architecture, Weights, logits

TILE = 1024  # frames of the front end that the network sees at once, context included
BATCHES = (2, 16)  # tiles at a time
WIDENED = 3  # outputs: one on each side


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


def cleaned(scores: np.ndarray, types: Sequence[LearnedType]) -> np.ndarray:
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
    parameters: Weights,
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
    types: Sequence[LearnedType],
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
