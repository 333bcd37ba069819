"""Clean speech for the demo, spoken by espeak-ng.

espeak-ng keeps its voice, its random state and its output buffer in global variables. A process therefore
has one synthesizer, which is not thread-safe, and earlier speech changes the samples of later speech.
`Espeak` takes a lock for each call, and `recordings` starts a fresh process, or its samples would not be
repeatable.
"""

import ctypes
import functools
import multiprocessing
import os
import threading
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from demo.sentences import SENTENCES

SAMPLE_RATE = 22_050

# From espeak-ng's speak_lib.h.
_OUTPUT_SYNCHRONOUS = 2
_DONT_EXIT = 0x8000
_CHARS_UTF8 = 1
_RATE = 1
_PITCH = 3
_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)

_FULL_SCALE = np.float32(32_768)
_SECONDS_EACH = 28.0
_SECONDS_SPREAD = 0.15
_GAP_SECONDS = (0.12, 0.34)
_PEAK = (0.25, 0.6)
_ROOM_TONE = 4e-4
_AUDIBLE = 0.004


class SpeechError(RuntimeError):
    """espeak-ng is not installed, or it rejected a voice or a text."""


@dataclass(frozen=True)
class Voice:
    """An espeak-ng voice, `language+variant`, with its rate in words a minute and its pitch (0-99)."""

    name: str
    rate_wpm: int
    pitch: int


# The breathy variants (f2, f3, f5, Alicia, victor) are left out: with espeak-ng 1.52 their samples differ
# from process to process, whatever was spoken before.
VOICES = (
    Voice("en-us+m1", 172, 48),
    Voice("en-gb-x-rp+f4", 165, 55),
    Voice("en-us+croak", 158, 40),
    Voice("en-gb-scotland+m3", 170, 45),
    Voice("en-us+f1", 178, 58),
    Voice("en-029+m5", 165, 52),
    Voice("en-us+Annie", 170, 50),
    Voice("en-us-nyc+Mike", 180, 46),
    Voice("en-gb-x-rp+belinda", 168, 54),
    Voice("en-gb-x-gbclan+m7", 176, 42),
    Voice("en-us+linda", 174, 50),
    Voice("en-us+m2", 185, 60),
    Voice("en-gb-x-gbcwmd+Andy", 166, 38),
    Voice("en-us+steph", 172, 52),
    Voice("en-gb-x-rp+m6", 162, 50),
    Voice("en-029+f1", 170, 48),
    Voice("en-us+m8", 168, 35),
    Voice("en-gb-scotland+grandma", 160, 50),
)


@dataclass(frozen=True)
class Recording:
    """Speech of one voice: mono, at `SAMPLE_RATE`, within ±1."""

    name: str
    voice: Voice
    audio: NDArray[np.float32]


class Espeak:
    """Access to the process's one synthesizer, which all instances share, one call at a time."""

    _lock = threading.Lock()

    def speak(self, text: str, voice: str, rate_wpm: int = 170, pitch: int = 50) -> NDArray[np.float32]:
        """Return `text` spoken by `voice`: mono, at `SAMPLE_RATE`, within ±1.

        `rate_wpm` is 80-450 words a minute, `pitch` 0-99. Raises SpeechError for an unknown voice, and for a
        text without speech.
        """
        with self._lock:
            synthesizer = _load()
            library, blocks = synthesizer.library, synthesizer.blocks
            blocks.clear()
            if library.espeak_SetVoiceByName(voice.encode()):
                raise SpeechError(f"espeak-ng has no voice {voice!r}; a voice is language+variant: en-us+f1")
            library.espeak_SetParameter(_RATE, rate_wpm, 0)
            library.espeak_SetParameter(_PITCH, pitch, 0)
            encoded = text.encode()
            if library.espeak_Synth(encoded, len(encoded) + 1, 0, 1, 0, _CHARS_UTF8, None, None):
                raise SpeechError(f"espeak-ng could not speak {text!r}")
            library.espeak_Synchronize()
            spoken = np.concatenate(blocks) if blocks else np.zeros(0, np.int16)
        if not spoken.any():
            raise SpeechError(f"espeak-ng found nothing to say in {text!r}")
        return spoken.astype(np.float32) / _FULL_SCALE


@dataclass(frozen=True)
class _Synthesizer:
    """The initialised library, and the list to which `callback` appends each block of samples."""

    library: ctypes.CDLL
    blocks: list[NDArray[np.int16]]
    callback: object  # the library calls it for as long as it is loaded, so it must stay referenced


@functools.cache
def _load() -> _Synthesizer:
    """Load and initialise the library. Raises SpeechError if it is not installed or cannot read its data."""
    try:
        # Imported here, because the error must name the extra that installs it.
        import espeakng_loader  # type: ignore[import-untyped]  # it has no stubs  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise SpeechError("speech needs espeak-ng: pip install 'earmark[demo]'") from error
    library = ctypes.CDLL(espeakng_loader.get_library_path())
    library.espeak_SetVoiceByName.argtypes = [ctypes.c_char_p]
    library.espeak_Initialize.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_int]
    library.espeak_Synth.argtypes = [
        ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint, ctypes.c_int,
        ctypes.c_uint, ctypes.c_uint, ctypes.c_void_p, ctypes.c_void_p,
    ]  # fmt: skip
    data = espeakng_loader.get_data_path()
    rate = library.espeak_Initialize(_OUTPUT_SYNCHRONOUS, 0, os.fsencode(data), _DONT_EXIT)
    if rate != SAMPLE_RATE:
        raise SpeechError(
            f"espeak-ng cannot use its data at {data} (a path of over 150 characters is too long)"
        )
    blocks: list[NDArray[np.int16]] = []

    def collect(samples: ctypes.c_void_p, count: int, _events: ctypes.c_void_p) -> int:
        if samples and count > 0:
            blocks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    callback = _CALLBACK(collect)
    library.espeak_SetSynthCallback(callback)
    return _Synthesizer(library, blocks, callback)


def recordings(minutes: float = 8.0, seed: int = 0) -> list[Recording]:
    """Return at least `minutes` of speech in recordings of 20-40 s, each of one voice.

    The voices take turns. Pauses are natural, under 500 ms. The same seed gives the same samples. Raises
    ValueError unless `minutes` is positive.
    """
    if minutes <= 0:
        raise ValueError(f"minutes must be above 0, not {minutes}")
    rng = np.random.default_rng(seed)
    count = max(1, round(minutes * 60 / _SECONDS_EACH))
    share = rng.uniform(1 - _SECONDS_SPREAD, 1 + _SECONDS_SPREAD, count)
    seconds = minutes * 60 * share / share.sum()
    order = rng.permutation(len(VOICES))
    voices = [VOICES[order[index % len(VOICES)]] for index in range(count)]
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return list(pool.map(_record, range(count), voices, seconds.tolist(), [seed] * count))


def _record(index: int, voice: Voice, seconds: float, seed: int) -> Recording:
    """Return a recording of at least `seconds`: sentences and pauses, over a faint room tone."""
    rng = np.random.default_rng([seed, index])
    espeak = Espeak()
    parts = [_silence(rng)]
    for sentence in rng.permutation(len(SENTENCES)):
        spoken = espeak.speak(SENTENCES[sentence], voice.name, voice.rate_wpm, voice.pitch)
        parts += [_trimmed(spoken), _silence(rng)]
        if sum(map(len, parts)) >= seconds * SAMPLE_RATE:
            break
    audio = np.concatenate(parts)
    audio *= rng.uniform(*_PEAK) / np.abs(audio).max()
    # Real recordings are not digitally silent between words; without the tone, pauses would be dropouts.
    audio += _ROOM_TONE * rng.standard_normal(len(audio))
    return Recording(f"{index:03d}-{voice.name}", voice, audio.astype(np.float32))


def _silence(rng: np.random.Generator) -> NDArray[np.float32]:
    return np.zeros(int(rng.uniform(*_GAP_SECONDS) * SAMPLE_RATE), np.float32)


def _trimmed(audio: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the audio without the silence before the first and after the last audible sample."""
    audible = np.flatnonzero(np.abs(audio) > _AUDIBLE)
    return audio[audible[0] : audible[-1] + 1] if audible.size else audio[:0]
