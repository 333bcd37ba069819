"""A model whose scores depend on every feature and every weight, and sounds with many kinds of defects."""

import numpy as np
import soxr

from earmark.trainer.features.frontend import features
from earmark.trainer.model import LearnedType, Model
from earmark.trainer.network import Architecture, initial_parameters
from earmark.trainer.pytrees import from_arrays, to_arrays
from tests.sounds import RATE, annotated_speech

TYPES = (
    LearnedType("gone", smoothing=7, offset=-0.4, min_duration_ms=30, merge_window_ms=60),
    LearnedType("noisy", smoothing=1, offset=0.7),
    LearnedType("clicking", smoothing=3),
)

# Columns of the features: the highest similarity, smoothed, and its lag.
HIGHEST_SIMILARITY, ITS_LAG = 127, 137


def sound(rate: int = RATE, seconds: float = 20, seed: int = 3) -> np.ndarray:
    """Speech of 16 bits with a constant offset, dropouts, bursts, clipping and clicks; no whole frames."""
    audio, _ = annotated_speech(seconds, seed)
    audio += np.float32(0.01)
    for start in range(RATE // 2, len(audio) - RATE, RATE):
        audio[start : start + 1_600] = (8 * audio[start : start + 1_600]).clip(-0.4, 0.4)
        audio[start + 4_000] += 0.5
    other = audio if rate == RATE else soxr.resample(audio, RATE, rate)
    rounded = np.round(other.clip(-1, 1) * 32_767).astype(np.int16)
    return rounded[: -rate // 1_000].astype(np.float32) / 32_768


def surely_similar(values: np.ndarray) -> np.ndarray:
    """Frames that are clearly similar to their past, so that the lag at which they are is no chance."""
    return values[:, HIGHEST_SIMILARITY] > 0.3


def random_model(seed: int = 0) -> Model:
    """No weight is 0, and the features are normalised as training does it."""
    rng, architecture = np.random.default_rng(seed), Architecture(outputs=8)
    weights_like = initial_parameters(architecture, 0)
    weights = {name: _drawn(rng, leaf.shape) for name, leaf in to_arrays(weights_like).items()}
    values = features(sound(), RATE).astype(np.float32)
    return Model(
        architecture, TYPES, from_arrays(weights_like, weights), values.mean(axis=0), values.std(axis=0) + 0.1
    )


def _drawn(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.normal(0, 2 * shape[0] ** -0.5 if len(shape) > 1 else 1, shape).astype(np.float32)
