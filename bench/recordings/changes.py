"""Changes of a recording that alter none of its annotations: channels, level, offset, rate, codec."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import numpy as np
import soundfile  # type: ignore[import-untyped]  # has no stubs
import soxr  # type: ignore[import-untyped]  # has no stubs
from jaxtyping import Float32

Samples: TypeAlias = Float32[np.ndarray, "samples channels"]
OFFSET = 0.05
CLIPPING = "clipping"  # lossy codecs round its flat tops off: it is counted on its own


@dataclass(frozen=True, slots=True)
class Change:
    """What is done to (samples, channels) at a rate, and by how much the event F1 may fall."""

    apply: Callable[[Samples, int], tuple[Samples, int]]
    allowed: float
    spares_clipping: bool = True


def _gain(audio: Samples, rate: int, *, decibels: float) -> tuple[Samples, int]:
    return audio * np.float32(10 ** (decibels / 20)), rate


def _second_channel(audio: Samples, rate: int, *, factor: float) -> tuple[Samples, int]:
    return np.concatenate([audio, np.float32(factor) * audio], axis=1), rate


def _offset(audio: Samples, rate: int) -> tuple[Samples, int]:
    return audio + np.float32(OFFSET), rate


def _resampled(audio: Samples, rate: int, *, target: int) -> tuple[Samples, int]:
    return soxr.resample(audio, rate, target).astype(np.float32, copy=False), target


def _encoded(audio: Samples, rate: int, *, container: str, codec: str) -> tuple[Samples, int]:
    file = io.BytesIO()
    soundfile.write(file, audio, rate, format=container, subtype=codec)
    file.seek(0)
    decoded, new_rate = soundfile.read(file, dtype="float32", always_2d=True)
    return decoded, int(new_rate)


AS_IT_IS = "as it is"
CHANGES = {
    AS_IT_IS: Change(lambda audio, rate: (audio, rate), 0.0),
    "-6 dB": Change(partial(_gain, decibels=-6), 0.02),
    "-12 dB": Change(partial(_gain, decibels=-12), 0.02),
    "-24 dB": Change(partial(_gain, decibels=-24), 0.04),
    "+6 dB": Change(partial(_gain, decibels=6), 0.04),
    "silent channel": Change(partial(_second_channel, factor=0), 0.02),
    "opposite channel": Change(partial(_second_channel, factor=-1), 0.02),
    "offset": Change(_offset, 0.02),
    "44.1 kHz": Change(partial(_resampled, target=44_100), 0.04),
    "8 kHz": Change(partial(_resampled, target=8_000), 0.1, spares_clipping=False),
    "Vorbis": Change(partial(_encoded, container="OGG", codec="VORBIS"), 0.1, spares_clipping=False),
    "Opus": Change(partial(_encoded, container="OGG", codec="OPUS"), 0.1, spares_clipping=False),
    "MP3": Change(partial(_encoded, container="MP3", codec="MPEG_LAYER_III"), 0.1, spares_clipping=False),
    "A-law": Change(partial(_encoded, container="WAV", codec="ALAW"), 0.1, spares_clipping=False),
}
