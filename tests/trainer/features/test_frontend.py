import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from librosa.filters import mel as librosa_mel

from earmark.trainer.features import frontend
from earmark.trainer.features.frontend import (
    FEATURES,
    FLOOR_BANDS,
    FLOORS,
    FRONTEND_VERSION,
    MARGIN_FRAMES,
    MEL_BANDS,
    OutdatedFeaturesError,
    features,
    frame_count,
    pack_features,
    unpack_features,
)
from earmark.trainer.features.similarity import REPEATS
from earmark.trainer.features.waveform import DEFECTS
from tests.sounds import RATE, speech

DEFECT = MEL_BANDS + FLOORS
RMS, SHARPEST = DEFECT + 1, DEFECT + 3
LAG = DEFECT + DEFECTS + REPEATS - 1
FLOOR, ABOVE_MEDIAN = slice(MEL_BANDS, MEL_BANDS + FLOOR_BANDS), slice(MEL_BANDS + FLOOR_BANDS, DEFECT)
RATES = [8_000, 16_000, 44_100, 48_000, 96_000]
WAVES = {
    "silence": np.zeros_like,
    "full scale": np.ones_like,
    "noise": lambda t: np.random.default_rng(0).standard_normal(t.shape),
    "clipped": lambda t: np.clip(3 * np.sin(400 * t), -1, 1),
    "not a number": lambda t: np.where(t > t.mean(), np.nan, np.inf),
}


@settings(max_examples=60, deadline=None)
@given(
    rate=st.sampled_from([8000, 11025, 16000, 22050, 44100, 48000, 96000, 192000])
    | st.integers(8000, 192000),
    samples=st.integers(1, 12000),
    channels=st.integers(1, 3),
    wave=st.sampled_from(sorted(WAVES)),
)
def test_any_audio_gives_finite_features_of_the_promised_shape(rate, samples, channels, wave):
    audio = WAVES[wave](np.arange(samples) / rate).astype(np.float32)
    values = features(np.tile(audio, (channels, 1)), rate)
    assert values.shape == (-(-samples * 100 // rate), FEATURES)
    assert values.dtype == np.float16
    assert np.isfinite(values).all()


def test_the_filterbank_is_librosas():
    wanted = librosa_mel(sr=16000, n_fft=512, n_mels=MEL_BANDS)
    np.testing.assert_allclose(frontend.mel_filterbank(), wanted, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("samples", [1, 2, 159, 160, 161, 1600])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_file_of_a_few_samples_has_features(samples, channels):
    values = features(np.full((channels, samples), 0.5, np.float32), RATE)
    assert values.shape == (-(-samples // 160), FEATURES)
    assert np.isfinite(values).all()


@pytest.mark.parametrize("rate", [*RATES, 11_025])
def test_features_do_not_depend_on_block_borders(monkeypatch, rate):
    """With blocks of 8 s, the last block ends with the file, and a border is in the middle of its margin."""
    audio = speech(27.123, seed=1, rate=rate)[None]
    whole = features(audio, rate).astype(float)
    monkeypatch.setattr(frontend, "BLOCK_FRAMES", 800)
    cut = features(audio, rate).astype(float)
    smooth = np.arange(FEATURES) != LAG
    np.testing.assert_allclose(cut[:, smooth], whole[:, smooth], rtol=2e-3, atol=5e-3)
    # If several lags have the same maximum, the column may have any of them.
    assert np.mean(np.abs(cut[:, LAG] - whole[:, LAG]) > 1e-3) < 0.005


def test_the_margin_is_more_than_any_feature_sees():
    """Audio that is further away than the margin changes nothing, whether it is later or earlier."""
    audio = speech(3 * MARGIN_FRAMES / 100, seed=8)
    other = speech(3 * MARGIN_FRAMES / 100, seed=9)
    border = 2 * MARGIN_FRAMES * RATE // 100
    values = features(audio[None], RATE).astype(float)
    # The resamplers use a few samples from beyond the border.
    other_end = features(np.append(audio[:border], other[border:])[None], RATE).astype(float)
    last = MARGIN_FRAMES - 10
    np.testing.assert_allclose(other_end[:last], values[:last], atol=5e-3, rtol=2e-3)
    other_start = features(np.append(other[: border // 2], audio[border // 2 :])[None], RATE).astype(float)
    first = 2 * MARGIN_FRAMES + 10
    np.testing.assert_allclose(other_start[first:], values[first:], atol=5e-3, rtol=2e-3)


@pytest.mark.parametrize("rate", RATES)
def test_a_second_voice_in_the_gaps_raises_the_floor(rate):
    audio = speech(12, seed=3, rate=rate)
    audio[np.arange(len(audio)) % (rate // 4) < rate // 10] *= 0.01  # pauses
    filled = audio.copy()
    filled[6 * rate : 8 * rate] += 0.5 * speech(2, seed=4, rate=rate)
    before, after = (features(one[None], rate).astype(float) for one in (audio, filled))
    inside, outside = slice(630, 770), slice(100, 400)
    for columns in (FLOOR, ABOVE_MEDIAN):
        assert (after - before)[inside, columns].min() >= 0
        assert (after - before)[inside, columns].mean() > 1
    np.testing.assert_array_equal(after[outside, FLOOR], before[outside, FLOOR])


def test_a_defect_in_one_channel_is_not_averaged_away():
    clean = speech(2, seed=5)
    broken = clean.copy()
    broken[RATE] += 0.5
    defect = slice(DEFECT, DEFECT + DEFECTS)
    both, alone, without = (
        features(np.atleast_2d(audio), RATE) for audio in ([clean, broken], broken, clean)
    )
    np.testing.assert_array_equal(both[:, defect], np.maximum(alone, without)[:, defect])
    assert both[100, SHARPEST] == alone[100, SHARPEST] > without[100, SHARPEST] + 1


def test_level_is_kept():
    audio = speech(1, seed=6)
    loud, quiet = (features(gain * audio[None], RATE).astype(float)[20:80] for gain in (1, 0.1))
    np.testing.assert_allclose((loud - quiet)[:, RMS], np.log(10), atol=0.05)


def test_packed_features_can_be_unpacked_and_other_bytes_are_refused():
    values = features(speech(1, seed=7)[None], RATE)
    np.testing.assert_array_equal(unpack_features(pack_features(values)), values)
    with pytest.raises(ValueError, match="not stored features"):
        unpack_features(b"\x08\0\0\0\0\0\0\0nonsense")
    with pytest.raises(ValueError, match="not stored features"):
        unpack_features(b"")


def test_features_of_another_version_are_refused(monkeypatch):
    monkeypatch.setattr(frontend, "FRONTEND_VERSION", "0")
    old = pack_features(np.zeros((3, FEATURES), np.float16))
    monkeypatch.undo()
    with pytest.raises(OutdatedFeaturesError, match=f"front end 0, this trainer has {FRONTEND_VERSION}"):
        unpack_features(old)


def test_an_incomplete_last_frame_counts_as_a_frame():
    assert [frame_count(n, 44100) for n in (1, 441, 442)] == [1, 1, 2]
