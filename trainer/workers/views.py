"""Views: the same audio as it may arrive elsewhere, through a codec, at another rate, at another level.

A model that learns from clean recordings is used on what production sends. A view changes no label. It is
encoded and decoded in memory. This module does no input or output.
"""

import io
import zlib
from collections.abc import Callable

import numpy as np
import soundfile  # type: ignore[import-untyped]  # it has no stubs
import soxr  # type: ignore[import-untyped]  # it has no stubs

from earmark.trainer.features.frontend import Samples, View

GAIN_DB = (-20.0, 0.0)
TELEPHONE_RATE = 8_000
LOSSY_RATES = {
    "VORBIS": (16_000, 24_000, 44_100, 48_000),
    "OPUS": (16_000, 24_000, 48_000),
    "MPEG_LAYER_III": (16_000, 24_000, 44_100, 48_000),
}
SAME_RATE = 0.7  # how often a codec gets the audio at its own rate, where it can
HEADROOM = 0.98
WRITTEN_SAMPLES = 1 << 14


def heard_otherwise(number: int) -> View:
    """Return view number `number`: what it does is drawn from that number and the audio itself."""

    def view(audio: Samples, rate: int) -> tuple[Samples, int]:
        rng = np.random.default_rng((number, zlib.crc32(audio[:rate].tobytes())))
        gain = 10 ** (rng.uniform(*GAIN_DB) / 20)
        peak = float(np.abs(audio).max(initial=0)) * gain
        if peak > HEADROOM:  # a codec would clip
            gain *= HEADROOM / peak
        changed, new_rate = KINDS[rng.choice(len(KINDS), p=SHARES)](audio * np.float32(gain), rate, rng)
        return changed.astype(np.float32, copy=False), new_rate

    return view


def _resampled(audio: Samples, rate: int, target: int) -> Samples:
    if rate == target:
        return audio
    changed: Samples = soxr.resample(audio, rate, target).astype(np.float32, copy=False)
    return changed


def _encoded(
    audio: Samples, rate: int, container: str, codec: str, level: float | None = None
) -> tuple[Samples, int]:
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", rate, 1, codec, None, container, compression_level=level) as encoder:
        # libvorbis takes what it is given at once from the stack.
        for first in range(0, len(audio), WRITTEN_SAMPLES):
            encoder.write(audio[first : first + WRITTEN_SAMPLES])
    file.seek(0)
    decoded, new_rate = soundfile.read(file, dtype="float32")
    return decoded, int(new_rate)


def _telephone(audio: Samples, rate: int, rng: np.random.Generator) -> tuple[Samples, int]:
    narrow = _resampled(audio, rate, TELEPHONE_RATE)
    codec = ("PCM_16", "ALAW", "ULAW")[rng.integers(3)]
    return _encoded(narrow, TELEPHONE_RATE, "WAV", codec)


def _companded(audio: Samples, rate: int, rng: np.random.Generator) -> tuple[Samples, int]:
    return _encoded(audio, rate, "WAV", ("ALAW", "ULAW")[rng.integers(2)])


def _other_rate(audio: Samples, rate: int, rng: np.random.Generator) -> tuple[Samples, int]:
    rates = [other for other in (11_025, 16_000, 22_050, 32_000, 44_100, 48_000) if other != rate]
    target = int(rng.choice(rates))
    return _encoded(_resampled(audio, rate, target), target, "WAV", "PCM_16")


def _lossy(container: str, codec: str) -> Callable[[Samples, int, np.random.Generator], tuple[Samples, int]]:
    def encode(audio: Samples, rate: int, rng: np.random.Generator) -> tuple[Samples, int]:
        rates = LOSSY_RATES[codec]
        target = rate if rate in rates and rng.random() < SAME_RATE else int(rng.choice(rates))
        return _encoded(_resampled(audio, rate, target), target, container, codec, float(rng.uniform(0, 0.9)))

    return encode


KINDS = (
    _telephone,
    _companded,
    _other_rate,
    _lossy("OGG", "VORBIS"),
    _lossy("OGG", "OPUS"),
    _lossy("MP3", "MPEG_LAYER_III"),
)
SHARES = (0.2, 0.1, 0.2, 0.15, 0.2, 0.15)
VIEWS = (heard_otherwise(1),)  # of each channel of a file that may be trained on
