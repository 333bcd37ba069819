import numpy as np
import pytest
import soxr

from earmark.trainer.features.filterbank import MEL_BANDS
from earmark.trainer.features.frontend import features
from earmark.trainer.workers import views
from earmark.trainer.workers.views import KINDS, SHARES, heard_otherwise
from tests.sounds import RATE, speech


def shift(one, other):
    """By how many samples `other` is later."""
    size = 2 * len(one)
    product = np.conj(np.fft.rfft(one, size)) * np.fft.rfft(other, size)
    place = int(np.argmax(np.fft.irfft(product)))
    return place if place < len(one) else place - size


@pytest.mark.parametrize("rate", [8_000, 11_025, RATE, 44_100, 192_000])
@pytest.mark.parametrize("kind", range(len(KINDS)))
def test_a_view_moves_nothing(kind, rate):
    audio = soxr.resample(speech(3, seed=3), RATE, rate).astype(np.float32)
    for seed in range(3):
        changed, new_rate = KINDS[kind](audio, rate, np.random.default_rng(seed))
        assert abs(len(changed) / new_rate - len(audio) / rate) < 0.001
        at_one_rate = [soxr.resample(one, r, 48_000) for one, r in ((audio, rate), (changed, new_rate))]
        length = min(map(len, at_one_rate))
        assert abs(shift(*(one[:length] for one in at_one_rate))) <= 24  # half a millisecond


@pytest.mark.parametrize("kind", range(len(KINDS)))
def test_audio_of_any_length_has_views(kind):
    audio = speech(1.2, seed=5)
    for samples in range(RATE // 10, len(audio), 370):
        changed, new_rate = KINDS[kind](audio[:samples], RATE, np.random.default_rng(samples))
        assert abs(len(changed) / new_rate - samples / RATE) < 0.001


def test_a_machine_without_pyav_encodes_opus_too(monkeypatch):
    monkeypatch.setattr(views, "av", None)
    test_a_view_moves_nothing(KINDS.index(views._opus), RATE)


def test_a_view_depends_on_its_number_and_on_the_audio_alone():
    audio = speech(2, seed=1)
    (one, rate), (again, _) = (heard_otherwise(0)(audio, RATE) for _ in range(2))
    np.testing.assert_array_equal(one, again)
    seen = {len(heard_otherwise(number)(audio, RATE)[0]) for number in range(20)}
    assert len(seen) > 1
    assert one.dtype == np.float32
    assert rate in range(8_000, 48_001)


def test_a_view_never_clips(monkeypatch):
    monkeypatch.setattr(views, "GAIN_DB", (20.0, 20.0))
    audio = speech(1, seed=2)
    for number in range(10):
        assert np.abs(heard_otherwise(number)(audio, RATE)[0]).max() < 1.1


def test_features_of_a_view_are_as_many_and_those_of_other_audio():
    audio = speech(3.005, seed=4)
    plain = features(audio, RATE).astype(float)
    for number in range(12):
        seen = features(audio, RATE, heard_otherwise(number)).astype(float)
        assert seen.shape == plain.shape
        assert np.isfinite(seen).all()
        assert np.abs(seen - plain)[:, :MEL_BANDS].mean() > 0.05


def test_silence_has_views():
    for number in range(12):
        assert np.isfinite(features(np.zeros(RATE, np.float32), RATE, heard_otherwise(number))).all()


def test_the_shares_of_the_kinds_are_whole():
    assert sum(SHARES) == pytest.approx(1)


def test_a_block_of_two_minutes_at_a_high_rate_has_views():
    """An encoder that takes all of it from its stack would end the process."""
    audio = np.random.default_rng(0).normal(0, 0.1, 130 * 48_000).astype(np.float32)
    for kind in (3, 4, 5):
        changed, rate = KINDS[kind](audio, 48_000, np.random.default_rng(0))
        assert len(changed) / rate == pytest.approx(130, abs=0.001)
