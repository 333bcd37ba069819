import jax
import jax.numpy as jnp
import numpy as np
import pytest
from signals import RATE, speech

from trainer.frontend import FEATURES, MEL_BANDS, MEL_FLOOR, features
from trainer.step import GAIN_DB, Settings, augment, epoch_order, learning_rate
from trainer.trees import from_arrays, to_arrays

SILENCE = np.where(np.arange(FEATURES) < MEL_BANDS, np.log(MEL_FLOOR), -np.inf)


def settings(total=1000, rate=0.01):
    ones = jnp.ones(8)
    floor = jnp.asarray(SILENCE, jnp.float32)
    return Settings(jnp.float32(rate), jnp.int32(total), ones, ones, jnp.ones(FEATURES), floor)


def test_the_learning_rate_warms_up_to_the_users_and_falls():
    rates = np.array([learning_rate(settings(), jnp.int32(step)) for step in range(1, 1000, 7)])
    assert rates.max() == pytest.approx(0.01, rel=0.01)
    peak = rates.argmax()
    assert peak * 7 == pytest.approx(50, abs=7)
    assert np.all(np.diff(rates[:peak]) > 0)
    assert np.all(np.diff(rates[peak:]) <= 0)
    assert rates[-1] < 0.001


def test_a_lower_gain_is_what_quieter_audio_would_give(monkeypatch):
    monkeypatch.setattr("trainer.step.EQUALIZER_DB", 0.0)
    audio = speech(1, seed=1)
    x = jnp.asarray(features(audio[None], RATE), jnp.float32)[None]
    changed = np.asarray(augment(x, settings(), jax.random.key(3)))[0, 10:-10]
    lowered = float(x[0, 50, MEL_BANDS + 1] - changed[40, MEL_BANDS + 1])
    assert 0 < lowered < GAIN_DB / 20 * np.log(10)
    quieter = features(audio[None] * np.exp(-lowered), RATE).astype(np.float32)[10:-10]
    np.testing.assert_allclose(changed[:, : MEL_BANDS + 4], quieter[:, : MEL_BANDS + 4], atol=0.05)


def test_no_augmentation_falls_below_silence():
    x = jnp.asarray(np.broadcast_to(np.where(np.isinf(SILENCE), -11, SILENCE), (4, 10, FEATURES)))
    changed = augment(x.astype(jnp.float32), settings(), jax.random.key(0))
    assert float(changed[..., :MEL_BANDS].min()) >= np.float32(np.log(MEL_FLOOR))


def test_an_epochs_order_holds_every_window_once_and_padding_last():
    windows = jnp.array([(n, 0, 100, n % 3) for n in range(48)], jnp.int32)
    order = np.asarray(epoch_order(jax.random.key(1), windows))
    assert sorted(order) == list(range(48))
    assert np.all(order[-16:] % 3 == 0)
    assert not np.array_equal(order, np.asarray(epoch_order(jax.random.key(2), windows)))


def test_trees_come_back_and_others_are_refused():
    tree = {"a": {"b": jnp.arange(3)}, "c": (jnp.ones((2, 2)), jnp.zeros(()))}
    arrays = to_arrays(tree)
    assert set(arrays) == {"a/b", "c/0", "c/1"}
    jax.tree.map(np.testing.assert_array_equal, from_arrays(tree, arrays), jax.device_get(tree))
    with pytest.raises(ValueError, match="missing or unknown: a/b"):
        from_arrays(tree, {name: arrays[name] for name in ("c/0", "c/1")})
    with pytest.raises(ValueError, match="weight a/b is"):
        from_arrays(tree, arrays | {"a/b": np.zeros(4)})
