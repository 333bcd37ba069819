"""Similarity and pitch in ONNX.

Each function is the twin of the function or class of the same name in earmark.trainer.features.similarity.
"""

import math
from itertools import pairwise

import numpy as np

from earmark.trainer.export.graph import Value
from earmark.trainer.features import similarity
from earmark.trainer.features.similarity import (
    LAG_HOP,
    LAGS,
    LONGEST_LAG,
    PITCH_EDGES,
    PITCH_HOP,
    PITCH_LEVEL,
    PITCH_REACH,
    PITCH_WINDOW,
    SMOOTHING_STEPS,
    STEP_FRAMES,
    TEMPLATE,
)


def filtered(rows: Value, filters: Value) -> Value:
    """Filter each row of (rows, n) with its own of the filters (rows, filters, taps).

    The result is (rows, filters, n - taps + 1).
    """

    def convolved(row: Value, of_row: Value) -> Value:
        return row.new_axis(0, 1).op("Conv", of_row.new_axis(1)).without_axis(0)

    return rows.graph.rows(convolved, rows, filters)


def repeats(low: Value, frames: Value) -> Value:
    """See the twin; `low` has whole steps at PITCH_RATE."""
    correlation = lag_correlation(whitened(halved(low)), low.length() / PITCH_HOP)
    columns = []
    for width in SMOOTHING_STEPS:
        smooth = moving_average(correlation, width)
        bands = smooth.reshape(-1, similarity.LAG_BANDS, LAGS // similarity.LAG_BANDS)
        highest = bands.reduce("Max")
        columns += [highest, highest.reduce("Max", keep=True)]
        if width == SMOOTHING_STEPS[1]:
            best = _argmax(smooth).cast(np.float32) / LAGS
    return columns[0].join(*columns[1:], best, axis=1).repeated(STEP_FRAMES, frames)


def halved(low: Value) -> Value:
    """From PITCH_RATE to LAG_RATE; the filter is that of the twin `_halving`."""
    reach = similarity.HALVING_REACH
    places = np.arange(-reach, reach + 1)
    taps = np.sinc(2 * similarity.HALVING_CUTOFF * places) * np.kaiser(len(places), similarity.HALVING_BETA)
    kernel = (taps / taps.sum()).astype(np.float32)[None, None]
    return low.new_axis(0, 1).op("Conv", kernel, strides=[2], pads=[reach, reach]).reshape(-1)


def _argmax(values: Value) -> Value:
    return values.op("ArgMax", axis=-1).typed(np.int64)


def whitened(signal: Value) -> Value:
    """See the twin; the Fourier transforms are matrix products."""
    size = similarity.WHITENING_WINDOW
    hop, bins = size // 2, size // 2 + 1
    window = np.sqrt(np.hanning(size + 1)[:-1]).astype(np.float32)
    angles = 2 * np.pi * (np.arange(size)[:, None] * np.arange(bins) % size) / size
    cosines, sines = np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)
    padded = signal.pad(hop, hop)
    count = (padded.length() - size) / hop + 1
    parts = padded.windows(size, count.range() * hop) * window
    real, imaginary = parts @ cosines, parts @ -sines
    magnitude = (real * real + imaginary * imaginary).sqrt()
    near = similarity.WHITENING_BINS // 2
    around = magnitude.pad(near, near, axis=1, mode="edge").new_axis(1)
    kernel = [similarity.WHITENING_BINS]
    envelope = around.op("AveragePool", kernel_shape=kernel).without_axis(1)
    level = envelope + similarity.WHITENING_LEVEL
    # The inverse: every bin but the first and the last stands for two.
    twice = np.where(np.isin(np.arange(bins), (0, bins - 1)), 1, 2)[:, None] / size
    back = (twice * cosines.T).astype(np.float32), (twice * -sines.T).astype(np.float32)
    flat = ((real / level) @ back[0] + (imaginary / level) @ back[1]) * window
    even, odd = flat.cut(0, step=2).reshape(-1), flat.cut(1, step=2).reshape(-1).pad(hop, hop)
    return (even + odd).cut(hop, -hop)


def lag_correlation(signal: Value, steps: Value) -> Value:
    """See the twin; the correlation is a convolution for each step."""
    padded = signal.pad(LONGEST_LAG + TEMPLATE - LAG_HOP, 0)
    power = _window_energy(padded, TEMPLATE).sqrt() + similarity.LAG_LEVEL * math.sqrt(TEMPLATE)
    inverse = 1 / power.cast(np.float32)
    starts = steps.range() * LAG_HOP
    templates = padded.windows(TEMPLATE, starts + LONGEST_LAG)
    segments = padded.windows(LAGS + TEMPLATE - 1, starts)
    correlation = filtered(segments, templates.new_axis(1)).without_axis(1)
    present = inverse.take(starts + LONGEST_LAG).new_axis(1)
    return correlation * inverse.windows(LAGS, starts) * present


def _window_energy(values: Value, width: int) -> Value:
    """Return the energy of each `width` values in a row of the last axis, float64."""
    squares = values.cast(np.float64)
    axis = np.array(-1)
    energy = (squares * squares).pad(1, 0, axis=-1).op("CumSum", axis)
    return (energy.cut(width, axis=-1) - energy.cut(0, -width, axis=-1)).op("Max", 0.0)


def moving_average(values: Value, width: int) -> Value:
    """See the twin."""
    pads = [width // 2, 0, width // 2, 0]
    rows = values.new_axis(0, 1)
    average = rows.op("AveragePool", kernel_shape=[width, 1], pads=pads, count_include_pad=1)
    return average.without_axis(0, 1)


def voices(low: Value, frames: Value) -> Value:
    """See the twin; `low` has whole steps at PITCH_RATE."""
    steps = low.length() / PITCH_HOP
    longest = PITCH_EDGES[-1]
    segments = low.pad(PITCH_REACH // 2, PITCH_REACH).windows(PITCH_REACH, steps.range() * PITCH_HOP)
    present = segments.cut(0, PITCH_WINDOW + longest, axis=1)
    correlation = _autocorrelation(present)
    bands = [correlation.cut(a, b, axis=1).reduce("Max", keep=True) for a, b in pairwise(PITCH_EDGES)]
    period = _argmax(correlation)
    later = segments.op("GatherElements", period + np.arange(PITCH_WINDOW + longest), axis=1)
    residual = present - later
    second = _away_from(period, _autocorrelation(residual)).reduce("Max", keep=True)
    amplitude = _rms(residual) / (_rms(present) + PITCH_LEVEL)
    columns = [
        *bands,
        bands[0].join(*bands[1:], axis=1).reduce("Max", keep=True),
        amplitude,
        second,
        moving_average(second, SMOOTHING_STEPS[-1]),
    ]
    return columns[0].join(*columns[1:], axis=1).repeated(STEP_FRAMES, frames)


def _autocorrelation(segments: Value) -> Value:
    """Return the normalised autocorrelation (steps, lags) of segments (steps, PITCH_WINDOW + lags)."""
    lags = PITCH_EDGES[-1]
    energy = _window_energy(segments, PITCH_WINDOW).cut(0, lags, axis=1)
    power = energy.sqrt().cast(np.float32) + PITCH_LEVEL * math.sqrt(PITCH_WINDOW)
    product = filtered(segments.cut(0, -1, axis=1), segments.cut(0, PITCH_WINDOW, axis=1).new_axis(1))
    correlation = product.without_axis(1) / (power * power.cut(0, 1, axis=1))
    return correlation * (np.arange(lags) >= PITCH_EDGES[0]).astype(np.float32)


def _away_from(period: Value, correlation: Value) -> Value:
    """Return the correlation with 0 at the lags close to those at which the pitch itself would return."""
    lags = np.arange(PITCH_EDGES[-1], dtype=np.float32)
    returns = (period.cast(np.float32) * np.array(similarity.PERIOD_FACTORS, np.float32)).op("Round")
    distance = (returns.new_axis(2) - lags).abs().reduce("Min", 1)
    return distance.compared("Greater", similarity.PERIOD_TOLERANCE).where(correlation, 0)


def _rms(segments: Value) -> Value:
    return (segments * segments).reduce("Mean", keep=True).sqrt()
