"""The spectrum of each frame, and the floors that a second voice raises. It does no input or output."""

import numpy as np
from jaxtyping import Float32, Int64
from numpy.lib.stride_tricks import sliding_window_view
from scipy import fft, ndimage  # type: ignore[import-untyped]  # it has no stubs

from earmark.scores import FRAME_MS
from earmark.trainer.features.filterbank import BIN_HZ, BINS, HIGH_BANDS, MEL_BANDS, filterbank
from earmark.trainer.features.streams import Rows, Side, Window, product
from earmark.trainer.features.waveform import FRAMES_AT_A_TIME

FRAMES_PER_SECOND = 1000 // FRAME_MS

WINDOW_SECONDS = 0.025
REFERENCE_RATE = 16_000
MEL_FLOOR = 1e-8  # below the power of one 16-bit step, so that room tone and digital silence differ

FLOOR_BANDS = 8
FLOOR_FRAMES = 41
COARSE_FRAMES = 10
MEDIAN_STEPS = 101  # of 100 ms: the floor's running median covers the last ten seconds
MEDIAN_AHEAD = 2
MEDIAN_PAST = MEDIAN_STEPS - 1 - MEDIAN_AHEAD
FLOORS = 2 * FLOOR_BANDS


class Floors:
    """Computes the level that a band does not fall below for FLOOR_FRAMES.

    Noise, reverberation and a second voice fill the gaps in speech. The columns are the floors of eight
    groups of bands, then the height of each floor above its running median over the last ten seconds.
    """

    def __init__(self) -> None:
        self._lowest = Window(_lowest, FLOOR_FRAMES // 2, FLOOR_FRAMES // 2, FLOOR_BANDS)
        self._medians = Window(_medians, MEDIAN_PAST, MEDIAN_AHEAD, FLOOR_BANDS)
        self._joined = Side()
        self._frames = 0

    def push(self, mel: Float32[np.ndarray, "_ mel_bands"], *, last: bool = False) -> Rows:
        """Return (frames, FLOORS) from the log-mel power of frames."""
        floor = self._lowest.push(mel, last=last)
        coarse = floor[-self._frames % COARSE_FRAMES :: COARSE_FRAMES]
        self._frames += len(floor)
        medians = np.repeat(self._medians.push(coarse, last=last), COARSE_FRAMES, axis=0)
        rows = self._joined.push(floor, medians)
        floor, medians = np.hsplit(rows, 2)
        return np.concatenate([floor, floor - medians], axis=1)


def _lowest(mel: np.ndarray, part: slice) -> np.ndarray:
    lowest = ndimage.minimum_filter1d(mel, FLOOR_FRAMES, axis=0, mode="nearest")[part]
    floor: np.ndarray = lowest.reshape(len(lowest), FLOOR_BANDS, -1).mean(axis=2)
    return floor


def _medians(floor: np.ndarray, part: slice) -> np.ndarray:
    padded = np.pad(floor, ((MEDIAN_PAST, MEDIAN_AHEAD), (0, 0)), mode="edge")
    medians: np.ndarray = np.median(sliding_window_view(padded, MEDIAN_STEPS, axis=0)[part], axis=-1)
    return medians


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
        power[part] = product(spectrum.real**2 + spectrum.imag**2, bank)
    logarithm: np.ndarray = np.log(power + np.float32(MEL_FLOOR))
    return logarithm
