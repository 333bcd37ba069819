"""The front end of Earmark, version 4, in NumPy: PCM to features. docs/export.md explains the steps.

It is written to be read, and ported: for one channel, in one piece, at rates that are multiples of 100 Hz.
"""

import math
from itertools import pairwise

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view as windows

FLOOR = 1e-5  # added to amplitudes before their logarithm


def features(pcm: np.ndarray, rate: int) -> np.ndarray:
    """Return (frames, 158) float16 of PCM (samples,) with full scale 1; a frame is 10 ms."""
    hop = rate // 100
    frames = -(-len(pcm) // hop)
    pcm = np.nan_to_num(pcm.astype(np.float32), posinf=16, neginf=-16).clip(-16, 16)
    pcm = np.pad(pcm, (0, frames * hop - len(pcm)), mode="symmetric")
    signal = without_offset(pcm, hop)
    low = resampled(signal, rate)
    low = np.pad(low, (0, -(-frames // 4) * 320 - len(low)))
    spectrum = log_spectrum(signal, rate)
    columns = [
        spectrum,
        np.full((frames, 1), np.log(min(rate, 48_000) / 16_000)),
        floors(spectrum[:, :64]),
        defects(signal, pcm, hop),
        repeats(halved(low), frames),
        voices(low, frames),
    ]
    return np.concatenate(columns, axis=1).astype(np.float16)


def around(values: np.ndarray, before: int, after: int, mode: str = "edge") -> np.ndarray:
    """Return the window (n, before + 1 + after) around each of values (n,)."""
    return windows(np.pad(values, (before, after), mode=mode), before + 1 + after)


def without_offset(pcm: np.ndarray, hop: int) -> np.ndarray:
    offset = pcm.reshape(-1, hop).mean(axis=1, dtype=np.float64)
    for _ in range(3):
        offset = around(offset, 29, 3).mean(axis=1)
    offset[np.abs(offset) < 1e-7] = 0
    steps = np.diff(offset, append=offset[-1]) / hop
    return pcm - (offset[:, None] + steps[:, None] * np.arange(hop)).reshape(-1).astype(np.float32)


def resampled(signal: np.ndarray, rate: int) -> np.ndarray:
    """Take what is above 4 kHz out of the spectrum, with the transition band of soxr's VHQ."""
    if rate == 8_000:
        return signal
    length, size = len(signal) * 8_000 // rate, -(-(len(signal) + rate) // rate) * rate
    spectrum = np.fft.rfft(signal, size)[: size * 8_000 // rate // 2 + 1]
    place = np.linspace(0, 1, len(spectrum))
    spectrum *= np.vectorize(math.erfc)((place - 0.9557) / 0.0143) / 2
    return (np.fft.irfft(spectrum)[:length] * 8_000 / rate).astype(np.float32)


def halved(low: np.ndarray) -> np.ndarray:
    """From 8 to 4 kHz."""
    places = np.arange(-80, 81)
    taps = np.sinc(2 * 1_875 / 8_000 * places) * np.kaiser(161, 7.86)
    return windows(np.pad(low, 80), 161)[::2] @ (taps / taps.sum())


def mel_filters(edges_hz: np.ndarray, bins: int) -> np.ndarray:
    """Return triangles (bands, bins of 25 Hz) of equal area, between neighbours but one of the edges."""
    low, middle, high = (edges_hz[start : len(edges_hz) - 2 + start, None] for start in range(3))
    hertz = 25 * np.arange(bins)
    rise, fall = (hertz - low) / (middle - low), (high - hertz) / (high - middle)
    return np.maximum(0, np.minimum(rise, fall)) * 2 / (high - low)


def mel_edges(start_hz: float, end_hz: float, bands: int) -> np.ndarray:
    """Return bands + 2 frequencies that are equally spaced on Slaney's mel scale."""
    step = np.log(6.4) / 27
    mel = [15 + np.log(hz / 1000) / step if hz >= 1000 else 3 * hz / 200 for hz in (start_hz, end_hz)]
    mels = np.linspace(*mel, bands + 2)
    return np.where(mels >= 15, 1000 * np.exp(step * (mels - 15)), 200 * mels / 3)


def log_spectrum(signal: np.ndarray, rate: int) -> np.ndarray:
    size, length, hop = round(0.025 * rate), round(rate / 25), rate // 100
    padded = np.pad(signal, ((size - hop) // 2, 2 * size))
    parts = windows(padded, size)[: len(signal) : hop] * np.hanning(size + 1)[:-1].astype(np.float32)
    spectrum = np.fft.rfft(parts, length)[:, :961]
    filters = [mel_filters(mel_edges(*band), 961) for band in ((0, 8_000, 64), (8_000, 24_000, 8))]
    bank = np.concatenate(filters)[:, : spectrum.shape[1]] * (16_000 / rate) ** 2
    return np.log(np.abs(spectrum) ** 2 @ bank.T + 1e-8)


def floors(mel: np.ndarray) -> np.ndarray:
    floor = np.stack([around(band, 20, 20).min(axis=1) for band in mel.T]).reshape(8, 8, -1).mean(axis=1)
    usual = [np.median(around(band[::10], 98, 2), axis=1).repeat(10)[: len(mel)] for band in floor]
    return np.concatenate([floor, floor - usual]).T


def defects(signal: np.ndarray, pcm: np.ndarray, hop: int) -> np.ndarray:
    samples = np.abs(signal).reshape(-1, hop)
    peak, power = samples.max(axis=1), (samples**2).mean(axis=1)
    local = around(peak, 3, 3).max(axis=1)[:, None]
    slope = np.diff(pcm, prepend=pcm[0])
    bend = np.diff(slope, prepend=slope[0])
    slopes, bends = np.abs(slope).reshape(-1, hop), np.abs(bend).reshape(-1, hop)
    same, level = slope == 0, np.abs(slope) <= np.float32(1.5 / 32_768)
    frozen, plateau = (
        around(values, length - 1, 0, "constant").all(axis=1).reshape(-1, hop)
        for values, length in ((same, 8), (level, 2))
    )
    largest_bend = log(bends.max(axis=1))
    residual = log(unpredicted(signal, hop))
    largest = residual.reshape(-1, 10).max(axis=1)
    nearby = windows(np.pad(power, (150, 49), constant_values=np.nan), 200)  # beyond the ends nothing counts
    columns = [
        log(peak),
        log(np.sqrt(power)),
        log(slopes.max(axis=1)),
        largest_bend,
        largest_bend - np.median(around(largest_bend, 25, 25), axis=1),
        same.reshape(-1, hop).mean(axis=1),
        frozen.mean(axis=1),
        ((samples >= np.float32(0.98) * local) & (local > FLOOR)).mean(axis=1),
        log(peak) - log(np.sqrt(power)),
        log(np.sqrt((bends**2).mean(axis=1))) - log(np.sqrt(power)),
        (plateau & (samples >= np.float32(0.9) * local) & (local > 30 / 32_768)).mean(axis=1),
        largest,
        (samples >= np.float32(0.8) * local).mean(axis=1),
        (samples >= np.float32(0.9) * local).mean(axis=1),
        isolation(largest, 7, 50, 0.95),
        isolation(largest, 7, 25, 1),
        isolation(log(peak), 7, 50, 0.95),
        isolation(residual, 4, 25, 0.5).reshape(-1, 10).max(axis=1),
        isolation(residual, 4, 25, 0.8).reshape(-1, 10).max(axis=1),
        isolation(residual, 8, 40, 0.8).reshape(-1, 10).max(axis=1),
        largest - log(np.sqrt(np.nanmean(nearby, axis=1))),
    ]
    return np.stack(columns, axis=1)


def log(values: np.ndarray) -> np.ndarray:
    return np.log(values + FLOOR)


def isolation(level: np.ndarray, near: int, far: int, share: float) -> np.ndarray:
    width = far - near + 1
    sides = np.sort(windows(np.pad(level, far, mode="edge"), width), axis=1)[:, round(share * (width - 1))]
    return level - np.maximum(sides[: len(level)], sides[far + near :])


def unpredicted(signal: np.ndarray, hop: int) -> np.ndarray:
    """Return the largest sample of each millisecond that linear prediction does not explain."""
    frames, before = len(signal) // hop, max(hop // 2, 16)
    padded = np.pad(signal, (before, 2 * hop)).astype(np.float64)
    parts = windows(padded, 2 * hop)[before - hop // 2 :: hop][:frames] * np.hanning(2 * hop)
    correlation = np.stack([(parts[:, : 2 * hop - lag] * parts[:, lag:]).sum(axis=1) for lag in range(17)], 1)
    correlation[:, 0] = correlation[:, 0] * (1 + 1e-4) + FLOOR**2
    filters, error = np.zeros((frames, 17)), correlation[:, 0].copy()
    filters[:, 0] = 1
    for order in range(1, 17):  # Levinson's recursion
        reflection = -(filters[:, :order] * correlation[:, order:0:-1]).sum(axis=1) / error
        filters[:, : order + 1] += reflection[:, None] * filters[:, order::-1]
        error *= 1 - reflection**2
    context = windows(padded, hop + 16)[before - 16 :: hop][:frames]
    peaks = []
    for shift in (-2, 2):
        chosen = filters[(np.arange(frames) + shift).clip(0, frames - 1)]
        residual = sum(chosen[:, tap, None] * context[:, 16 - tap : 16 - tap + hop] for tap in range(17))
        peaks.append(np.maximum.reduceat(np.abs(residual), np.arange(10) * hop // 10, axis=1))
    return np.minimum(*peaks).reshape(-1)


def repeats(low: np.ndarray, frames: int) -> np.ndarray:
    steps = -(-frames // 4)
    padded = np.pad(whitened(low), (1_840, 0))
    level = np.sqrt((windows(padded, 320).astype(np.float64) ** 2).sum(axis=1)) + 1e-2 * np.sqrt(320)
    similar = np.empty((steps, 1_360))
    for step in range(steps):
        start = step * 160
        now = padded[start + 1_680 : start + 2_000]
        product = np.correlate(padded[start : start + 1_679], now)
        similar[step] = product / level[start : start + 1_360] / level[start + 1_680]
    columns = []
    for width in (1, 5, 13):
        smooth = averaged(similar, width)
        bands = smooth.reshape(steps, 8, 170).max(axis=2)
        columns += [bands, bands.max(axis=1, keepdims=True)]
        if width == 5:
            best = smooth.argmax(axis=1)[:, None] / 1_360
    return np.concatenate([*columns, best], axis=1).repeat(4, axis=0)[:frames]


def averaged(values: np.ndarray, width: int) -> np.ndarray:
    """Average over `width` steps around each; beyond the ends the values count as 0."""
    return windows(np.pad(values, ((width // 2, width // 2), (0, 0))), width, axis=0).mean(axis=-1)


def whitened(signal: np.ndarray) -> np.ndarray:
    window = np.sqrt(np.hanning(161)[:-1])
    spectrum = np.fft.rfft(windows(np.pad(signal, 80), 160)[::80] * window)
    envelope = windows(np.pad(np.abs(spectrum), ((0, 0), (1, 1)), mode="edge"), 3, axis=1).mean(axis=-1)
    parts = np.fft.irfft(spectrum / (envelope + 3e-5), 160) * window
    joined = parts[::2].reshape(-1)
    joined[80:-80] += parts[1::2].reshape(-1)
    return joined[80:-80]


def voices(low: np.ndarray, frames: int) -> np.ndarray:
    edges = np.geomspace(20, 128, 17).astype(int)
    padded = np.pad(low, (288, 576))
    segments = windows(padded, 576)[::320][: len(low) // 320]
    present = segments[:, :448]
    correlation = autocorrelation(present)
    bands = np.stack([correlation[:, a:b].max(axis=1) for a, b in pairwise(edges)], axis=1)
    period = correlation.argmax(axis=1)[:, None]
    residual = present - np.take_along_axis(segments, np.arange(448) + period, axis=1)
    second = autocorrelation(residual)
    returns = np.rint(period * np.array([0.5, 1, 2, 3, 4]))
    second[(np.abs(np.arange(128) - returns[:, :, None]) <= 4).any(axis=1)] = 0
    second = second.max(axis=1, keepdims=True)
    rest = rms(residual) / (rms(present) + 3e-5)
    columns = [bands, bands.max(axis=1, keepdims=True), rest, second, averaged(second, 13)]
    return np.concatenate(columns, axis=1).repeat(4, axis=0)[:frames]


def autocorrelation(segments: np.ndarray) -> np.ndarray:
    """Return (steps, 128): the normalised correlation of the first 320 samples with those at each lag."""
    level = np.sqrt((windows(segments.astype(np.float64), 320, axis=1) ** 2).sum(axis=-1))[:, :128]
    level += 3e-5 * np.sqrt(320)
    product = np.stack([np.correlate(each[:447], each[:320]) for each in segments])
    correlation = product / (level * level[:, :1])
    correlation[:, :20] = 0
    return correlation


def rms(segments: np.ndarray) -> np.ndarray:
    return np.sqrt((segments**2).mean(axis=1, keepdims=True))
