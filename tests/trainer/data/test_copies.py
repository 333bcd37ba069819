import io
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest
import soundfile
import soxr

from demo.speech import SAMPLE_RATE, VOICES, Espeak
from earmark.scores import FRAME_MS
from earmark.trainer.data.copies import SHIFT_FRAMES, groups
from earmark.trainer.features.filterbank import MEL_BANDS
from earmark.trainer.features.frontend import features
from earmark.trainer.job import TrainingFile
from tests.sounds import RATE, annotated_speech, encoded, speech, speechlike

TEXTS = (
    "The harbour office has called twice about the northern wall, and nobody there knows who should answer.",
    "A sailing boat has drifted into the channel, where two tugs are waiting for the tide to turn again.",
    "Please keep your radio on and stay well clear of the rocks until the pilot has come on board.",
    "Inform the sailors that hot soup is ready, and that the second watch begins at half past four.",
)


def file(name, values, sha=None):
    return TrainingFile(str(name), sha or str(name), f"features/{name}", len(values) * FRAME_MS, ())


def mel(audio, rate=RATE):
    """The columns that the comparison uses; the others are zero."""
    return features(audio.astype(np.float32), rate)[:, : MEL_BANDS + 4]


def grouped(*tracks):
    return groups([file(number, values) for number, values in enumerate(tracks)], tracks)


def reencoded(audio, rate, container, subtype=None):
    """The samples and the rate of the audio after encoding and decoding."""
    return soundfile.read(io.BytesIO(encoded(audio, container, subtype, rate)), dtype="float32")


@pytest.fixture(scope="module")
def takes():
    """Four sentences in four voices, and the first sentence at one pace in the last two of them, at RATE.

    A process of their own speaks them: what it has spoken before would change the samples.
    """
    spoken = [(text, voice, voice.rate_wpm) for text, voice in zip(TEXTS, VOICES[:4], strict=True)]
    spoken += [(TEXTS[0], voice, 172) for voice in VOICES[2:4]]
    arguments = [(text, voice.name, rate_wpm, voice.pitch) for text, voice, rate_wpm in spoken]
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return [
            soxr.resample(take, SAMPLE_RATE, RATE)
            for take in pool.map(Espeak().speak, *zip(*arguments, strict=True))
        ]


@pytest.fixture(scope="module")
def spoken(takes):
    """Four sentences in four voices, 5 to 8 s each, with a little room noise: float32 at RATE."""
    room = np.random.default_rng(0)
    return [(0.5 * take + 1e-4 * room.standard_normal(len(take))).astype(np.float32) for take in takes[:4]]


def mp3(audio):
    return reencoded(audio, RATE, "MP3")


def later(audio, ms):
    return np.pad(audio, (ms * RATE // 1000, 0)), RATE


def damaged(audio):
    """The audio with a dropout, noise or clipping of 300 ms every two seconds."""
    audio, rng = audio.copy(), np.random.default_rng(0)
    for number, start in enumerate(range(RATE // 2, len(audio) - RATE, 2 * RATE)):
        part = slice(start, start + 3 * RATE // 10)
        match number % 3:
            case 0:
                audio[part] = 0
            case 1:
                audio[part] += 0.1 * rng.standard_normal(part.stop - part.start).astype(np.float32)
            case _:
                audio[part] = np.clip(20 * audio[part], -0.3, 0.3)
    return audio


COPIES = {
    "mp3": mp3,
    "vorbis": lambda audio: reencoded(audio, RATE, "OGG", "VORBIS"),
    "opus": lambda audio: reencoded(audio, RATE, "OGG", "OPUS"),
    "flac": lambda audio: reencoded(audio, RATE, "FLAC", "PCM_24"),
    "8 bits": lambda audio: reencoded(audio, RATE, "WAV", "PCM_U8"),
    "mu-law": lambda audio: reencoded(audio, RATE, "WAV", "ULAW"),
    "44.1 kHz": lambda audio: (soxr.resample(audio, RATE, 44_100), 44_100),
    "telephone": lambda audio: reencoded(soxr.resample(audio, RATE, 8_000), 8_000, "WAV", "ULAW"),
    "quieter": lambda audio: (audio / 8, RATE),
    "louder, into the rails": lambda audio: (np.clip(4 * audio, -1, 1), RATE),
    "5 ms later": lambda audio: later(audio, 5),
    "50 ms later": lambda audio: later(audio, 50),
    "50 ms sooner": lambda audio: (audio[50 * RATE // 1000 :], RATE),
    "150 ms cut off": lambda audio: (audio[: -149 * RATE // 1000], RATE),
    "other artifacts": lambda audio: (damaged(audio), RATE),
    "other artifacts, as mp3": lambda audio: mp3(damaged(audio)),
}


@pytest.mark.parametrize("how", COPIES)
def test_a_changed_copy_of_a_recording_is_recognised(spoken, how):
    tracks = [mel(audio) for audio in spoken]
    tracks += [mel(*COPIES[how](audio)) for audio in spoken]
    assert grouped(*tracks) == [[0, 4], [1, 5], [2, 6], [3, 7]]


def test_copies_are_recognised_in_any_order_and_number(spoken):
    kinds = [mel(spoken[0]), mel(*mp3(spoken[0])), mel(*later(spoken[0], 50)), mel(damaged(spoken[0]))]
    others = [mel(audio) for audio in spoken[1:]]
    assert grouped(*kinds, *others) == [[0, 1, 2, 3], [4], [5], [6]]
    assert grouped(*others, *kinds[::-1]) == [[0], [1], [2], [3, 4, 5, 6]]


def test_similar_recordings_are_not_copies(spoken, takes):
    length = min(map(len, spoken))
    tracks = [mel(audio[:length]) for audio in (*spoken, *takes[4:])]
    assert grouped(*tracks) == [[number] for number in range(6)]


@pytest.mark.parametrize("seconds", [1, 2, 10])
def test_synthetic_sounds_of_one_kind_are_not_copies(seconds):
    rng = np.random.default_rng(0)
    tone = 0.3 * np.sin(2 * np.pi * 50 * np.arange(seconds * RATE) / RATE)
    tracks = [mel(speech(seconds, seed)) for seed in range(8)]
    tracks += [mel(annotated_speech(seconds, seed)[0]) for seed in range(8, 16)]
    tracks += [mel(speechlike(seconds, seed)[0] / 32_768, 8_000) for seed in range(8)]
    tracks += [mel(0.1 * rng.standard_normal(seconds * RATE)) for _ in range(4)]
    tracks += [mel(tone + 1e-3 * rng.standard_normal(len(tone))) for _ in range(4)]
    assert grouped(*tracks) == [[number] for number in range(len(tracks))]


def test_silence_and_the_shortest_files_are_copies_by_their_bytes_only():
    silent = mel(np.zeros(3 * RATE))
    tracks = [silent, silent, silent[:1], silent[:33], mel(speech(0.4, 0)), mel(speech(0.4, 0))]
    digests = ["a", "a", "b", "c", "d", "e"]
    files = [file(n, values, sha) for n, (values, sha) in enumerate(zip(tracks, digests, strict=True))]
    assert groups(files, tracks) == [[0, 1], [2], [3], [4], [5]]
    assert groups([], []) == []


def test_files_whose_lengths_differ_by_more_than_an_encoders_delay_are_not_copies(spoken):
    cut = (SHIFT_FRAMES + 2) * FRAME_MS * RATE // 1000
    assert grouped(mel(spoken[0]), mel(spoken[0][:-cut])) == [[0], [1]]


def test_all_columns_of_the_features_may_be_given(spoken):
    tracks = [features(audio, rate) for audio, rate in ((spoken[0], RATE), mp3(spoken[0]))]
    assert grouped(*tracks) == [[0, 1]]


def test_five_hours_in_a_thousand_files_take_seconds():
    rng = np.random.default_rng(0)
    long = np.concatenate([mel(speech(60, seed)) for seed in range(5)])
    lengths = rng.integers(600, 3000, 1000)
    tracks = [
        long[start : start + length]
        for start, length in zip(rng.integers(0, 27_000, 1000), lengths, strict=True)
    ]
    files = [file(number, values) for number, values in enumerate(tracks)]
    started = time.process_time()
    groups(files, tracks)
    assert time.process_time() - started < 15
