import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from librosa.filters import mel as librosa_mel
from signals import RATE, speech

from trainer import frontend
from trainer.frontend import (
    FEATURES,
    FRONTEND_VERSION,
    MEL_BANDS,
    OutdatedFeaturesError,
    features,
    frame_count,
    pack_features,
    unpack_features,
)

RMS, SHARPEST, PROMINENCE, HELD, FLAT = (MEL_BANDS + n for n in (1, 3, 4, 6, 7))
BEST, LAG = MEL_BANDS + 18, MEL_BANDS + 19
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


def test_a_block_border_leaves_no_trace(monkeypatch):
    audio = speech(9, seed=1, rate=11025)[None]
    whole = features(audio, 11025)
    monkeypatch.setattr(frontend, "BLOCK_FRAMES", 400)
    cut = features(audio, 11025)
    mel, defect = slice(0, MEL_BANDS), slice(MEL_BANDS, MEL_BANDS + 10)
    np.testing.assert_allclose(cut[:, mel], whole[:, mel], atol=0.05)
    np.testing.assert_array_equal(cut[:, defect], whole[:, defect])


def test_a_click_stands_out_in_its_own_frame_at_every_rate():
    for rate in (8000, 16000, 44100):
        audio = speech(2, seed=2, rate=rate)
        audio[rate] += 0.5
        prominence = features(audio[None], rate)[:, PROMINENCE].astype(float)
        assert prominence.argmax() == 100
        assert prominence[100] > np.median(prominence) + 2


def test_a_dropout_shows_as_held_samples_and_clipping_as_flat_tops():
    audio = speech(3, seed=3)
    audio[RATE : RATE * 3 // 2] = audio[RATE]
    audio[2 * RATE :] = np.clip(audio[2 * RATE :], -0.05, 0.05)
    values = features(audio[None], RATE).astype(float)
    assert values[102:148, HELD].min() == 1
    assert values[:98, HELD].max() < 0.1
    assert values[205:295, FLAT].mean() > 3 * values[5:95, FLAT].mean()


def test_a_repetition_is_seen_at_its_lag():
    audio = np.random.default_rng(4).standard_normal(2 * RATE).astype(np.float32) * 0.1
    audio[RATE : RATE + 4000] = audio[RATE - 4000 : RATE]
    values = features(audio[None], RATE).astype(float)
    assert values[110:122, BEST].min() > 0.9
    assert values[:90, BEST].max() < 0.5
    lag_ms = 80 + 340 * values[115, LAG]
    assert lag_ms == pytest.approx(250, abs=2)


def test_a_defect_in_one_channel_is_not_averaged_away():
    clean = speech(2, seed=5)
    broken = clean.copy()
    broken[RATE] += 0.5
    both = features(np.stack([clean, broken]), RATE)
    alone = features(broken[None], RATE)
    assert both[100, SHARPEST] == alone[100, SHARPEST]


def test_level_is_kept():
    audio = speech(1, seed=6)
    loud, quiet = (features(gain * audio[None], RATE).astype(float)[20:80] for gain in (1, 0.1))
    np.testing.assert_allclose((loud - quiet)[:, RMS], np.log(10), atol=0.05)


def test_packed_features_come_back_and_others_are_refused():
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


def test_frames_are_counted_up():
    assert [frame_count(n, 44100) for n in (1, 441, 442)] == [1, 1, 2]
