"""The formats that the audio fuzzer writes, as a table to which others are added."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import soundfile
from jaxtyping import Float32

from tests.formats import clips
from tests.sounds import encoded, speech

Samples = Float32[np.ndarray, "samples channels"]
Writer = Callable[[Samples, int], bytes]

RATES = (8_000, 11_025, 16_000, 44_100, 48_000, 96_000)
SPEECH_RATES = (8_000, 16_000)
OPUS_RATES = (8_000, 16_000, 48_000)
BLOCK = 100_000
SECONDS = (0.05, 0.2, 1.0, 3.0)
CLIP_CONTAINERS = ("M4A", "MP4", "MOV", "Matroska", "WebM", "AAC", "MP2", "WMA", "AMR", "3GP")


@dataclass(frozen=True)
class Format:
    """How files of one format are written, and their names. An undamaged one is READY."""

    extension: str
    content_type: str
    write: Writer
    rates: Sequence[int] = RATES
    channels: Sequence[int] = (1, 2, 8)


def sndfile(container: str, subtype: str | None = None) -> Writer:
    """Writes with libsndfile."""
    return lambda samples, rate: encoded(samples, container, subtype, rate)


def from_clips() -> dict[str, Format]:
    """The formats that FFmpeg writes, at the rate and with the channels of their clips."""
    return {
        f"{clip.container} {clip.codec}": Format(
            clip.container.lower(), "application/octet-stream", clip.make, (clip.rate,), (clip.channels,)
        )
        for clip in clips.FORMATS
        if clip.container in CLIP_CONTAINERS or (clip.container, clip.codec) == ("OGG", "FLAC")
    }


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
    "MP3": Format("mp3", "audio/mpeg", sndfile("MP3"), (16_000, 44_100, 48_000), (1, 2)),
    "W64 PCM_16": Format("w64", "audio/x-w64", sndfile("W64", "PCM_16")),
    "AIFF PCM_16": Format("aiff", "audio/aiff", sndfile("AIFF", "PCM_16")),
    "AIFF FLOAT": Format("aif", "audio/aiff", sndfile("AIFF", "FLOAT")),
    "AU PCM_16": Format("au", "audio/basic", sndfile("AU", "PCM_16")),
    "CAF PCM_16": Format("caf", "audio/x-caf", sndfile("CAF", "PCM_16")),
    "CAF ALAC_16": Format("caf", "audio/x-caf", sndfile("CAF", "ALAC_16")),
    **from_clips(),
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
