"""The spectrum of each frame, and its floors, in ONNX.

Each function is the twin of the function or class of the same name in earmark.trainer.features.spectrum.
"""

import numpy as np

from earmark.trainer.export.graph import Value
from earmark.trainer.export.waveform import Frames
from earmark.trainer.features import spectrum
from earmark.trainer.features.filterbank import BIN_HZ, BINS, MEL_BANDS, filterbank


def floors(mel: Value, frames: Value) -> Value:
    """See the twin."""
    by_band = mel.transpose(1, 0).new_axis(0)
    half = spectrum.FLOOR_FRAMES // 2
    lowest = -(-by_band).op("MaxPool", kernel_shape=[spectrum.FLOOR_FRAMES], pads=[half, half])
    floor = lowest.reshape(spectrum.FLOOR_BANDS, MEL_BANDS // spectrum.FLOOR_BANDS, -1).reduce("Mean", 1)
    coarse = floor.cut(0, axis=1, step=spectrum.COARSE_FRAMES).pad(
        spectrum.MEDIAN_PAST, spectrum.MEDIAN_AHEAD, 1, "edge"
    )
    count = coarse.length(1) - (spectrum.MEDIAN_STEPS - 1)
    windows = coarse.take(count.range().new_axis(1) + np.arange(spectrum.MEDIAN_STEPS), axis=1)
    median = (
        windows.largest(spectrum.MEDIAN_STEPS // 2 + 1)
        .transpose(1, 0)
        .repeated(spectrum.COARSE_FRAMES, frames)
    )
    by_frame = floor.transpose(1, 0)
    return by_frame.join(by_frame - median, axis=1)


def log_spectrum(signal: Value, rate: int, frames: Frames) -> Value:
    """See the twin. The Fourier transform is a matrix product."""
    size, length = round(spectrum.WINDOW_SECONDS * rate), round(rate / BIN_HZ)
    margin = (size - rate // spectrum.FRAMES_PER_SECOND) // 2
    bins = min(length // 2 + 1, BINS)
    angles = 2 * np.pi * (np.arange(size)[:, None] * np.arange(bins) % length) / length
    window = np.hanning(size + 1)[:-1].astype(np.float32)[:, None]
    fourier = np.concatenate([np.cos(angles), -np.sin(angles)], axis=1).astype(np.float32) * window
    parts = signal.pad(margin, 2 * size).windows(size, frames.starts) @ fourier
    bank = filterbank()[:, :bins].T * np.float32((spectrum.REFERENCE_RATE / rate) ** 2)
    power = (parts * parts) @ np.concatenate([bank, bank])
    return (power + spectrum.MEL_FLOOR).log()
