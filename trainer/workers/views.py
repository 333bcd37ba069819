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

try:
    import av
except ModuleNotFoundError:  # a machine without PyAV
    av = None  # type: ignore[assignment]

GAIN_DB = (-20.0, 0.0)
TELEPHONE_RATE = 8_000
LOSSY_RATES = (16_000, 24_000, 44_100, 48_000)
OPUS_RATES = (16_000, 24_000, 48_000)
OPUS_RATE = 48_000  # of what a decoder returns
OPUS_BITS = (24_000, 128_000)  # a second
OPUS_USES = ("voip", "audio")
OPUS_COMPLEXITY = "5"  # of 10: the most of what takes a quarter of the time of 10
LIBSNDFILE_BITS = 256_000  # a second, at level 0
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
        target = _codec_rate(rate, LOSSY_RATES, rng)
        return _encoded(_resampled(audio, rate, target), target, container, codec, float(rng.uniform(0, 0.9)))

    return encode


def _opus(audio: Samples, rate: int, rng: np.random.Generator) -> tuple[Samples, int]:
    """Opus as FFmpeg encodes it: libsndfile takes several times as long, as it has the highest complexity."""
    target = _codec_rate(rate, OPUS_RATES, rng)
    bits = float(np.exp(rng.uniform(*np.log(OPUS_BITS))))
    use = OPUS_USES[rng.integers(len(OPUS_USES))]
    samples = _resampled(audio, rate, target)
    if av is None:
        return _encoded(samples, target, "OGG", "OPUS", 1 - bits / LIBSNDFILE_BITS)
    encoder = av.CodecContext.create("libopus", "w")
    encoder.sample_rate, encoder.layout, encoder.format = target, "mono", "flt"
    encoder.options = {"b": str(round(bits)), "application": use, "compression_level": OPUS_COMPLEXITY}
    frame = av.AudioFrame.from_ndarray(samples[None], format="flt", layout="mono")
    frame.sample_rate = target
    packets = [*encoder.encode(frame), *encoder.encode(None)]
    decoder = av.CodecContext.create("opus", "r")
    decoder.extradata = encoder.extradata  # says what the decoder leaves out at the start
    frames = [frame for packet in packets for frame in decoder.decode(packet)]
    decoded = np.concatenate([frame.to_ndarray()[0] for frame in frames])
    return decoded[: len(samples) * OPUS_RATE // target], OPUS_RATE


def _codec_rate(rate: int, rates: tuple[int, ...], rng: np.random.Generator) -> int:
    return rate if rate in rates and rng.random() < SAME_RATE else int(rng.choice(rates))


KINDS = (
    _telephone,
    _companded,
    _other_rate,
    _lossy("OGG", "VORBIS"),
    _opus,
    _lossy("MP3", "MPEG_LAYER_III"),
)
SHARES = (0.2, 0.1, 0.2, 0.15, 0.2, 0.15)
VIEWS = (heard_otherwise(1),)  # of each channel of a file that may be trained on
