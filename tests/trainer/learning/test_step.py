from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from earmark.trainer.chunks import chunk_grid
from earmark.trainer.features.filterbank import MEL_BANDS
from earmark.trainer.features.frontend import (
    AMPLITUDE_COLUMNS,
    FEATURES,
    POWER_COLUMNS,
    SPECTRUM,
    features,
)
from earmark.trainer.features.spectrum import MEL_FLOOR
from earmark.trainer.learning.epochs import batches_of
from earmark.trainer.learning.flat import flatten, unflatten
from earmark.trainer.learning.step import (
    AVERAGE_DECAY,
    WEIGHT_DECAY,
    Shape,
    Shard,
    StepConstants,
    augment,
    initial_state,
    learning_rate,
    run_steps,
    start_of_epoch,
    window_loss,
)
from earmark.trainer.network import Architecture, initial_parameters
from earmark.trainer.pytrees import from_arrays, to_arrays
from earmark.trainer.regions import CERTAIN
from tests.sounds import RATE, speech
from tests.trainer.jobs import config

PEAK, RMS, *_ = AMPLITUDE_COLUMNS
SHAPE = Shape(
    Architecture(8, width=8, dilations=(1,)), chunk_grid(config(chunk_size_ms=400, stride_ms=200)), 2
)


def settings(total=1000, rate=0.01):
    ones, normal = jnp.ones(8), (jnp.zeros(FEATURES), jnp.ones(FEATURES))
    return StepConstants(jnp.float32(rate), jnp.int32(total), ones, ones, *normal)


@pytest.fixture(scope="module")
def shard():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(2048, FEATURES)).astype(np.float16)
    labels = CERTAIN * rng.integers(0, 2, (2048, 8))
    return Shard(jnp.asarray(values), jnp.asarray(labels, jnp.uint8))


@pytest.fixture(scope="module")
def loss():
    """Computes the loss of rows with fresh weights."""
    parameters = initial_parameters(SHAPE.architecture, 0)
    compiled = jax.jit(partial(window_loss, shape=SHAPE))

    def loss_of(shard, rows, key=0):
        rows = jnp.array(rows, jnp.int32).reshape(-1, 4)
        return float(compiled(parameters, shard, rows, settings(), jax.random.key(key)))

    return loss_of


def test_the_learning_rate_rises_to_the_configured_one_and_falls():
    rates = np.array([learning_rate(settings(), jnp.int32(step)) for step in range(1, 1000, 7)])
    assert rates.max() == pytest.approx(0.01, rel=0.01)
    peak = rates.argmax()
    assert peak * 7 == pytest.approx(50, abs=7)
    assert np.all(np.diff(rates[:peak]) > 0)
    assert np.all(np.diff(rates[peak:]) <= 0)
    assert rates[-1] < 0.001


def test_a_lower_gain_changes_features_as_quieter_audio_does(monkeypatch):
    monkeypatch.setattr("earmark.trainer.learning.step.EQUALIZER_DB", 0.0)
    monkeypatch.setattr("earmark.trainer.learning.step.GAIN_DB", (-20.0, 0.0))
    audio = speech(1, seed=1)
    x = jnp.asarray(features(audio, RATE), jnp.float32)[None]
    changed = np.asarray(augment(x, jax.random.key(3)))[0, 10:-10]
    lowered = float(x[0, 50, RMS] - changed[40, RMS])
    assert 0 < lowered < np.log(10)
    quieter = features(audio * np.float32(np.exp(-lowered)), RATE).astype(np.float32)[10:-10]
    floors = [column for column in POWER_COLUMNS if column >= SPECTRUM]  # means of logarithms: not as exact
    columns = [column for column in (*POWER_COLUMNS, *AMPLITUDE_COLUMNS) if column not in floors]
    np.testing.assert_allclose(changed[:, columns], quieter[:, columns], atol=0.05)
    np.testing.assert_allclose(changed[:, floors], quieter[:, floors], atol=0.15)


def test_augmentation_leaves_ratios_alone():
    levels = {*POWER_COLUMNS, *AMPLITUDE_COLUMNS}
    x = jnp.asarray(np.random.default_rng(0).uniform(0, 1, (2, 10, FEATURES)), jnp.float32)
    changed = np.abs(np.asarray(augment(x, jax.random.key(1)) - x)).max(axis=(0, 1))
    assert set(np.flatnonzero(changed).tolist()) == levels


def test_augmented_features_never_fall_below_silence():
    silence = np.where(np.isin(np.arange(FEATURES), POWER_COLUMNS), np.log(MEL_FLOOR), -11)
    x = jnp.asarray(np.broadcast_to(silence, (4, 10, FEATURES)))
    changed = augment(x.astype(jnp.float32), jax.random.key(0))
    assert float(changed[..., :MEL_BANDS].min()) >= np.float32(np.log(MEL_FLOOR))


def test_an_empty_row_adds_nothing_to_the_loss(shard, loss):
    full = (500, 0, 2048, SHAPE.grid.chunks)
    alone = loss(shard, [full, (0, 0, 0, 0)])
    assert alone > 0
    assert loss(shard, [(0, 0, 0, 0)] * 2) == 0
    moved = shard._replace(features=shard.features.at[0].set(7), targets=shard.targets.at[0].set(CERTAIN))
    assert loss(moved, [full, (0, 0, 0, 0)]) == alone


def test_frames_outside_the_region_do_not_change_the_loss(shard, loss):
    """The chunks reach beyond their region, and the network's context reaches further."""
    rows = [(600, 600, 700, 5), (900, 850, 1000, 2)]
    inside = np.zeros(2048, bool)
    inside[600:700] = inside[850:1000] = True
    other = shard._replace(
        features=jnp.where(inside[:, None], shard.features, 9).astype(jnp.float16),
        targets=jnp.where(inside[:, None], shard.targets, CERTAIN - shard.targets).astype(jnp.uint8),
    )
    assert loss(other, rows) == loss(shard, rows)


def test_only_frames_in_the_chunks_of_a_window_count(shard, loss):
    """One chunk of 40 frames at 600, shifted by at most half a stride: targets further away do not matter."""
    rows = [(600, 0, 2048, 1), (0, 0, 0, 0)]
    near = np.zeros(2048, bool)
    near[600 - SHAPE.grid.stride : 640 + SHAPE.grid.stride] = True
    other = shard._replace(
        targets=jnp.where(near[:, None], shard.targets, CERTAIN - shard.targets).astype(jnp.uint8)
    )
    for key in range(5):
        assert loss(other, rows, key) == loss(shard, rows, key)
    assert loss(shard._replace(targets=CERTAIN - shard.targets), rows) != loss(shard, rows)


def test_a_soft_label_counts_as_its_share_of_an_event_and_the_rest_as_none(shard, loss):
    rows = [(500, 0, 2048, SHAPE.grid.chunks)]
    none, soft, certain = (
        loss(shard._replace(targets=jnp.full_like(shard.targets, label)), rows)
        for label in (0, CERTAIN // 5, CERTAIN)
    )
    assert soft == pytest.approx(0.8 * none + 0.2 * certain, rel=1e-5)


def test_steps_are_adamw_on_the_weights_and_their_moving_average(shard):
    """The reference is optax on trees of weights; the steps have them flat."""
    constants, key, steps = settings(), jax.random.key(4), 5
    row = [[300, 0, 2048, 2], [1500, 0, 2048, 1]]
    weights = average = initial_parameters(SHAPE.architecture, 0)
    adamw = optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.adamw(
            partial(learning_rate, constants),
            b2=0.99,
            weight_decay=WEIGHT_DECAY,
            mask=lambda tree: jax.tree.map(lambda leaf: leaf.ndim > 1, tree),
        ),
    )

    @jax.jit
    def reference(weights, average, moments, number):
        loss, gradients = jax.value_and_grad(window_loss)(
            weights,
            shard,
            jnp.array(row, jnp.int32),
            constants,
            jax.random.fold_in(key, number.astype(jnp.int32)),
            SHAPE,
        )
        with jax.numpy_dtype_promotion("standard"):
            changes, moments = adamw.update(gradients, moments, weights)
        weights = optax.apply_updates(weights, changes)
        decay = jnp.minimum(AVERAGE_DECAY, (1.0 + number) / (10.0 + number))
        return (
            weights,
            jax.tree.map(lambda a, w: decay * a + (1 - decay) * w, average, weights),
            moments,
            loss,
        )

    moments, loss = adamw.init(weights), 0.0
    for number in range(steps):
        weights, average, moments, one = reference(weights, average, moments, jnp.float32(number))
        loss += float(one)
    start = initial_state(initial_parameters(SHAPE.architecture, 0))
    batches = batches_of(np.tile(np.array(row, np.int32), (steps, 1, 1)), 0)
    state, totals = run_steps(start, start_of_epoch(), shard, batches, constants, key, SHAPE)
    assert float(totals.loss) == pytest.approx(loss, rel=1e-5)
    for mine, theirs in ((state.parameters, weights), (state.average, average)):
        assert jax.tree.structure(mine) == jax.tree.structure(theirs)
        jax.tree.map(partial(np.testing.assert_allclose, atol=1e-6), mine, theirs)


def test_flat_weights_are_the_matrices_and_the_vectors():
    weights = initial_parameters(SHAPE.architecture, 0)
    flat, leaves = flatten(weights), jax.tree.leaves(weights)
    assert flat.matrices.size == sum(leaf.size for leaf in leaves if leaf.ndim > 1)
    assert flat.vectors.size == sum(leaf.size for leaf in leaves if leaf.ndim == 1)
    back = unflatten(flat, weights)
    assert jax.tree.structure(back) == jax.tree.structure(weights)
    jax.tree.map(np.testing.assert_array_equal, back, weights)


def test_a_tree_survives_the_round_trip_and_other_arrays_are_refused():
    tree = {"a": {"b": jnp.arange(3)}, "c": (jnp.ones((2, 2)), jnp.zeros(()))}
    arrays = to_arrays(tree)
    assert set(arrays) == {"a/b", "c/0", "c/1"}
    jax.tree.map(np.testing.assert_array_equal, from_arrays(tree, arrays), jax.device_get(tree))
    with pytest.raises(ValueError, match="missing or unknown: a/b"):
        from_arrays(tree, {name: arrays[name] for name in ("c/0", "c/1")})
    with pytest.raises(ValueError, match="weight a/b is"):
        from_arrays(tree, arrays | {"a/b": np.zeros(4)})
