import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from earmark.trainer.features.streams import product
from earmark.trainer.features.waveform import (
    DEFECTS,
    LEVEL_COLUMNS,
    Defects,
    isolation,
    measured,
    unpredicted,
)
from tests.sounds import RATE, speech

PEAK, RMS, _, SHARPEST, PROMINENCE, _, REPEATED, FLAT, _, TREBLE, PLATEAU = range(11)
IMPULSES = [14, 15, *range(17, DEFECTS)]
RATES = [8_000, 11_025, 16_000, 44_100, 48_000, 96_000]


def columns_of(audio, rate=RATE):
    """(frames, DEFECTS) float64; the last frame may be incomplete."""
    starts = np.arange(-(-len(audio) * 100 // rate)) * rate // 100
    return Defects().push(measured(audio, audio, starts, -(-rate // 100)), last=True).astype(np.float64)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("at", [0.0, 0.5, 0.99], ids="at {} of a frame".format)
def test_a_click_raises_the_impulse_columns_in_its_frame_and_nowhere_else(rate, at):
    clean = speech(4, seed=2, rate=rate)
    clicked = clean.copy()
    place = int((200 + at) * rate / 100) + 1
    clicked[place : place + 2] += np.array([0.2, -0.25], np.float32)
    change = columns_of(clicked, rate) - columns_of(clean, rate)
    beside = np.abs(np.arange(400) - 200) > 1
    assert change[199:202, IMPULSES].max(axis=0).min() > 2
    assert change[199:202, [SHARPEST, PROMINENCE, TREBLE]].max(axis=0).min() > 0.5
    assert change[beside].max() < 0.5
    far = (np.arange(400) < 200 - 52) | (np.arange(400) > 200 + 152)
    assert np.abs(change[far]).max() < 1e-3


def test_neither_the_start_of_a_word_nor_its_end_is_taken_for_a_click():
    """An onset is as loud as a click, but the sound after it is just as loud."""
    audio = np.random.default_rng(0).normal(0, 1e-3, 4 * RATE).astype(np.float32)
    audio[RATE : 2 * RATE] += 0.5 * speech(1, seed=3)
    clicked = audio.copy()
    clicked[3 * RATE] += 0.2
    values = columns_of(clicked)[:, IMPULSES]
    assert np.all(values[300] > values[90:210].max(axis=0) + 1)


def test_repeated_samples_are_measured_and_rounded_speech_has_none():
    audio = np.round(speech(3, seed=3) * (1 << 15)) / (1 << 15)
    audio[RATE : RATE * 3 // 2] = audio[RATE]
    values = columns_of(audio.astype(np.float32))
    assert values[102:148, REPEATED].min() == 1
    assert values[:98, REPEATED].max() < 0.1


@pytest.mark.parametrize("rail", [1.0, 0.05])
def test_clipping_shows_as_flat_tops_and_plateaus_whatever_the_rail(rail):
    loud = speech(3, seed=3) * rail * 20
    clipped = loud.clip(-rail, rail).astype(np.float32)
    values, whole = columns_of(clipped), columns_of((loud / np.abs(loud).max()).astype(np.float32))
    for column in (FLAT, PLATEAU):
        assert values[5:295, column].mean() > 5 * whole[5:295, column].mean()
    assert values[5:295, PLATEAU].mean() > 0.05


def test_level_moves_the_level_columns_alone():
    audio = speech(2, seed=6)
    change = (columns_of(audio) - columns_of(0.25 * audio))[20:180]
    levels = np.isin(np.arange(DEFECTS), LEVEL_COLUMNS)
    np.testing.assert_allclose(change[:, levels], np.log(4), atol=0.05)
    np.testing.assert_allclose(np.median(change[:, ~levels], axis=0), 0, atol=0.05)


@pytest.mark.parametrize("value", [0, 1, -1])
def test_a_constant_has_finite_defects_and_no_impulse(value):
    values = columns_of(np.full(RATE, value, np.float32))
    assert np.isfinite(values).all()
    assert values[10:90, IMPULSES].max() < 0.1


@pytest.mark.parametrize("rate", RATES)
def test_a_click_is_not_predicted_and_what_surrounds_it_is(rate):
    voice = speech(1, seed=7, rate=rate)
    starts = np.arange(100) * rate // 100
    clicked = voice.copy()
    clicked[starts[50]] += 0.1
    before, after = (unpredicted(one, starts, -(-rate // 100)) for one in (voice, clicked))
    assert len(after) == 1000
    assert after.argmax() == 500
    assert after[500] > 0.09
    assert np.median(before) < 0.01 * np.abs(voice).max()


LEVELS = arrays.arrays(np.float64, st.integers(1, 120), elements=st.floats(-20, 5))


@given(LEVELS, st.floats(-5, 5))
def test_isolation_is_the_same_at_any_level(level, gain):
    np.testing.assert_allclose(isolation(level + gain, 2, 9, 0.8), isolation(level, 2, 9, 0.8), atol=1e-9)


@given(st.integers(1, 98), st.floats(0.1, 10))
def test_one_level_above_all_is_isolated_by_that_much(place, height):
    level = np.zeros(100)
    level[place] = height
    result = isolation(level, 7, 25, 0.5)
    assert result[place] == pytest.approx(height)
    assert result[np.arange(100) != place].max() <= 0


def test_a_step_is_not_isolated():
    level = np.repeat([0.0, 5.0, 0.0], 100)
    assert isolation(level, 7, 50, 0.95).max() == 0


@given(st.integers(1, 300), st.integers(0, 200))
def test_a_product_is_the_same_wherever_its_row_is(rows, before):
    rng = np.random.default_rng(rows)
    matrix, values = (
        rng.normal(size=shape).astype(np.float32) for shape in ((481, 17), (before + rows, 481))
    )
    np.testing.assert_array_equal(product(values, matrix)[before:], product(values[before:], matrix))
    np.testing.assert_allclose(product(values, matrix), values @ matrix, rtol=1e-3, atol=1e-3)
