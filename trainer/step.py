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
from flax import nnx

from trainer.chunks import Grid, core_weights
from trainer.frontend import FEATURES, MEL_BANDS
from trainer.model import FOLD, Architecture, logits

WARMUP_SHARE = 0.05
FINAL_SHARE = 0.02  # of the learning rate, at the end of the cosine
AVERAGE_DECAY = 0.998
WEIGHT_DECAY = 0.01
GAIN_DB = 6.0
EQUALIZER_DB = 2.0

# What a gain of g adds to each feature: 2 ln g to a log power, ln g to a log amplitude, nothing to a ratio.
_GAIN_PER_FEATURE = np.zeros(FEATURES, np.float32)
_GAIN_PER_FEATURE[:MEL_BANDS] = 2
_GAIN_PER_FEATURE[MEL_BANDS : MEL_BANDS + 4] = 1

# Half-periods of a cosine over the mel bands, weaker the faster they turn: (curves, FEATURES).
_CURVES = np.zeros((4, FEATURES), np.float32)
_CURVES[:, :MEL_BANDS] = [
    np.cos(np.pi * order * (np.arange(MEL_BANDS) + 0.5) / MEL_BANDS) / order for order in range(1, 5)
]

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


class Span(NamedTuple):
    """`count` steps from `first` on, of the `steps` of an epoch."""

    first: jax.Array
    count: jax.Array
    steps: jax.Array


class TrainState(NamedTuple):
    """What changes from step to step. `average`, the weights' moving average, is what is kept."""

    parameters: nnx.State
    average: nnx.State
    optimizer: optax.OptState
    step: jax.Array


class Dataset(NamedTuple):
    """Resident on the device. Windows as `window_table` makes them; rows of padding have 0 chunks."""

    features: jax.Array  # (frames, FEATURES) float16, normalised
    targets: jax.Array  # (frames, outputs) uint8
    windows: jax.Array  # (windows, 4) int32


class Settings(NamedTuple):
    """A job's numbers, as traced values."""

    learning_rate: jax.Array
    total_steps: jax.Array
    positive_weight: jax.Array  # (outputs,)
    output_weight: jax.Array  # (outputs,) 1 for a type, 0 for padding
    scale: jax.Array  # (FEATURES,) the features' standard deviation
    floor: jax.Array  # (FEATURES,) what silence is, normalised


class Progressed(NamedTuple):
    """Over the steps of an epoch so far."""

    loss: jax.Array  # sum
    first_bad: jax.Array  # the first step whose loss is not finite, or -1


def initial_state(parameters: nnx.State) -> TrainState:
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


@jax.jit
def epoch_order(key: jax.Array, windows: jax.Array) -> jax.Array:
    """A permutation of the windows with those of no chunk last."""
    draws = jax.random.uniform(key, (windows.shape[0],))
    return jnp.argsort(jnp.where(windows[:, 3] > 0, draws, jnp.inf))


@partial(jax.jit, static_argnames="shape", donate_argnames=("state", "progressed"))
def run_steps(
    state: TrainState,
    progressed: Progressed,
    dataset: Dataset,
    order: jax.Array,
    settings: Settings,
    key: jax.Array,
    span: Span,
    shape: Shape,
) -> tuple[TrainState, Progressed]:
    """Takes the steps of `span`, of up to `shape.windows` windows each.

    Their number is traced: one compilation serves any. A step takes every `steps`-th window, so that all
    are equally full.
    """

    def body(number: jax.Array, carry: tuple[TrainState, Progressed]) -> tuple[TrainState, Progressed]:
        state, progressed = carry
        rows = dataset.windows[order[number + span.steps * jnp.arange(shape.windows)]]
        step_key = jax.random.fold_in(key, number)

        def loss_of(parameters: nnx.State) -> jax.Array:
            return window_loss(parameters, dataset, rows, settings, step_key, shape)

        loss, gradients = jax.value_and_grad(loss_of)(state.parameters)
        bad = jnp.where((progressed.first_bad < 0) & ~jnp.isfinite(loss), number, progressed.first_bad)
        return update(state, gradients, settings), Progressed(progressed.loss + loss, bad)

    return jax.lax.fori_loop(span.first, span.first + span.count, body, (state, progressed))


def window_loss(
    parameters: nnx.State,
    dataset: Dataset,
    rows: jax.Array,
    settings: Settings,
    key: jax.Array,
    shape: Shape,
) -> jax.Array:
    """Weighted binary cross-entropy of the chunks in `rows` (windows, 4): sum of types, mean of frames."""
    grid, outputs = shape.grid, shape.architecture.outputs
    shift_key, augment_key, drop_key = jax.random.split(key, 3)
    shift = jax.random.randint(shift_key, rows.shape[:1], -(grid.stride // 2), grid.stride // 2 + 1)
    begin, end, chunks = rows[:, 1:2], rows[:, 2:3], rows[:, 3:4]
    place = rows[:, :1] + shift[:, None] - grid.context + jnp.arange(grid.length)
    valid = (place >= begin) & (place < end)
    place = jnp.where(valid, place, 0)

    x = augment(dataset.features[place].astype(jnp.float32), settings, augment_key)
    inside, number = core_weights(grid)
    weight = inside * valid * (number < chunks)
    target = dataset.targets[place].reshape(*place.shape[:1], -1, FOLD, outputs).max(axis=2)
    weight = weight.reshape(*place.shape[:1], -1, FOLD).mean(axis=2)

    scores = logits(shape.architecture, parameters, x, valid, drop_key)
    positive = target.astype(jnp.float32)
    terms = settings.positive_weight * positive * jax.nn.softplus(-scores)
    terms += (1 - positive) * jax.nn.softplus(scores)
    return (terms * settings.output_weight * weight[..., None]).sum() / jnp.maximum(weight.sum(), 1)


def augment(x: jax.Array, settings: Settings, key: jax.Array) -> jax.Array:
    """Another gain, 0 to -GAIN_DB, and another voice or microphone: a smooth curve over the mel bands.

    Most usual augmentations are artifacts themselves; these change no label. Nothing falls below silence.
    """
    gain_key, curve_key = jax.random.split(key)
    decibels = -GAIN_DB * jax.random.uniform(gain_key, (x.shape[0], 1, 1)) * _GAIN_PER_FEATURE
    draws = jax.random.normal(curve_key, (x.shape[0], 1, len(_CURVES)))
    decibels += 2 * EQUALIZER_DB * (draws @ _CURVES)
    change = decibels * (np.log(10) / 20) / settings.scale
    return jnp.maximum(x + change, jnp.minimum(x, settings.floor))


def learning_rate(settings: Settings, step: jax.Array) -> jax.Array:
    """Linear warm-up, then a cosine to FINAL_SHARE of the peak."""
    total = settings.total_steps.astype(jnp.float32)
    warmup = jnp.maximum(1, WARMUP_SHARE * total)
    done = jnp.clip((step - warmup) / jnp.maximum(1, total - warmup), 0, 1)
    cosine = FINAL_SHARE + (1 - FINAL_SHARE) * 0.5 * (1 + jnp.cos(jnp.pi * done))
    return settings.learning_rate * jnp.minimum((step + 1) / warmup, cosine)


def update(state: TrainState, gradients: nnx.State, settings: Settings) -> TrainState:
    """AdamW on clipped gradients, and the moving average, whose memory grows with the steps taken."""
    changes, optimizer = _OPTIMIZER.update(gradients, state.optimizer, state.parameters)
    rate = learning_rate(settings, state.step)
    parameters = jax.tree.map(lambda p, change: p - rate * change, state.parameters, changes)
    decay = jnp.minimum(AVERAGE_DECAY, (1 + state.step) / (10 + state.step))
    average = jax.tree.map(lambda a, p: decay * a + (1 - decay) * p, state.average, parameters)
    return TrainState(parameters, average, optimizer, state.step + 1)
