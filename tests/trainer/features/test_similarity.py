"""Repeats, echoes and second voices are distinguished from vowels and from silence."""

import numpy as np
import pytest
from scipy.signal import lfilter

from earmark.trainer.features.similarity import (
    LAG_BANDS,
    LAG_RATE,
    LONGEST_LAG,
    PITCH_EDGES,
    PITCH_RATE,
    REPEATS,
    SHORTEST_LAG,
    SMOOTHING_STEPS,
    STEP_FRAMES,
    STEPS_PER_SECOND,
    VOICES,
    Repeats,
    Voices,
    lag_correlation,
    moving_average,
    whitened,
)
from earmark.trainer.features.streams import Resampler
from tests.sounds import RATE, speech

OVER_ALL = [number * (LAG_BANDS + 1) + LAG_BANDS for number in range(len(SMOOTHING_STEPS))]
UNSMOOTHED, MIDDLE, LONG = OVER_ALL
BEST_LAG = REPEATS - 1
STRONGEST, RESIDUAL, SECOND, SECOND_AVERAGE = range(VOICES - 4, VOICES)


def buzz(hertz, seed=0, glide=0.0):
    """Two seconds of a vowel: pulses and a little noise through two resonances. `glide` varies the pitch."""
    samples = 2 * RATE
    pitch = hertz * (1 + glide * np.sin(np.pi * np.arange(samples) / RATE))
    pulses = np.diff(np.floor(np.cumsum(pitch) / RATE), prepend=0)
    voice = pulses + 0.002 * np.random.default_rng(seed).standard_normal(samples)
    for centre in (600, 1500):
        voice = lfilter([1], [1, -1.9 * np.cos(2 * np.pi * centre / RATE), 0.9], voice)
    return (0.2 * voice / np.abs(voice).max()).astype(np.float32)


def columns_of(audio, kind=Repeats):
    """(frames, columns) float64 of audio at RATE."""
    low = Resampler(RATE, PITCH_RATE).push(audio, last=True)
    return np.repeat(kind().push(low, last=True), STEP_FRAMES, axis=0).astype(np.float64)


def band_of(lag_ms):
    """The number of the lag's band; the first band has the longest lags."""
    return (LONGEST_LAG - lag_ms * LAG_RATE // 1000) * LAG_BANDS // (LONGEST_LAG - SHORTEST_LAG)


@pytest.mark.parametrize("lag_ms", [100, 240, 400])
def test_an_exact_repeat_is_seen_at_its_lag(lag_ms):
    audio, lag = speech(3, seed=1), lag_ms * RATE // 1000
    again = audio.copy()
    again[RATE : RATE + lag] = audio[RATE - lag : RATE]
    values, without = columns_of(again), columns_of(audio)
    ends_ms = (np.arange(len(values)) // STEP_FRAMES + 1) * 1000 // STEPS_PER_SECOND
    inside = (ends_ms >= 1080) & (ends_ms <= 1000 + lag_ms)  # the template of 80 ms lies in the repeat
    assert inside.any()
    assert values[inside, UNSMOOTHED].min() > 0.8 > without[:, UNSMOOTHED].max()
    assert set(values[inside, :LAG_BANDS].argmax(axis=1)) == {band_of(lag_ms)}


@pytest.mark.parametrize("hertz", [90, 130, 210])
def test_a_vowel_resembles_its_other_periods_less_than_a_repeat_does(hertz):
    """Without whitening, it would resemble them as much."""
    vowel = buzz(hertz, glide=0.02)
    steps = slice(0, len(vowel) * STEPS_PER_SECOND // RATE)
    plain = lag_correlation(10 * vowel[:: RATE // LAG_RATE], steps).max(axis=1)
    assert np.median(plain[STEPS_PER_SECOND // 2 : -STEPS_PER_SECOND // 2]) > 0.8
    assert np.median(columns_of(vowel)[50:150, UNSMOOTHED]) < 0.7


def test_the_level_of_the_signal_does_not_matter():
    quiet, loud = (whitened(level * speech(2, seed=2)[::4]) for level in (0.1, 1))
    np.testing.assert_allclose(quiet, loud, atol=0.1 * np.std(loud))


@pytest.mark.parametrize("lag_ms", [150, 300])
def test_an_echo_shows_in_the_averages_and_keeps_its_lag(lag_ms):
    dry, lag = speech(4, seed=3), lag_ms * RATE // 1000
    wet = dry.copy()
    wet[lag:] += 0.4 * dry[:-lag]
    with_echo, without = columns_of(wet)[100:300], columns_of(dry)[100:300]
    for column in (MIDDLE, LONG):
        assert np.median(with_echo[:, column]) > 2 * np.median(without[:, column])
    lags_ms = (LONGEST_LAG - with_echo[:, BEST_LAG] * (LONGEST_LAG - SHORTEST_LAG)) * 1000 / LAG_RATE
    assert np.mean(np.abs(lags_ms - lag_ms) < 2) > 0.8


@pytest.mark.parametrize("hertz", [80, 160, 300])
def test_a_pitch_is_seen_from_the_band_of_its_period_on(hertz):
    values = columns_of(buzz(hertz), Voices)[50:150]
    band = np.searchsorted(PITCH_EDGES, PITCH_RATE / hertz, "right") - 1
    assert values[:, band].min() > 0.8
    assert values[:, : max(0, band - 1)].max(initial=0) < 0.4
    assert values[:, STRONGEST].min() > 0.9


@pytest.mark.parametrize(("first", "second"), [(100, 130), (110, 170), (150, 210)])
def test_two_voices_leave_a_second_period_and_one_does_not(first, second):
    one = columns_of(buzz(first), Voices)[50:150]
    two = columns_of(buzz(first) + buzz(second, seed=1), Voices)[50:150]
    for column in (RESIDUAL, SECOND, SECOND_AVERAGE):
        assert np.median(two[:, column]) > np.median(one[:, column]) + 0.2


def test_noise_has_no_pitch():
    noise = np.random.default_rng(0).normal(0, 0.1, 2 * RATE).astype(np.float32)
    assert columns_of(noise, Voices)[50:150, STRONGEST].max() < 0.5


@pytest.mark.parametrize("level", [0, 1e-9, 1 / (1 << 16)], ids=["zeros", "denormal", "dither"])
def test_silence_resembles_nothing(level):
    audio = (level * np.random.default_rng(0).choice([-1, 1], 2 * RATE)).astype(np.float32)
    again, pitch = columns_of(audio), columns_of(audio, Voices)
    assert np.isfinite(again).all()
    assert np.isfinite(pitch).all()
    assert again[:, OVER_ALL].max() < 0.3
    assert pitch[:, [STRONGEST, SECOND]].max() < 0.3


def test_silence_after_speech_does_not_resemble_the_speech():
    audio = speech(3, seed=4)
    audio[RATE:] = 0
    assert columns_of(audio)[115:, UNSMOOTHED].max() < 0.1


def test_a_moving_average_counts_zeros_beyond_the_ends():
    values = np.arange(1.0, 8)[:, None]
    everything = slice(0, 7)
    average = moving_average(values, 3, everything)[:, 0]
    np.testing.assert_allclose(average, [1, 2, 3, 4, 5, 6, 13 / 3], rtol=1e-6)
    np.testing.assert_array_equal(moving_average(values, 1, everything), values)
    np.testing.assert_array_equal(moving_average(values, 3, slice(2, 5))[:, 0], average[2:5])
