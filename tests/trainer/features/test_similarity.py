"""What a listener would call a repeat, an echo and a second voice, told from a vowel and from silence."""

import numpy as np
import pytest
from scipy.signal import lfilter

from tests.sounds import RATE, speech
from trainer.features.similarity import (
    LAG_BANDS,
    LAG_RATE,
    LONGEST_LAG,
    PITCH_EDGES,
    PITCH_RATE,
    REPEATS,
    SHORTEST_LAG,
    SMOOTHING_STEPS,
    VOICES,
    lag_correlation,
    moving_average,
    repeats,
    voices,
    whitened,
)

OVER_ALL = [number * (LAG_BANDS + 1) + LAG_BANDS for number in range(len(SMOOTHING_STEPS))]
NOW, MIDDLE, LONG = OVER_ALL
BEST_LAG = REPEATS - 1
STRONGEST, LEFT, SECOND, SECOND_AVERAGE = range(VOICES - 4, VOICES)


def buzz(hertz, seed=0, glide=0.0):
    """Two seconds of a vowel: pulses through two resonances with a little breath; `glide` is of its pitch."""
    samples = 2 * RATE
    pitch = hertz * (1 + glide * np.sin(np.pi * np.arange(samples) / RATE))
    pulses = np.diff(np.floor(np.cumsum(pitch) / RATE), prepend=0)
    voice = pulses + 0.002 * np.random.default_rng(seed).standard_normal(samples)
    for centre in (600, 1500):
        voice = lfilter([1], [1, -1.9 * np.cos(2 * np.pi * centre / RATE), 0.9], voice)
    return (0.2 * voice / np.abs(voice).max()).astype(np.float32)


def looked_at(audio, what=repeats):
    """Columns of the audio at RATE, by frame, as float64."""
    audio = np.atleast_2d(audio)
    return what(audio, RATE, audio.shape[1] * 100 // RATE).astype(np.float64)


def band_of(lag_ms):
    """The bands begin with the longest lags."""
    return (LONGEST_LAG - lag_ms * LAG_RATE // 1000) * LAG_BANDS // (LONGEST_LAG - SHORTEST_LAG)


@pytest.mark.parametrize("lag_ms", [100, 240, 400])
def test_an_exact_repeat_is_seen_at_its_lag(lag_ms):
    audio, lag = speech(3, seed=1), lag_ms * RATE // 1000
    again = audio.copy()
    again[RATE : RATE + lag] = audio[RATE - lag : RATE]
    values, usual = looked_at(again), looked_at(audio)
    inside = slice(100 + 8, 100 + lag_ms // 10)  # the template lies in the repeat
    assert values[inside, NOW].min() > 0.8 > usual[:, NOW].max()
    assert set(values[inside, :LAG_BANDS].argmax(axis=1)) == {band_of(lag_ms)}


@pytest.mark.parametrize("hertz", [90, 130, 210])
def test_a_vowel_resembles_its_other_periods_less_than_a_repeat_does(hertz):
    """Without whitening it would resemble them as much."""
    vowel = buzz(hertz, glide=0.02)
    plain = lag_correlation(10 * vowel[:: RATE // LAG_RATE], len(vowel) * 50 // RATE).max(axis=1)
    assert np.median(plain[25:75]) > 0.8
    assert np.median(looked_at(vowel)[50:150, NOW]) < 0.7


def test_the_level_of_the_signal_does_not_matter():
    quiet, loud = (whitened(level * speech(2, seed=2)[::4]) for level in (0.1, 1))
    np.testing.assert_allclose(quiet, loud, atol=0.1 * np.std(loud))


@pytest.mark.parametrize("lag_ms", [150, 300])
def test_an_echo_shows_in_the_averages_and_keeps_its_lag(lag_ms):
    dry, lag = speech(4, seed=3), lag_ms * RATE // 1000
    wet = dry.copy()
    wet[lag:] += 0.4 * dry[:-lag]
    with_echo, without = looked_at(wet)[100:300], looked_at(dry)[100:300]
    for column in (MIDDLE, LONG):
        assert np.median(with_echo[:, column]) > 2 * np.median(without[:, column])
    found = (LONGEST_LAG - with_echo[:, BEST_LAG] * (LONGEST_LAG - SHORTEST_LAG)) * 1000 / LAG_RATE
    assert np.mean(np.abs(found - lag_ms) < 2) > 0.8


@pytest.mark.parametrize("hertz", [80, 160, 300])
def test_a_pitch_is_seen_from_the_band_of_its_period_on(hertz):
    values = looked_at(buzz(hertz), voices)[50:150]
    band = np.searchsorted(PITCH_EDGES, PITCH_RATE / hertz, "right") - 1
    assert values[:, band].min() > 0.8
    assert values[:, : max(0, band - 1)].max(initial=0) < 0.4
    assert values[:, STRONGEST].min() > 0.9


@pytest.mark.parametrize(("first", "second"), [(100, 130), (110, 170), (150, 210)])
def test_two_voices_leave_a_second_period_and_one_does_not(first, second):
    one = looked_at(buzz(first), voices)[50:150]
    two = looked_at(buzz(first) + buzz(second, seed=1), voices)[50:150]
    for column in (LEFT, SECOND, SECOND_AVERAGE):
        assert np.median(two[:, column]) > np.median(one[:, column]) + 0.2


def test_noise_has_no_pitch():
    noise = np.random.default_rng(0).normal(0, 0.1, 2 * RATE).astype(np.float32)
    assert looked_at(noise, voices)[50:150, STRONGEST].max() < 0.5


@pytest.mark.parametrize("level", [0, 1e-9, 1 / (1 << 16)], ids=["zeros", "denormal", "dither"])
def test_silence_resembles_nothing(level):
    audio = (level * np.random.default_rng(0).choice([-1, 1], 2 * RATE)).astype(np.float32)
    again, pitch = looked_at(audio), looked_at(audio, voices)
    assert np.isfinite(again).all()
    assert np.isfinite(pitch).all()
    assert again[:, OVER_ALL].max() < 0.3
    assert pitch[:, [STRONGEST, SECOND]].max() < 0.3


def test_silence_after_speech_does_not_resemble_the_speech():
    audio = speech(3, seed=4)
    audio[RATE:] = 0
    assert looked_at(audio)[115:, NOW].max() < 0.1


@pytest.mark.parametrize("what", [repeats, voices])
def test_the_mean_of_the_channels_counts(what):
    audio = speech(1, seed=5)
    np.testing.assert_allclose(looked_at(np.stack([audio, audio]), what), looked_at(audio, what), atol=1e-5)


def test_a_moving_average_counts_zeros_beyond_the_ends():
    values = np.arange(1.0, 8)[:, None]
    np.testing.assert_allclose(moving_average(values, 3)[:, 0], [1, 2, 3, 4, 5, 6, 13 / 3])
    assert moving_average(values, 1) is values
