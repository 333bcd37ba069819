"""The formats that the audio fuzzer writes, as a table to which others are added."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import soundfile
from jaxtyping import Float32

from tests.fuzz.audio.ogg import page
from tests.sounds import encoded, speech

Samples = Float32[np.ndarray, "samples channels"]
Writer = Callable[[Samples, int], bytes]

RATES = (8_000, 11_025, 16_000, 44_100, 48_000, 96_000)
SPEECH_RATES = (8_000, 16_000)
OPUS_RATES = (8_000, 16_000, 48_000)
BLOCK = 100_000
SECONDS = (0.05, 0.2, 1.0, 3.0)


@dataclass(frozen=True)
class Format:
    """How files of one format are written, and their names. `is_usable`: an undamaged one is READY."""

    extension: str
    content_type: str
    write: Writer
    rates: Sequence[int] = RATES
    channels: Sequence[int] = (1, 2, 8)
    is_usable: bool = True


def sndfile(container: str, subtype: str | None = None) -> Writer:
    """Writes with libsndfile."""
    return lambda samples, rate: encoded(samples, container, subtype, rate)


def flac_in_ogg(samples: Samples, rate: int) -> bytes:
    """One frame of FLAC in OGG (xiph.org, "Ogg FLAC mapping"): libsndfile writes none."""
    flac = encoded(samples[:4096], "FLAC", rate=rate)
    start, is_last = 4, False
    while not is_last:  # the metadata blocks
        is_last = bool(flac[start] & 0x80)
        start += 4 + int.from_bytes(flac[start + 1 : start + 4])
    info = flac[4:42]
    comment = b"\x84\0\0\x08" + bytes(8)
    head = b"\x7fFLAC\x01\x00\x00\x01fLaC" + bytes([info[0] & 0x7F]) + info[1:]
    pages = (head, 0, 2), (comment, 0, 0), (flac[start:], min(len(samples), 4096), 4)
    return b"".join(page(data, number, end, kind) for number, (data, end, kind) in enumerate(pages))


FORMATS = {
    **{
        f"WAV {subtype}": Format("wav", "audio/wav", sndfile("WAV", subtype))
        for subtype in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ALAW", "ULAW")
    },
    "WAV IMA_ADPCM": Format("wav", "audio/x-wav", sndfile("WAV", "IMA_ADPCM"), channels=(1, 2)),
    "WAV MS_ADPCM": Format("wav", "audio/x-wav", sndfile("WAV", "MS_ADPCM"), channels=(1, 2)),
    "WAV GSM610": Format("wav", "audio/x-wav", sndfile("WAV", "GSM610"), SPEECH_RATES, (1,)),
    "WAV G721_32": Format("wav", "audio/x-wav", sndfile("WAV", "G721_32"), SPEECH_RATES, (1,)),
    "WAVEX PCM_16": Format("wav", "audio/wav", sndfile("WAVEX", "PCM_16")),
    "RF64 PCM_16": Format("wav", "audio/wav", sndfile("RF64", "PCM_16")),
    "FLAC PCM_16": Format("flac", "audio/flac", sndfile("FLAC", "PCM_16")),
    "FLAC PCM_24": Format("flac", "audio/flac", sndfile("FLAC", "PCM_24")),
    "OGG VORBIS": Format("ogg", "audio/ogg", sndfile("OGG", "VORBIS")),
    "OGG OPUS": Format("opus", "audio/ogg", sndfile("OGG", "OPUS"), OPUS_RATES, (1, 2)),
    "OGG FLAC": Format("oga", "audio/ogg", flac_in_ogg, SPEECH_RATES, is_usable=False),
    "MP3": Format("mp3", "audio/mpeg", sndfile("MP3"), (16_000, 44_100, 48_000), (1, 2)),
    "W64 PCM_16": Format("w64", "audio/x-w64", sndfile("W64", "PCM_16"), is_usable=False),
    "AIFF PCM_16": Format("aiff", "audio/aiff", sndfile("AIFF", "PCM_16"), is_usable=False),
    "AIFF FLOAT": Format("aif", "audio/aiff", sndfile("AIFF", "FLOAT"), is_usable=False),
    "AU PCM_16": Format("au", "audio/basic", sndfile("AU", "PCM_16"), is_usable=False),
    "CAF PCM_16": Format("caf", "audio/x-caf", sndfile("CAF", "PCM_16"), is_usable=False),
    "CAF ALAC_16": Format("caf", "audio/x-caf", sndfile("CAF", "ALAC_16"), is_usable=False),
}


@cache
def file_of(name: str, rate: int, channels: int, seconds: float) -> bytes:
    """An undamaged file of speech."""
    samples = speech(seconds, 1, rate)
    return FORMATS[name].write(np.stack([samples] * channels, axis=1), rate)


@cache
def silence(container: str, rate: int, channels: int, samples: int) -> bytes:
    """A small file that takes long to decode."""
    buffer = io.BytesIO()
    with soundfile.SoundFile(buffer, "w", rate, channels, format=container) as file:
        # Vorbis puts all that it is given at once on the stack.
        for start in range(0, samples, BLOCK):
            file.write(np.zeros((min(BLOCK, samples - start), channels), np.int16))
    return buffer.getvalue()
