"""The front end: turns audio (channels, samples) into features (frames, FEATURES).

A frame is 10 ms; frames = ceil(samples * 100 / rate). Training and detection both use this code, and its
version is stored with the features and with the model. It imports neither JAX nor librosa, so that the
process that decodes audio starts fast. It does no input or output.

    columns   content                                               computed at
    0-63      log-mel power, averaged over the channels             16 kHz
    64-79     noise floors of groups of mel bands                   16 kHz
    80-98     traces of defects in the waveform, maximum over the   the file's own rate
              channels
    99-126    similarity to the signal 80-420 ms earlier            4 kHz
    127-146   pitch, and the residual after its cancellation        8 kHz
"""

import json
import math
from functools import cache

import numpy as np
import safetensors.numpy
import soxr  # type: ignore[import-untyped]  # it has no stubs
from jaxtyping import Float16, Float32, Float64
from numpy.lib.stride_tricks import sliding_window_view
from scipy import fft, ndimage  # type: ignore[import-untyped]  # it has no stubs

from earmark.trainer.features.similarity import REPEATS, VOICES, repeats, voices
from earmark.trainer.features.waveform import DEFECTS, defects

FRONTEND_VERSION = "2"
FRAMES_PER_SECOND = 100
FRAME_MS = 10

MEL_RATE = 16_000
MEL_BANDS = 64
MEL_WINDOW = 400
MEL_HOP = MEL_RATE // FRAMES_PER_SECOND
MEL_FFT = 512
MEL_FLOOR = 1e-8  # below the power of one 16-bit step, so that room tone and digital silence differ

FLOOR_BANDS = 8
FLOOR_FRAMES = 41
MEDIAN_STEPS = 101  # of 100 ms: the floor's running median covers ten seconds
FLOORS = 2 * FLOOR_BANDS

FEATURES = MEL_BANDS + FLOORS + DEFECTS + REPEATS + VOICES

BLOCK_FRAMES = 6_000  # a minute: bounds the memory, and a block starts on a whole sample at every rate
MARGIN_FRAMES = 600  # more than any feature looks back or forward


class OutdatedFeaturesError(ValueError):
    """Stored features were computed by another version of the front end."""


def frame_count(samples: int, sample_rate: int) -> int:
    """The last frame may be incomplete: ceil(samples * 100 / sample_rate)."""
    return -(-samples * FRAMES_PER_SECOND // sample_rate)


def features(
    audio: Float32[np.ndarray, "channels samples"], sample_rate: int
) -> Float16[np.ndarray, "frames features"]:
    """Compute the features of audio in -1..1 at 8-192 kHz. They are always finite.

    The absolute level is evidence, so nothing is normalised per file.
    """
    frames = frame_count(audio.shape[1], sample_rate)
    result = np.empty((frames, FEATURES), np.float16)
    for first in range(0, frames, BLOCK_FRAMES):
        last = min(frames, first + BLOCK_FRAMES)
        begin = max(0, first - MARGIN_FRAMES)
        start, end = (edge * sample_rate // FRAMES_PER_SECOND for edge in (begin, last + MARGIN_FRAMES))
        block = _block_features(np.nan_to_num(audio[:, start:end]).clip(-1, 1), sample_rate)
        result[first:last] = block[first - begin : last - begin]
    return result


def pack_features(values: Float16[np.ndarray, "frames features"]) -> bytes:
    """Return the features as the bytes of a safetensors file that names the front end's version."""
    return safetensors.numpy.save({"features": values}, {"frontend": FRONTEND_VERSION})


def unpack_features(data: bytes) -> Float16[np.ndarray, "frames features"]:
    """Return the features that `pack_features` packed.

    Raises OutdatedFeaturesError for features of another version, and ValueError for any other bytes.
    """
    try:
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        version = header["__metadata__"]["frontend"]
        values: np.ndarray = safetensors.numpy.load(data)["features"]
    except (KeyError, ValueError, safetensors.SafetensorError) as error:
        raise ValueError("these bytes are not stored features") from error
    if version != FRONTEND_VERSION or values.shape[1:] != (FEATURES,):
        raise OutdatedFeaturesError(
            f"features are of front end {version}, this trainer has {FRONTEND_VERSION}: upload it again",
        )
    return values


def _block_features(
    audio: Float32[np.ndarray, "channels samples"], rate: int
) -> Float64[np.ndarray, "frames features"]:
    frames = frame_count(audio.shape[1], rate)
    mel = log_mel(audio, rate, frames)
    others = [compute(audio, rate, frames) for compute in (defects, repeats, voices)]
    return np.concatenate([mel, floors(mel), *others], axis=1)


def floors(mel: Float32[np.ndarray, "frames mel_bands"]) -> Float32[np.ndarray, "frames floors"]:
    """Compute the level that a band does not fall below for FLOOR_FRAMES.

    Noise, reverberation and a second voice fill the gaps in speech. The columns are the floors of eight
    groups of bands, then the height of each floor above its running median over ten seconds.
    """
    lowest = ndimage.minimum_filter1d(mel, FLOOR_FRAMES, axis=0, mode="nearest")
    floor = lowest.reshape(len(mel), FLOOR_BANDS, -1).mean(axis=2)
    coarse = np.pad(floor[::10], ((MEDIAN_STEPS // 2, MEDIAN_STEPS // 2), (0, 0)), mode="edge")
    median = np.median(sliding_window_view(coarse, MEDIAN_STEPS, axis=0), axis=-1)
    return np.concatenate([floor, floor - np.repeat(median, 10, axis=0)[: len(mel)]], axis=1)


def resample(
    audio: Float32[np.ndarray, "channels samples"], rate: int, target: int, length: int
) -> Float32[np.ndarray, "channels length"]:
    """Resample to `target` Hz, and cut the result or pad it with zeros to `length` samples."""
    if rate != target:
        audio = soxr.resample(audio.T, rate, target).T
    missing = max(0, length - audio.shape[1])
    return np.pad(audio[:, :length], ((0, 0), (0, missing))).astype(np.float32, copy=False)


def log_mel(
    audio: Float32[np.ndarray, "channels samples"], rate: int, frames: int
) -> Float32[np.ndarray, "frames mel_bands"]:
    """Compute ln(power + MEL_FLOOR) per mel band, in 25 ms Hann windows centred on their frames."""
    margin = (MEL_WINDOW - MEL_HOP) // 2
    padded = np.pad(resample(audio, rate, MEL_RATE, frames * MEL_HOP), ((0, 0), (margin, margin)))
    window = np.hanning(MEL_WINDOW + 1)[:-1].astype(np.float32)
    power = np.zeros((frames, MEL_FFT // 2 + 1), np.float32)
    for channel in padded:
        spectrum = fft.rfft(sliding_window_view(channel, MEL_WINDOW)[::MEL_HOP] * window, MEL_FFT)
        power += spectrum.real**2 + spectrum.imag**2
    mel_power: np.ndarray = power @ mel_filterbank().T / len(padded)
    return np.log(mel_power + MEL_FLOOR)


@cache
def mel_filterbank() -> Float32[np.ndarray, "mel_bands bins"]:
    """Return librosa's default filterbank: Slaney's mel scale and area normalisation.

    Slaney, Auditory Toolbox (1998). It is written out here because importing librosa takes a second.
    """
    edges = _mel_to_hz(np.linspace(0, _hz_to_mel(MEL_RATE / 2), MEL_BANDS + 2))
    bins = fft.rfftfreq(MEL_FFT, 1 / MEL_RATE)
    rising = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    triangles = np.maximum(0, np.minimum(rising, falling))
    normalised: np.ndarray = triangles * 2 / (edges[2:] - edges[:-2])[:, None]
    return normalised.astype(np.float32)


def _hz_to_mel(hertz: float) -> float:
    """The scale is linear up to 1 kHz (15 mel) and logarithmic above, with 27 mel for a factor of 6.4."""
    return hertz * 3 / 200 if hertz < 1000 else 15 + 27 * math.log(hertz / 1000) / math.log(6.4)  # noqa: PLR2004


def _mel_to_hz(mels: Float64[np.ndarray, " edges"]) -> Float64[np.ndarray, " edges"]:
    return np.where(mels < 15, mels * 200 / 3, 1000 * 6.4 ** ((mels - 15) / 27))  # noqa: PLR2004
