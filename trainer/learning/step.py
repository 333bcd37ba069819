"""What one training step is: gather windows, augment, differentiate, update. Pure, and compiled once.

Everything that differs between jobs of similar size is an argument, not a constant, so that a warm worker
reuses the compiled code. Randomness is fold_in(fold_in(seed, epoch), step): a resumed run equals an
uninterrupted one.
"""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from trainer.chunks import Grid, core_weights
from trainer.features.frontend import FEATURES, FLOOR_BANDS, FLOORS, MEL_BANDS, MEL_FLOOR
from trainer.features.waveform import LEVEL_COLUMNS
from trainer.network import FOLD, Architecture, Weights, logits

WARMUP_SHARE = 0.05
FINAL_SHARE = 0.02  # of the learning rate, at the end of the cosine
AVERAGE_DECAY = 0.998
WEIGHT_DECAY = 0.01
GAIN_DB = 6.0
EQUALIZER_DB = 2.0
CALL_STEPS = 1024  # that one call can take

# What a gain of g adds to each feature: 2 ln g to a log power, ln g to a log amplitude, nothing to a ratio.
_GAIN_PER_FEATURE = np.zeros(FEATURES, np.float32)
_GAIN_PER_FEATURE[:MEL_BANDS] = 2
_GAIN_PER_FEATURE[MEL_BANDS : MEL_BANDS + FLOOR_BANDS] = 2
_GAIN_PER_FEATURE[[MEL_BANDS + FLOORS + column for column in LEVEL_COLUMNS]] = 1

# Half-periods of a cosine over the mel bands, weaker the faster they turn: (curves, FEATURES).
_CURVES = np.zeros((4, FEATURES), np.float32)
_CURVES[:, :MEL_BANDS] = [
    np.cos(np.pi * order * (np.arange(MEL_BANDS) + 0.5) / MEL_BANDS) / order for order in range(1, 5)
]

_SILENCE = np.where(np.arange(FEATURES) < MEL_BANDS + FLOOR_BANDS, np.log(MEL_FLOOR), -np.inf).astype(
    np.float32
)

_OPTIMIZER = optax.chain(
    optax.clip_by_global_norm(1.0),
    optax.scale_by_adam(b2=0.99),
    optax.add_decayed_weights(WEIGHT_DECAY, mask=lambda tree: jax.tree.map(lambda p: p.ndim > 1, tree)),
)


@dataclass(frozen=True, slots=True)
class Shape:
    """What the compiled step depends on; hashable. `windows` is how many a step holds at most."""

    architecture: Architecture
    grid: Grid
    windows: int


class TrainState(NamedTuple):
    """What changes from step to step. `average`, the weights' moving average, is what is kept."""

    parameters: Weights
    average: Weights
    optimizer: optax.OptState
    step: jax.Array


class Shard(NamedTuple):
    """A part of the dataset on the device, SHARD_FRAMES long whatever it holds."""

    features: jax.Array  # (SHARD_FRAMES, FEATURES) float16
    targets: jax.Array  # (SHARD_FRAMES, outputs) uint8


class Batches(NamedTuple):
    """Steps to take, of up to Shape.windows windows each; a row as `window_table` makes it, or zeros."""

    rows: jax.Array  # (CALL_STEPS, windows, 4) int32
    first: jax.Array  # the number of the first step within the epoch
    count: jax.Array  # how many of CALL_STEPS there are


class StepConstants(NamedTuple):
    """A job's numbers, as traced values."""

    learning_rate: jax.Array
    total_steps: jax.Array
    positive_weight: jax.Array  # (outputs,)
    output_weight: jax.Array  # (outputs,) 1 for a type, 0 for padding
    mean: jax.Array  # (FEATURES,) of the features
    deviation: jax.Array  # (FEATURES,)


class Progressed(NamedTuple):
    """Over the steps of an epoch so far."""

    loss: jax.Array  # sum
    first_bad: jax.Array  # the first step whose loss is not finite, or -1


def initial_state(parameters: Weights) -> TrainState:
    """The average starts at a copy: the state is donated, and no buffer can be donated twice."""
    return TrainState(
        parameters,
        jax.tree.map(jnp.copy, parameters),
        _OPTIMIZER.init(parameters),
        jnp.zeros((), jnp.int32),
    )


def start_of_epoch() -> Progressed:
    """Nothing yet."""
    return Progressed(jnp.zeros(()), jnp.full((), -1, jnp.int32))


@partial(jax.jit, static_argnames="shape", donate_argnames=("state", "progressed"))
def run_steps(
    state: TrainState,
    progressed: Progressed,
    shard: Shard,
    batches: Batches,
    constants: StepConstants,
    key: jax.Array,
    shape: Shape,
) -> tuple[TrainState, Progressed]:
    """Takes the steps of `batches`. Their number is traced: one compilation serves any.

    `key` is the epoch's; a step folds its own number in.
    """

    def body(index: jax.Array, carry: tuple[TrainState, Progressed]) -> tuple[TrainState, Progressed]:
        state, progressed = carry
        number = batches.first + index
        step_key = jax.random.fold_in(key, number)

        def loss_of(parameters: Weights) -> jax.Array:
            return window_loss(parameters, shard, batches.rows[index], constants, step_key, shape)

        loss, gradients = jax.value_and_grad(loss_of)(state.parameters)
        bad = jnp.where((progressed.first_bad < 0) & ~jnp.isfinite(loss), number, progressed.first_bad)
        return update(state, gradients, constants), Progressed(progressed.loss + loss, bad)

    return jax.lax.fori_loop(0, batches.count, body, (state, progressed))


def window_loss(
    parameters: Weights,
    shard: Shard,
    rows: jax.Array,
    constants: StepConstants,
    key: jax.Array,
    shape: Shape,
) -> jax.Array:
    """Weighted binary cross-entropy of the chunks in `rows` (windows, 4): sum of types, mean of frames.

    A frame counts as often as chunks contain it.
    """
    grid, outputs = shape.grid, shape.architecture.outputs
    shift_key, augment_key, drop_key = jax.random.split(key, 3)
    shift = jax.random.randint(shift_key, rows.shape[:1], -(grid.stride // 2), grid.stride // 2 + 1)
    begin, end, chunks = rows[:, 1:2], rows[:, 2:3], rows[:, 3:4]
    place = rows[:, :1] + shift[:, None] - grid.context + jnp.arange(grid.length)
    valid = (place >= begin) & (place < end)
    place = jnp.where(valid, place, 0)

    x = augment(shard.features[place].astype(jnp.float32), augment_key)
    x = (x - constants.mean) / constants.deviation
    first, last = core_weights(grid)
    weight = valid * jnp.maximum(0, jnp.minimum(last, chunks - 1) - first + 1).astype(jnp.float32)
    target = shard.targets[place] * valid[..., None]
    target = target.reshape(*place.shape[:1], -1, FOLD, outputs).max(axis=2)
    weight = weight.reshape(*place.shape[:1], -1, FOLD).mean(axis=2)

    scores = logits(shape.architecture, parameters, x, valid, drop_key)
    positive = target.astype(jnp.float32)
    terms = constants.positive_weight * positive * jax.nn.softplus(-scores)
    terms += (1 - positive) * jax.nn.softplus(scores)
    return (terms * constants.output_weight * weight[..., None]).sum() / jnp.maximum(weight.sum(), 1)


def augment(x: jax.Array, key: jax.Array) -> jax.Array:
    """Another gain, 0 to -GAIN_DB, and another voice or microphone: a smooth curve over the mel bands.

    Most usual augmentations are artifacts themselves; these change no label. Nothing falls below silence.
    """
    gain_key, curve_key = jax.random.split(key)
    decibels = -GAIN_DB * jax.random.uniform(gain_key, (x.shape[0], 1, 1)) * _GAIN_PER_FEATURE
    draws = jax.random.normal(curve_key, (x.shape[0], 1, len(_CURVES)))
    decibels += 2 * EQUALIZER_DB * (draws @ _CURVES)
    return jnp.maximum(x + decibels * (np.log(10) / 20), jnp.minimum(x, _SILENCE))


def learning_rate(constants: StepConstants, step: jax.Array) -> jax.Array:
    """Linear warm-up, then a cosine to FINAL_SHARE of the peak."""
    total = constants.total_steps.astype(jnp.float32)
    warmup = jnp.maximum(1, WARMUP_SHARE * total)
    done = jnp.clip((step - warmup) / jnp.maximum(1, total - warmup), 0, 1)
    cosine = FINAL_SHARE + (1 - FINAL_SHARE) * 0.5 * (1 + jnp.cos(jnp.pi * done))
    return constants.learning_rate * jnp.minimum((step + 1) / warmup, cosine)


def update(state: TrainState, gradients: Weights, constants: StepConstants) -> TrainState:
    """AdamW on clipped gradients, and the moving average, whose memory grows with the steps taken."""
    changes, optimizer = _OPTIMIZER.update(gradients, state.optimizer, state.parameters)
    rate = learning_rate(constants, state.step)
    parameters = jax.tree.map(lambda p, change: p - rate * change, state.parameters, changes)
    decay = jnp.minimum(AVERAGE_DECAY, (1 + state.step) / (10 + state.step))
    average = jax.tree.map(lambda a, p: decay * a + (1 - decay) * p, state.average, parameters)
    return TrainState(parameters, average, optimizer, state.step + 1)
