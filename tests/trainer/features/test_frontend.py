import pickle

import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark.trainer.features import frontend
from earmark.trainer.features.filterbank import MEL_BANDS, filterbank, made
from earmark.trainer.features.frontend import (
    DELAY_FRAMES,
    FEATURES,
    FLOOR_BANDS,
    FLOORS,
    LOOKAHEAD_FRAMES,
    PAST_FRAMES,
    SPECTRUM,
    FrontEnd,
    features,
    frame_count,
)
from earmark.trainer.features.similarity import STEP_FRAMES
from tests.sounds import RATE, speech

DEFECT = SPECTRUM + FLOORS
RMS = DEFECT + 1
HIGH, BANDWIDTH = slice(MEL_BANDS, SPECTRUM - 1), SPECTRUM - 1
FLOOR, ABOVE_MEDIAN = slice(SPECTRUM, SPECTRUM + FLOOR_BANDS), slice(SPECTRUM + FLOOR_BANDS, DEFECT)
RATES = [8_000, 16_000, 44_100, 48_000, 96_000]
WAVES = {
    "silence": np.zeros_like,
    "full scale": np.ones_like,
    "noise": lambda t: np.random.default_rng(0).standard_normal(t.shape),
    "clipped": lambda t: np.clip(3 * np.sin(400 * t), -1, 1),
    "not a number": lambda t: np.where(t > t.mean(), np.nan, np.inf),
}


@settings(max_examples=60)
@given(
    rate=st.sampled_from([8000, 11025, 16000, 22050, 44100, 48000, 96000, 192000])
    | st.integers(8000, 192000),
    samples=st.integers(1, 12000),
    wave=st.sampled_from(sorted(WAVES)),
)
def test_any_audio_gives_finite_features_of_the_promised_shape(rate, samples, wave):
    audio = WAVES[wave](np.arange(samples) / rate).astype(np.float32)
    values = features(audio, rate)
    assert values.shape == (-(-samples * 100 // rate), FEATURES)
    assert values.dtype == np.float16
    assert np.isfinite(values).all()


def test_the_stored_filterbank_is_the_one_that_librosa_makes():
    np.testing.assert_allclose(filterbank(), made(), rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("samples", [1, 2, 159, 160, 161, 1600])
def test_a_file_of_a_few_samples_has_features(samples):
    values = features(np.full(samples, 0.5, np.float32), RATE)
    assert values.shape == (-(-samples // 160), FEATURES)
    assert np.isfinite(values).all()


@pytest.mark.parametrize("rate", [*RATES, 11_025])
def test_features_do_not_depend_on_block_borders(monkeypatch, rate):
    audio = speech(27.123, seed=1, rate=rate)
    whole = features(audio, rate)
    monkeypatch.setattr(frontend, "BLOCK_FRAMES", 800)
    np.testing.assert_array_equal(features(audio, rate), whole)


def in_parts(audio, rate, cuts):
    front_end = FrontEnd(rate)
    *parts, last = np.split(audio, sorted(cuts))
    blocks = [*map(front_end.push, parts), front_end.push(last, last=True)]
    return np.concatenate(blocks).astype(np.float16)


@settings(max_examples=25)
@given(
    rate=st.sampled_from([8000, 11025, 16000, 22050, 44100, 48000]) | st.integers(8000, 50_000),
    milliseconds=st.integers(1, 6000),
    shares=st.lists(st.floats(0, 1), max_size=60),
    seed=st.integers(0, 5),
)
def test_features_are_those_of_the_whole_however_the_audio_is_cut(rate, milliseconds, shares, seed):
    """Bit for bit: with an offset, silence and clicks, which earlier or later audio could shine through."""
    audio = speech(milliseconds / 1000, seed, rate)
    audio[len(audio) // 4 : len(audio) // 3] += 0.2
    audio[len(audio) // 2 : len(audio) * 3 // 4] = 0
    audio[:: rate // 2] += 0.5
    cut = in_parts(audio, rate, [int(share * len(audio)) for share in shares])
    np.testing.assert_array_equal(cut, in_parts(audio, rate, []))


@pytest.mark.parametrize("rate", [11_025, 48_000])
def test_a_stream_has_its_features_soon_and_keeps_little(rate):
    """Of what is kept, all is there after the ten seconds of the longest running median."""
    front_end, second = FrontEnd(rate), speech(1, seed=3, rate=rate)
    frames, sizes = 0, []
    for number in range(1, 40):
        frames += len(front_end.push(second))
        assert 100 * number - frames <= DELAY_FRAMES + STEP_FRAMES
        sizes.append(len(pickle.dumps(list(arrays_in(front_end)))))
    assert max(sizes[25:]) <= 1.01 * max(sizes[12:25])


def arrays_in(thing):
    """Every array that an object keeps."""
    if isinstance(thing, np.ndarray):
        yield thing
    elif isinstance(thing, list | tuple):
        for each in thing:
            yield from arrays_in(each)
    elif type(thing).__module__.startswith("earmark"):
        yield from arrays_in(list(vars(thing).values()))


@pytest.mark.parametrize("rate", [11_025, 44_100])
def test_after_the_past_a_stream_that_began_later_has_the_same_features(rate):
    """So a broken stream goes on elsewhere, from a whole second on."""
    audio, later = speech(20, seed=2, rate=rate), 3
    whole, resumed = in_parts(audio, rate, []), in_parts(audio[later * rate :], rate, [5000])
    same = resumed[PAST_FRAMES:].astype(np.float16) == whole[100 * later + PAST_FRAMES :].astype(np.float16)
    assert same.all()


def test_no_feature_looks_further_than_it_says():
    """Audio that is later than the look-ahead, or earlier than the past, changes nothing."""
    seconds = 2 * PAST_FRAMES / 100
    audio, other = (speech(seconds, seed=seed) for seed in (8, 9))
    border, half = PAST_FRAMES, PAST_FRAMES * RATE // 100
    values = features(audio, RATE).astype(float)
    other_end = features(np.append(audio[:half], other[half:]), RATE).astype(float)
    last = border - LOOKAHEAD_FRAMES
    np.testing.assert_allclose(other_end[:last], values[:last], atol=5e-3, rtol=2e-3)
    early = 10 * RATE // 100
    other_start = features(np.append(other[:early], audio[early:]), RATE).astype(float)
    first = PAST_FRAMES + 10
    np.testing.assert_allclose(other_start[first:], values[first:], atol=5e-3, rtol=2e-3)


@pytest.mark.parametrize("rate", RATES)
def test_a_second_voice_in_the_gaps_raises_the_floor(rate):
    audio = speech(12, seed=3, rate=rate)
    audio[np.arange(len(audio)) % (rate // 4) < rate // 10] *= 0.01  # pauses
    filled = audio.copy()
    filled[6 * rate : 8 * rate] += 0.5 * speech(2, seed=4, rate=rate)
    before, after = (features(one, rate).astype(float) for one in (audio, filled))
    inside, outside = slice(630, 770), slice(100, 400)
    for columns in (FLOOR, ABOVE_MEDIAN):
        assert (after - before)[inside, columns].min() >= 0
        assert (after - before)[inside, columns].mean() > 1
    np.testing.assert_array_equal(after[outside, FLOOR], before[outside, FLOOR])


@pytest.mark.parametrize("offset", [0.05, -0.3, 1.0])
def test_a_constant_offset_changes_nothing(offset):
    audio = speech(4, seed=5)
    before, after = (features(one, RATE).astype(float) for one in (audio, audio + np.float32(offset)))
    # To add it rounds the samples of the pauses.
    loud = before[:, RMS] > np.log(0.01)
    assert loud.mean() > 0.5
    np.testing.assert_allclose(after[loud][:, :MEL_BANDS], before[loud][:, :MEL_BANDS], atol=0.1)
    np.testing.assert_allclose(after[loud][:, RMS], before[loud][:, RMS], atol=0.02)


def test_what_is_above_8_khz_is_in_columns_of_its_own():
    noise = np.random.default_rng(3).normal(0, 0.01, 48_000).astype(np.float32)
    whistle = noise + 0.1 * np.sin(2 * np.pi * 15_000 / 48_000 * np.arange(48_000)).astype(np.float32)
    before, after = (features(one, 48_000).astype(float)[20:80] for one in (noise, whistle))
    assert (after - before)[:, HIGH].max() > 3
    np.testing.assert_allclose(after[:, :MEL_BANDS], before[:, :MEL_BANDS], atol=0.3)
    narrow = features(noise, RATE).astype(float)
    assert np.ptp(narrow[:, HIGH]) == 0
    assert narrow[0, BANDWIDTH] < before[0, BANDWIDTH]


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000, 96_000])
def test_the_spectrum_does_not_depend_on_the_sample_rate(rate):
    audio = speech(3, seed=4)
    changed = soxr.resample(audio, RATE, rate).astype(np.float32)
    before, after = (features(*one).astype(float)[20:-20] for one in ((audio, RATE), (changed, rate)))
    shared = slice(0, 40 if rate == 8_000 else 60)  # up to 3 and to 7 kHz
    loud = before[:, RMS] > np.log(0.01)
    assert np.median(np.abs(after - before)[loud][:, shared]) < 0.05


def test_level_is_kept():
    audio = speech(1, seed=6)
    loud, quiet = (features(np.float32(gain) * audio, RATE).astype(float)[20:80] for gain in (1, 0.1))
    np.testing.assert_allclose((loud - quiet)[:, RMS], np.log(10), atol=0.05)


def test_an_incomplete_last_frame_counts_as_a_frame():
    assert [frame_count(n, 44100) for n in (1, 441, 442)] == [1, 1, 2]
