"""The front end: turns one channel of audio into features (frames, FEATURES).

A frame is 10 ms; frames = ceil(samples * 100 / rate). Training and detection both use this code, and its
version is stored with the features and with the model. It imports neither JAX nor librosa, so that the
process that decodes audio starts fast. It does no input or output.

    columns   content                                               computed at
    0-63      log-mel power up to 8 kHz                             the file's own rate
    64-71     log power in bands from 8 to 24 kHz                   the file's own rate
    72        the bandwidth that the sample rate allows             -
    73-88     noise floors of groups of mel bands                   the file's own rate
    89-109    traces of defects in the waveform                     the file's own rate
    110-137   similarity to the signal 80-420 ms earlier            4 kHz
    138-157   pitch, and the residual after its cancellation        8 kHz

No column of a frame depends on audio more than LOOKAHEAD_FRAMES after it.
"""

import math
from collections.abc import Callable, Iterator
from typing import TypeAlias

import numpy as np
from jaxtyping import Float16, Float32, Int64
from numpy.lib.stride_tricks import sliding_window_view
from scipy import fft, ndimage  # type: ignore[import-untyped]  # it has no stubs

from earmark.scores import FRAME_MS
from earmark.trainer.features.filterbank import (
    BIN_HZ,
    BINS,
    HIGH_BANDS,
    MEL_BANDS,
    TOP_HZ,
    filterbank,
)
from earmark.trainer.features.similarity import PITCH_RATE, REPEATS, VOICES, repeats, resampled, voices
from earmark.trainer.features.waveform import DEFECTS, FRAMES_AT_A_TIME, LEVEL_COLUMNS, centred, defects

Samples: TypeAlias = Float32[np.ndarray, " _"]
View: TypeAlias = Callable[[Samples, int], tuple[Samples, int]]  # audio and its rate, to other ones

FRAMES_PER_SECOND = 1000 // FRAME_MS

WINDOW_SECONDS = 0.025
REFERENCE_RATE = 16_000
MEL_FLOOR = 1e-8  # below the power of one 16-bit step, so that room tone and digital silence differ

FLOOR_BANDS = 8
FLOOR_FRAMES = 41
MEDIAN_STEPS = 101  # of 100 ms: the floor's running median covers the last ten seconds
MEDIAN_AHEAD = 2
FLOORS = 2 * FLOOR_BANDS

SPECTRUM = MEL_BANDS + HIGH_BANDS + 1
FEATURES = SPECTRUM + FLOORS + DEFECTS + REPEATS + VOICES

# The columns that follow the signal's level: logarithms of powers, and of amplitudes.
POWER_COLUMNS = (*range(MEL_BANDS + HIGH_BANDS), *range(SPECTRUM, SPECTRUM + FLOOR_BANDS))
AMPLITUDE_COLUMNS = tuple(SPECTRUM + FLOORS + column for column in LEVEL_COLUMNS)

HIGHEST_LEVEL = 16.0
BLOCK_FRAMES = 12_000  # two minutes: bounds the memory, and a block starts on a whole sample at every rate
PAST_FRAMES = 1_200  # more than any feature looks back
LOOKAHEAD_FRAMES = 61


def frame_count(samples: int, sample_rate: int) -> int:
    """The last frame may be incomplete: ceil(samples * 100 / sample_rate)."""
    return -(-samples * FRAMES_PER_SECOND // sample_rate)


def features(
    audio: Float32[np.ndarray, " samples"], sample_rate: int, view: View | None = None
) -> Float16[np.ndarray, "frames features"]:
    """Compute the features of a channel at 8-192 kHz, full scale 1. They are always finite.

    With a view, they are those of the audio that it returns, block by block.
    """
    result = np.empty((frame_count(len(audio), sample_rate), FEATURES), np.float16)
    for first, values in feature_blocks(audio, sample_rate, view):
        result[first : first + len(values)] = values
    return result


def feature_blocks(
    audio: Float32[np.ndarray, " samples"], sample_rate: int, view: View | None = None
) -> Iterator[tuple[int, Float32[np.ndarray, "_ features"]]]:
    """Yield the number of the first frame of each block, and the features of its frames; see `features`."""
    frames = frame_count(len(audio), sample_rate)
    for first in range(0, frames, BLOCK_FRAMES):
        last = min(frames, first + BLOCK_FRAMES)
        begin, end = max(0, first - PAST_FRAMES), min(frames, last + LOOKAHEAD_FRAMES)
        block = audio[begin * sample_rate // FRAMES_PER_SECOND : end * sample_rate // FRAMES_PER_SECOND + 1]
        if not np.isfinite(block.sum()):
            block = np.nan_to_num(block, posinf=HIGHEST_LEVEL, neginf=-HIGHEST_LEVEL)
        block = block.clip(-HIGHEST_LEVEL, HIGHEST_LEVEL)
        values = _block_features(*(view(block, sample_rate) if view else (block, sample_rate)), end - begin)
        yield first, values[first - begin : last - begin]


def _block_features(
    audio: Float32[np.ndarray, " samples"], rate: int, frames: int
) -> Float32[np.ndarray, "frames features"]:
    hop = -(-rate // FRAMES_PER_SECOND)
    starts = np.arange(frames) * rate // FRAMES_PER_SECOND
    end = frames * rate // FRAMES_PER_SECOND
    # A last frame that is incomplete goes on with its last sample; a codec may add or lack a few samples.
    audio = np.pad(audio[:end], (0, max(0, end - len(audio))), mode="symmetric")
    signal = centred(audio, starts, hop)
    low = resampled(signal, rate, PITCH_RATE, frames * PITCH_RATE // FRAMES_PER_SECOND)
    spectrum = log_spectrum(signal, rate, starts)
    columns = [
        spectrum,
        np.full((frames, 1), math.log(min(rate, 2 * TOP_HZ) / REFERENCE_RATE)),
        floors(spectrum[:, :MEL_BANDS]),
        defects(signal, audio, starts, hop),
        repeats(low, PITCH_RATE, frames),
        voices(low, PITCH_RATE, frames),
    ]
    return np.concatenate(columns, axis=1, dtype=np.float32)


def floors(mel: Float32[np.ndarray, "frames mel_bands"]) -> Float32[np.ndarray, "frames floors"]:
    """Compute the level that a band does not fall below for FLOOR_FRAMES.

    Noise, reverberation and a second voice fill the gaps in speech. The columns are the floors of eight
    groups of bands, then the height of each floor above its running median over the last ten seconds.
    """
    lowest = ndimage.minimum_filter1d(mel, FLOOR_FRAMES, axis=0, mode="nearest")
    floor = lowest.reshape(len(mel), FLOOR_BANDS, -1).mean(axis=2)
    coarse = np.pad(floor[::10], ((MEDIAN_STEPS - 1 - MEDIAN_AHEAD, MEDIAN_AHEAD), (0, 0)), mode="edge")
    median = np.median(sliding_window_view(coarse, MEDIAN_STEPS, axis=0), axis=-1)
    return np.concatenate([floor, floor - np.repeat(median, 10, axis=0)[: len(mel)]], axis=1)


def log_spectrum(
    signal: Float32[np.ndarray, " samples"], rate: int, starts: Int64[np.ndarray, " frames"]
) -> Float32[np.ndarray, "frames bands"]:
    """Compute ln(power + MEL_FLOOR) per band, in 25 ms Hann windows centred on their frames.

    Frame i begins at sample `starts[i]`. The power is as large as in windows of 400 samples at 16 kHz.
    """
    size = round(WINDOW_SECONDS * rate)
    length = round(rate / BIN_HZ)
    margin = (size - rate // FRAMES_PER_SECOND) // 2
    padded = np.pad(signal, (margin, 2 * size))
    window = np.hanning(size + 1)[:-1].astype(np.float32)
    scale = (REFERENCE_RATE / rate) ** 2
    windows = sliding_window_view(padded, size)
    bins = min(length // 2 + 1, BINS)
    bank = filterbank()[:, :bins].T * np.float32(scale)
    power = np.empty((len(starts), MEL_BANDS + HIGH_BANDS), np.float32)
    for first in range(0, len(starts), FRAMES_AT_A_TIME):
        part = slice(first, first + FRAMES_AT_A_TIME)
        spectrum = fft.rfft(windows[starts[part]] * window, length)[:, :bins]
        power[part] = (spectrum.real**2 + spectrum.imag**2) @ bank
    logarithm: np.ndarray = np.log(power + np.float32(MEL_FLOOR))
    return logarithm
