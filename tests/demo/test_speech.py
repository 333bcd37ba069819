import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations, pairwise

import numpy as np
import pytest

from demo import speech
from demo.sentences import SENTENCES
from demo.speech import SAMPLE_RATE, VOICES, Espeak, SpeechError, recordings

TEXT = "Turn left at the bakery and follow the road uphill."


def rms(audio: np.ndarray) -> float:
    return float(np.sqrt(np.mean(audio.astype(np.float64) ** 2)))


def spectrum(audio: np.ndarray) -> np.ndarray:
    """Return the mean level of 40 bands up to 5 kHz, in dB relative to the loudest band."""
    power = np.abs(np.fft.rfft(audio)) ** 2
    edges = (np.linspace(50, 5000, 41) * len(audio) / SAMPLE_RATE).astype(int)
    bands = np.array([power[a:b].mean() for a, b in pairwise(edges)])
    return 10 * np.log10(bands / bands.max() + 1e-6)


@pytest.fixture(scope="module")
def spoken():
    return recordings()


def test_the_voices_sound_different():
    espeak = Espeak()
    spoken = {voice.name: espeak.speak(TEXT, voice.name, voice.rate_wpm, voice.pitch) for voice in VOICES}
    assert len(spoken) >= 12
    for audio in spoken.values():
        assert audio.dtype == np.float32
        assert 2 < len(audio) / SAMPLE_RATE < 6
        assert 0.01 < rms(audio) < 0.5
        assert np.abs(audio).max() <= 1
    spectra = [spectrum(audio) for audio in spoken.values()]
    assert min(np.abs(a - b).mean() for a, b in combinations(spectra, 2)) > 1.0


def test_a_higher_rate_is_shorter_and_a_higher_pitch_is_higher():
    espeak = Espeak()
    slow, fast = (espeak.speak(TEXT, "en-us+m1", rate_wpm=rate) for rate in (120, 240))
    assert len(fast) < 0.7 * len(slow)
    low, high = (espeak.speak(TEXT, "en-us+m1", pitch=pitch) for pitch in (10, 90))
    assert fundamental(high) > 1.3 * fundamental(low)


def fundamental(audio: np.ndarray) -> float:
    """Return the median pitch in Hz, by the autocorrelation of frames of 50 ms between 60 and 350 Hz."""
    lags = np.arange(SAMPLE_RATE // 350, SAMPLE_RATE // 60)
    size = SAMPLE_RATE // 20
    frames = [audio[at : at + size + lags[-1]] for at in range(0, len(audio) - size - lags[-1], size)]
    voiced = [frame for frame in frames if rms(frame) > rms(audio)]
    best = [np.argmax([np.dot(frame[:size], frame[lag : lag + size]) for lag in lags]) for frame in voiced]
    return SAMPLE_RATE / float(lags[int(np.median(best))])


def test_threads_may_share_the_synthesizer():
    def length(sentence: str) -> int:
        return len(Espeak().speak(sentence, "en-us+m1"))

    some = SENTENCES[:8]
    alone = [length(sentence) for sentence in some]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(length, some))
    assert np.allclose(together, alone, rtol=0.03)  # espeak's lengths vary a little from call to call


@pytest.mark.parametrize(
    ("text", "voice", "message"),
    [("hello", "tlh+nobody", "no voice 'tlh\\+nobody'"), ("", "en-us+m1", "nothing to say in ''")],
)
def test_an_error_names_what_was_refused(text, voice, message):
    with pytest.raises(SpeechError, match=message):
        Espeak().speak(text, voice)


def test_without_the_wheel_the_error_names_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(SpeechError, match=r"pip install 'earmark\[demo\]'"):
        speech._load.__wrapped__()


def test_the_default_is_eight_minutes_in_many_voices(spoken):
    seconds = [len(recording.audio) / SAMPLE_RATE for recording in spoken]
    assert 8 * 60 <= sum(seconds) < 9.5 * 60
    assert min(seconds) >= 20
    assert max(seconds) <= 40
    assert len({recording.voice for recording in spoken}) >= 12
    assert len({recording.name for recording in spoken}) == len(spoken)


def test_recordings_are_float32_and_never_clip(spoken):
    for recording in spoken:
        assert recording.audio.dtype == np.float32
        assert 0.2 < np.abs(recording.audio).max() < 0.7
        assert np.count_nonzero(recording.audio == 0) < 10  # room tone between the words too


def test_every_pause_is_natural(spoken):
    frame = SAMPLE_RATE // 100
    for recording in spoken:
        whole = recording.audio[: len(recording.audio) // frame * frame].reshape(-1, frame)
        loud = np.flatnonzero(np.abs(whole).max(axis=1) > 0.02 * np.abs(recording.audio).max())
        assert np.diff(loud).max() * 10 < 500


def test_the_same_seed_gives_the_same_samples(spoken):
    again = recordings()
    assert [(r.name, r.audio.tobytes()) for r in again] == [(r.name, r.audio.tobytes()) for r in spoken]


def test_another_seed_says_something_else():
    first, second = recordings(0.2, 1)[0], recordings(0.2, 2)[0]
    assert first.audio.tobytes() != second.audio.tobytes()


def test_no_minutes_are_refused():
    with pytest.raises(ValueError, match="above 0, not 0"):
        recordings(0)
