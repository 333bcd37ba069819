"""One training step: gather windows, augment them, differentiate the loss, update the weights.

All functions are pure, and the step is compiled once. Everything that differs between jobs of similar size is
an argument and not a constant, so that a warm process reuses the compiled code. The random key of a step is
fold_in(fold_in(seed, epoch), step), so that a resumed job gives the same result as an uninterrupted one.
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax  # type: ignore[import-untyped]  # it has no stubs
from jaxtyping import Array, Float16, Float32, Int32, Key, UInt8

from earmark.trainer.chunks import Grid, core_weights
from earmark.trainer.features.filterbank import MEL_BANDS
from earmark.trainer.features.frontend import AMPLITUDE_COLUMNS, FEATURES, POWER_COLUMNS
from earmark.trainer.features.spectrum import MEL_FLOOR
from earmark.trainer.learning.flat import Flat, flatten, unflatten, with_flat_weights, with_weights
from earmark.trainer.network import Architecture, Weights, logits
from earmark.trainer.regions import CERTAIN

WARMUP_SHARE = 0.05
FINAL_SHARE = 0.02  # of the learning rate, at the end of the cosine
AVERAGE_DECAY = 0.998
WEIGHT_DECAY = 0.01
GAIN_DB = (-30.0, 6.0)
EQUALIZER_DB = 2.0
CALL_STEPS = 1024  # the most steps that one device call can take

# What a gain of g adds to each feature: 2 ln g to a log power, ln g to a log amplitude, nothing to a ratio.
_GAIN_PER_FEATURE = np.zeros(FEATURES, np.float32)
_GAIN_PER_FEATURE[list(POWER_COLUMNS)] = 2
_GAIN_PER_FEATURE[list(AMPLITUDE_COLUMNS)] = 1

# Half-periods of a cosine over the mel bands, the faster the weaker: (curves, FEATURES).
_CURVES = np.zeros((4, FEATURES), np.float32)
_CURVES[:, :MEL_BANDS] = [
    np.cos(np.pi * order * (np.arange(MEL_BANDS) + 0.5) / MEL_BANDS) / order for order in range(1, 5)
]

_IS_POWER = np.zeros(FEATURES, bool)
_IS_POWER[list(POWER_COLUMNS)] = True

_OPTIMIZER = optax.chain(optax.clip_by_global_norm(1.0), optax.scale_by_adam(b2=0.99))


@dataclass(frozen=True, slots=True)
class Shape:
    """What the compiled step depends on; hashable. A step has up to `windows` windows."""

    architecture: Architecture
    grid: Grid
    windows: int


class TrainState(NamedTuple):
    """What changes from step to step. The model gets `average`, the moving average of the weights."""

    parameters: Weights
    average: Weights
    optimizer: optax.OptState
    step: Int32[Array, ""]


class FlatState(NamedTuple):
    """A TrainState in the loop over steps: all its weights, and their moments, are flat."""

    parameters: Flat
    average: Flat
    optimizer: optax.OptState
    step: Int32[Array, ""]


class Shard(NamedTuple):
    """A part of the dataset. It is always SHARD_FRAMES long, so that one compilation serves all shards."""

    features: Float16[Array | np.ndarray, "shard_frames features"]
    targets: UInt8[Array | np.ndarray, "shard_frames outputs"]


class Batches(NamedTuple):
    """The steps to take in one call, CALL_STEPS rows of which the first `steps` are used.

    Each window is a row as `window_table` makes it, or zeros. `first` is the number of the first step within
    the epoch.
    """

    rows: Int32[Array | np.ndarray, "call_steps windows 4"]
    first: Int32[Array | np.ndarray, ""]
    steps: Int32[Array | np.ndarray, ""]


class StepConstants(NamedTuple):
    """A job's numbers, as traced values. `mean` and `deviation` normalise the features.

    `output_weight` is 1 for an artifact type and 0 for padding.
    """

    learning_rate: Float32[Array | np.ndarray, ""]
    total_steps: Int32[Array | np.ndarray, ""]
    positive_weight: Float32[Array | np.ndarray, " outputs"]
    output_weight: Float32[Array | np.ndarray, " outputs"]
    mean: Float32[Array | np.ndarray, " features"]
    deviation: Float32[Array | np.ndarray, " features"]


class EpochTotals(NamedTuple):
    """The sum of the losses of an epoch's steps so far, and the first step with a loss not finite, or -1."""

    loss: Float32[Array, ""]
    first_bad: Int32[Array, ""]


def initial_state(parameters: Weights) -> TrainState:
    """The state before the first step.

    The average starts as a copy: the state is donated, and no buffer can be donated twice.
    """
    return TrainState(
        parameters,
        jax.tree.map(jnp.copy, parameters),
        _OPTIMIZER.init(parameters),
        jnp.zeros((), jnp.int32),
    )


def start_of_epoch() -> EpochTotals:
    """The totals before an epoch's first step."""
    return EpochTotals(jnp.zeros(()), jnp.full((), -1, jnp.int32))


@partial(jax.jit, static_argnames="shape", donate_argnames=("state", "totals"))
def run_steps(
    state: TrainState,
    totals: EpochTotals,
    shard: Shard,
    batches: Batches,
    constants: StepConstants,
    key: Key[Array, ""],
    shape: Shape,
) -> tuple[TrainState, EpochTotals]:
    """Takes the steps of `batches`. Their number is traced, so that one compilation serves any number.

    `key` is the key of the epoch; each step folds its own number in.
    """
    rows, weights = jnp.asarray(batches.rows), state.parameters

    def body(index: Int32[Array, ""], carry: tuple[FlatState, EpochTotals]) -> tuple[FlatState, EpochTotals]:
        state, totals = carry
        number = batches.first + index
        step_key = jax.random.fold_in(key, number)

        def loss_of(parameters: Weights) -> Float32[Array, ""]:
            return window_loss(parameters, shard, rows[index], constants, step_key, shape)

        loss, gradients = jax.value_and_grad(loss_of)(unflatten(state.parameters, weights))
        first_bad = jnp.where((totals.first_bad < 0) & ~jnp.isfinite(loss), number, totals.first_bad)
        return update(state, flatten(gradients), constants), EpochTotals(totals.loss + loss, first_bad)

    flat = FlatState(*with_flat_weights(tuple(state)))
    flat, totals = jax.lax.fori_loop(0, batches.steps, body, (flat, totals))
    return TrainState(*with_weights(tuple(flat), weights)), totals


def window_loss(
    parameters: Weights,
    shard: Shard,
    rows: Int32[Array, "windows 4"],
    constants: StepConstants,
    key: Key[Array, ""],
    shape: Shape,
) -> Float32[Array, ""]:
    """Weighted binary cross-entropy of the chunks in `rows`: the sum over types, the mean over frames.

    A frame counts once for each chunk that contains it.
    """
    grid = shape.grid
    shift_key, augment_key, drop_key = jax.random.split(key, 3)
    shift = jax.random.randint(shift_key, rows.shape[:1], -(grid.stride // 2), grid.stride // 2 + 1)
    begin, end, chunks = rows[:, 1:2], rows[:, 2:3], rows[:, 3:4]
    place = rows[:, :1] + shift[:, None] - grid.past + jnp.arange(grid.length)[None]
    valid = (place >= begin) & (place < end)
    place = jnp.where(valid, place, 0)

    x = augment(jnp.asarray(shard.features)[place].astype(jnp.float32), augment_key)
    x = (x - constants.mean[None, None]) / constants.deviation[None, None]
    first, last = core_weights(grid)
    times = jnp.maximum(0, jnp.minimum(last[None], chunks - 1) - first[None] + 1)  # in how many chunks
    weight = valid.astype(jnp.float32) * times.astype(jnp.float32)
    target = jnp.asarray(shard.targets)[place] * valid[..., None].astype(jnp.uint8)

    scores = logits(shape.architecture, parameters, x, valid, drop_key)
    positive = target.astype(jnp.float32) / CERTAIN
    terms = constants.positive_weight[None, None] * positive * jax.nn.softplus(-scores)
    terms += (1 - positive) * jax.nn.softplus(scores)
    terms *= constants.output_weight[None, None]
    return (terms * weight[..., None]).sum() / jnp.maximum(weight.sum(), 1)


def augment(
    x: Float32[Array, "windows frames features"], key: Key[Array, ""]
) -> Float32[Array, "windows frames features"]:
    """Another gain, and another voice or microphone: a smooth curve over the mel bands.

    Most usual augmentations are artifacts themselves; these two change no label. The floor that is added to
    every power stays where it is.
    """
    gain_key, curve_key = jax.random.split(key)
    gain = jax.random.uniform(gain_key, (x.shape[0], 1, 1), minval=GAIN_DB[0], maxval=GAIN_DB[1])
    draws = jax.random.normal(curve_key, (x.shape[0], 1, len(_CURVES)))
    decibels = gain * _GAIN_PER_FEATURE[None, None] + 2 * EQUALIZER_DB * (draws @ _CURVES)
    change = decibels * (math.log(10) / 20)
    power = jnp.exp(x + change) + MEL_FLOOR * (1 - jnp.exp(change))
    return jnp.where(_IS_POWER[None, None], jnp.log(jnp.maximum(power, MEL_FLOOR)), x + change)


def learning_rate(constants: StepConstants, step: Int32[Array, ""]) -> Float32[Array, ""]:
    """Linear warm-up, then a cosine to FINAL_SHARE of the peak."""
    total = constants.total_steps.astype(jnp.float32)
    warmup = jnp.maximum(1, WARMUP_SHARE * total)
    done = jnp.clip((step.astype(jnp.float32) - warmup) / jnp.maximum(1, total - warmup), 0, 1)
    cosine = FINAL_SHARE + (1 - FINAL_SHARE) * 0.5 * (1 + jnp.cos(jnp.pi * done))
    share = jnp.minimum((step + 1).astype(jnp.float32) / warmup, cosine)
    return share * constants.learning_rate


def update(state: FlatState, gradients: Flat, constants: StepConstants) -> FlatState:
    """AdamW on clipped gradients, and the moving average, whose memory grows with the number of steps."""
    with jax.numpy_dtype_promotion("standard"):  # optax takes powers of floats with an integer count
        changes, optimizer = _OPTIMIZER.update(gradients, state.optimizer)
    # Vectors do not decay.
    changes = changes._replace(matrices=changes.matrices + WEIGHT_DECAY * state.parameters.matrices)
    rate = learning_rate(constants, state.step)
    parameters = jax.tree.map(lambda p, change: p - rate * change, state.parameters, changes)
    growing = (1 + state.step).astype(jnp.float32) / (10 + state.step).astype(jnp.float32)
    decay = jnp.minimum(AVERAGE_DECAY, growing)
    average = jax.tree.map(lambda a, p: decay * a + (1 - decay) * p, state.average, parameters)
    return FlatState(parameters, average, optimizer, state.step + 1)
