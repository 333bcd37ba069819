"""Traces of defects in the waveform, at the file's own rate, because resampling would smooth them away.

Resampling from 44.1 to 16 kHz lowers the share of flat-topped samples in a clipped signal from 37 % to 0, and
a click of one sample from 0.78 to 0.27. This module does no input or output.
"""

from functools import cache

import numpy as np
from jaxtyping import Float, Float32, Int64
from numpy.lib.stride_tricks import sliding_window_view
from scipy import fft, ndimage  # type: ignore[import-untyped]  # it has no stubs

from earmark.trainer.features.streams import Rows, Side, Window, product

DEFECTS = 21
LEVEL_COLUMNS = (0, 1, 2, 3, 11)  # ln amplitudes: these columns follow the signal's level
LEVEL_FLOOR = 1e-5  # a third of one 16-bit step
MEDIAN_FRAMES = 51  # half a second: longer than a click, shorter than a change of speaker
LOCAL_FRAMES = 7  # the neighbourhood in which a flat top is the highest there is
FLAT_SHARE = 0.98  # of the local peak: samples at least this high belong to a flat top
REPEATED_RUN = 8  # equal samples in a row: more than quiet passages of 16-bit speech have
PLATEAU_RUN = 2
PLATEAU_SHARE = 0.9  # of the local peak: a signal that is flat above this was cut off
PLATEAU_STEP = 1.5 / (1 << 15)  # samples of a plateau differ by rounding at most
PLATEAU_LEVEL = 30 / (1 << 15)  # below this level, rounding alone makes plateaus
NEAR_PEAK = (0.8, 0.9)  # of the local peak: resampling ripples a flat top
PREDICTION_ORDER = 16
PREDICTOR_FRAMES = 2
SLICES = 10  # per frame: a click is over within one millisecond
# Nearest and furthest millisecond of the surroundings of a click, and the quantile that is their level.
IMPULSES = ((4, 25, 0.5), (4, 25, 0.8), (8, 40, 0.8))
AVERAGE_FRAMES = 200
AVERAGE_ORIGIN = 50  # the average is of the last 1.5 s and of the next half second
MEASURED = 11  # columns of a frame that need next to no context
MEASURED_PAST, MEASURED_FUTURE = 8, 4  # of LOCAL_FRAMES and of PREDICTOR_FRAMES, and the frames around these
ISOLATION_FRAMES = 50
IMPULSE_FRAMES = 4  # that contain the surroundings of a click
FRAMES_AT_A_TIME = 128  # whose samples stay in a cache
OFFSET_FRAMES, OFFSET_PASSES = 33, 3  # together about a second
OFFSET_ORIGIN = 13  # each pass looks three frames forward and the others back
OFFSET_PAST = OFFSET_PASSES * (OFFSET_FRAMES // 2 + OFFSET_ORIGIN)
OFFSET_FUTURE = OFFSET_PASSES * (OFFSET_FRAMES // 2 - OFFSET_ORIGIN) + 1
SMALLEST_OFFSET = 1e-7
PREDICTION_FLOOR = 1e-4  # share of the power that is added, so that silence has a predictor too


def framed(values: np.ndarray, starts: np.ndarray, hop: int) -> np.ndarray:
    """Return (frames, hop) values of each frame; frame i begins at `starts[i]`.

    Where the rate is no multiple of 100 Hz, some frames have one sample less: there the first one of the next
    frame is the last.
    """
    missing = int(starts[-1]) + hop - len(values)
    if missing > 0:
        values = np.pad(values, (0, missing), mode="edge")
    if int(starts[-1] - starts[0]) == (len(starts) - 1) * hop:
        return values[starts[0] : starts[-1] + hop].reshape(-1, hop)
    result: np.ndarray = sliding_window_view(values, hop)[starts]
    return result


class Centring:
    """Removes a constant offset, and what moves as slowly: the average of the second before each sample.

    It is averaged OFFSET_PASSES times, so that speech does not leak into it. The longest frame has `hop`
    samples.
    """

    def __init__(self, hop: int) -> None:
        self._hop = hop
        self._lines = Window(_offset_lines, OFFSET_PAST, OFFSET_FUTURE, 2)

    def lines(
        self, audio: Float32[np.ndarray, " samples"], starts: Int64[np.ndarray, " _"], *, last: bool
    ) -> Float32[np.ndarray, "frames 2"]:
        """Take further audio. Return the offset at the start of each frame that has one now, and its rise.

        The frames of the audio begin at `starts`, whose last is the end of the audio.
        """
        sums = np.add.reduceat(audio, starts[:-1], dtype=np.float64) if len(starts) > 1 else np.empty(0)
        means: np.ndarray = (sums / np.diff(starts))[:, None]
        return self._lines.push(means, last=last)

    def removed(
        self,
        audio: Float32[np.ndarray, " samples"],
        starts: Int64[np.ndarray, " _"],
        lines: Float32[np.ndarray, "frames 2"],
    ) -> Float32[np.ndarray, " samples"]:
        """Return the audio of these frames without the offset."""
        if not lines.any():
            return audio
        places = np.arange(self._hop, dtype=np.float32)[None]
        offsets = lines[:, 1:] / np.float32(self._hop) * places + lines[:, :1]
        inside = places < np.diff(starts)[:, None]
        centred: np.ndarray = audio - (offsets.reshape(-1) if inside.all() else offsets[inside])
        return centred


def _offset_lines(means: np.ndarray, part: slice) -> np.ndarray:
    offset = means[:, 0]
    for _ in range(OFFSET_PASSES):
        offset = ndimage.uniform_filter1d(offset, OFFSET_FRAMES, mode="nearest", origin=OFFSET_ORIGIN)
    offset = np.where(np.abs(offset) < SMALLEST_OFFSET, 0, offset)
    rise = np.diff(offset, append=offset[-1:])
    return np.stack([offset, rise], axis=1)[part].astype(np.float32)


class Defects:
    """Measures the traces of defects in each 10 ms frame.

    Columns: ln peak, ln rms, ln of the largest first and of the largest second difference, the latter against
    its running median, share of samples that repeat the one before, share of samples in long runs of them,
    share of flat tops, crest factor (ln), ratio of high to low energy (ln), share of plateaus near the peak,
    ln of the largest unpredicted sample, shares of samples near the peak (two), the isolation of the
    unpredicted sample within half a second and within a quarter, the peak's isolation, the isolation of the
    unpredicted milliseconds within 25 ms (with two quantiles) and 40 ms, and the largest unpredicted sample
    against the average level of two seconds.
    """

    def __init__(self) -> None:
        self._columns = Window(_defect_columns, ISOLATION_FRAMES, ISOLATION_FRAMES, DEFECTS - 1)
        self._averages = Window(
            _level_columns, AVERAGE_FRAMES // 2 + AVERAGE_ORIGIN, AVERAGE_FRAMES // 2 - AVERAGE_ORIGIN, 1
        )
        self._joined = Side()

    def push(self, measured: Rows, *, last: bool = False) -> Rows:
        """Return (frames, DEFECTS) from what `measured` returned."""
        return self._joined.push(
            self._columns.push(measured, last=last), self._averages.push(measured, last=last)
        )


def _defect_columns(measured: np.ndarray, part: slice) -> np.ndarray:
    peak, power, slope, bend, bend_power, *shares = measured[:, :MEASURED].T
    repeated, frozen, flat, plateau, *near_peak = (column[part] for column in shares)
    largest_residual = measured[:, MEASURED:].max(axis=1)
    rms = _log(np.sqrt(power[part]))
    largest_bend = _log(bend)
    columns = [
        _log(peak)[part],
        rms,
        _log(slope)[part],
        largest_bend[part],
        (largest_bend - ndimage.median_filter(largest_bend, MEDIAN_FRAMES, mode="nearest"))[part],
        repeated,
        frozen,
        flat,
        _log(peak)[part] - rms,
        _log(np.sqrt(bend_power[part])) - rms,
        plateau,
        largest_residual[part],
        *near_peak,
        isolation(largest_residual, 7, ISOLATION_FRAMES, 0.95)[part],
        isolation(largest_residual, 7, ISOLATION_FRAMES // 2, 1.0)[part],
        isolation(_log(peak), 7, ISOLATION_FRAMES, 0.95)[part],
        *_impulses(measured[:, MEASURED:], part),
    ]
    return np.stack(columns, axis=1).astype(np.float32)


def _impulses(residual: np.ndarray, part: slice) -> list[np.ndarray]:
    begin, end = max(0, part.start - IMPULSE_FRAMES), part.stop + IMPULSE_FRAMES
    slices, own = residual[begin:end].reshape(-1), slice(part.start - begin, part.stop - begin)
    return [
        isolation(slices, *surroundings).reshape(-1, SLICES).max(axis=1)[own] for surroundings in IMPULSES
    ]


def _level_columns(measured: np.ndarray, part: slice) -> np.ndarray:
    power, largest_residual = measured[:, 1], measured[part, MEASURED:].max(axis=1)
    # Of the frames that there are: beyond the ends, nothing counts.
    total, frames = (
        ndimage.uniform_filter1d(each, AVERAGE_FRAMES, mode="constant", origin=AVERAGE_ORIGIN)[part]
        for each in (power.astype(np.float64), np.ones(len(power)))
    )
    level: np.ndarray = largest_residual - _log(np.sqrt(np.maximum(total, 0) / frames))
    return level[:, None]


def measured(
    signal: Float32[np.ndarray, " samples"],
    audio: Float32[np.ndarray, " samples"],
    starts: Int64[np.ndarray, " frames"],
    hop: int,
) -> Float32[np.ndarray, "frames columns"]:
    """Measure each frame, with no more context than MEASURED_PAST and MEASURED_FUTURE frames.

    `signal` is the audio without its offset. The columns are MEASURED of the waveform, then ln of the largest
    unpredicted sample of each millisecond.
    """
    parts = [
        _measured(signal, audio, starts, hop, slice(first, min(len(starts), first + FRAMES_AT_A_TIME)))
        for first in range(0, len(starts), FRAMES_AT_A_TIME)
    ]
    residual = _log(unpredicted(signal, starts, hop)).reshape(-1, SLICES)
    return np.concatenate([np.concatenate(parts), residual], axis=1, dtype=np.float32)


def _measured(signal: np.ndarray, audio: np.ndarray, starts: np.ndarray, hop: int, part: slice) -> np.ndarray:
    """Measure some of the frames, so few that their samples stay in a cache: (frames, MEASURED)."""
    nearby = slice(max(0, part.start - LOCAL_FRAMES), min(len(starts), part.stop + LOCAL_FRAMES))
    own = slice(part.start - nearby.start, part.stop - nearby.start)
    first, last = int(starts[nearby.start]), min(len(signal), int(starts[nearby.stop - 1]) + hop)
    places = starts[nearby] - first
    magnitude = np.abs(framed(signal[first:last], places, hop))
    local = ndimage.maximum_filter1d(magnitude.max(axis=1), LOCAL_FRAMES, mode="nearest")[own, None]
    samples, places = magnitude[own], places[own]
    slope = np.empty(last - first, np.float32)
    slope[0] = audio[first] - audio[max(0, first - 1)]
    np.subtract(audio[first + 1 : last], audio[first : last - 1], out=slope[1:])
    bend = np.concatenate([[np.float32(0)], slope[1:] - slope[:-1]])
    slopes, bends = framed(slope, places, hop), framed(bend, places, hop)
    repeated, level = slope == 0, np.abs(slope) <= PLATEAU_STEP
    plateau = framed(_long_runs(level, PLATEAU_RUN), places, hop)
    columns = (
        samples.max(axis=1),
        np.einsum("fh,fh->f", samples, samples) / hop,
        np.maximum(slopes.max(axis=1), -slopes.min(axis=1)),
        np.maximum(bends.max(axis=1), -bends.min(axis=1)),
        np.einsum("fh,fh->f", bends, bends) / hop,
        _share(framed(repeated, places, hop)),
        _share(framed(_long_runs(repeated, REPEATED_RUN), places, hop)),
        _share((samples >= FLAT_SHARE * local) & (local > LEVEL_FLOOR)),
        _share(plateau & (samples >= PLATEAU_SHARE * local) & (local > PLATEAU_LEVEL)),
        *(_share(samples >= share * local) for share in NEAR_PEAK),
    )
    return np.stack(columns, axis=1)


def _share(values: np.ndarray) -> np.ndarray:
    """Return the share (0-1) of true values in each row."""
    share: np.ndarray = np.count_nonzero(values, axis=1).astype(np.float32) / values.shape[1]
    return share


def _log(values: np.ndarray) -> np.ndarray:
    logarithm: np.ndarray = np.log(values + LEVEL_FLOOR)
    return logarithm


def unpredicted(
    signal: Float32[np.ndarray, " samples"], starts: Int64[np.ndarray, " frames"], hop: int
) -> Float32[np.ndarray, " slices"]:
    """Return the largest sample of each millisecond that its surroundings do not predict.

    The result has SLICES values per frame; frame i begins at sample `starts[i]`. Speech is predictable and a
    click is not, so a click stands out of the residual of linear prediction several times further than out
    of the signal. A predictor that was computed from the click predicts it. So each frame is predicted with
    the predictors of the frames PREDICTOR_FRAMES before and after it, and the smaller residual counts: the
    onset of a sound is predicted from the frames behind it. The predictors are computed on two frames each,
    all at once, with Levinson's recursion (Makhoul, Linear prediction: a tutorial review, 1975).
    """
    before = max(hop // 2, PREDICTION_ORDER)
    padded = np.pad(signal, (before, 2 * hop))
    numbers = np.arange(len(starts))
    groups = np.split(numbers, numbers[FRAMES_AT_A_TIME::FRAMES_AT_A_TIME])
    windows = sliding_window_view(padded, 2 * hop)
    correlation = np.concatenate(
        [_autocorrelation(windows[starts[group] + before - hop // 2]) for group in groups]
    )
    predictors = _levinson(correlation)[:, ::-1]
    outside = np.arange(hop) >= np.diff(starts, append=len(signal))[:, None]
    peaks = np.empty((len(starts), SLICES), np.float32)
    for group in groups:
        begins = starts[group] + before - PREDICTION_ORDER
        context = sliding_window_view(
            framed(padded[: begins[-1] + hop + PREDICTION_ORDER], begins, hop + PREDICTION_ORDER),
            PREDICTION_ORDER + 1,
            axis=1,
        )
        earlier, later = (
            _residual_peaks(context, predictors[np.clip(group + shift, 0, len(starts) - 1)], outside[group])
            for shift in (-PREDICTOR_FRAMES, PREDICTOR_FRAMES)
        )
        peaks[group] = np.minimum(earlier, later)
    return peaks.reshape(-1)


def _residual_peaks(context: np.ndarray, filters: np.ndarray, outside: np.ndarray) -> np.ndarray:
    """Filter `context` (frames, hop, taps) with `filters` (frames, taps); return the peaks (frames, SLICES).

    Samples at which `outside` (frames, hop) is true do not count.
    """
    residual = np.abs(np.einsum("fht,ft->fh", context, filters))
    residual[outside] = 0
    hop = outside.shape[1]
    peaks: np.ndarray = np.maximum.reduceat(residual, np.arange(SLICES) * hop // SLICES, axis=1)
    return peaks


def isolation(level: Float[np.ndarray, " n"], near: int, far: int, share: float) -> Float[np.ndarray, " n"]:
    """Measure how far a level stands out of the levels `near` to `far` places before it and after it.

    The level of each side is its `share` quantile, and the louder side counts. So neither the start of a word
    nor its end stands out.
    """
    width = far - near + 1
    sides = sliding_window_view(np.pad(level, far, mode="edge"), width)
    rank = round(share * (width - 1))
    quantile = np.partition(sides, rank, axis=1)[:, rank]
    return level - np.maximum(quantile[: len(level)], quantile[far + near :][: len(level)])


def _autocorrelation(windows: np.ndarray) -> np.ndarray:
    """Return the autocorrelations (frames, PREDICTION_ORDER + 1) float64 of windows (frames, samples)."""
    samples = windows.shape[1]
    size = fft.next_fast_len(samples + PREDICTION_ORDER, real=True)
    spectrum = fft.rfft(windows * np.hanning(samples).astype(np.float32), size)
    correlation = product(spectrum.real**2 + spectrum.imag**2, _cosines(size))
    return correlation.astype(np.float64)


@cache
def _cosines(size: int) -> Float32[np.ndarray, "bins lags"]:
    """Return what turns a power spectrum into the first lags of the autocorrelation; few lags are needed."""
    lags, bins = np.arange(PREDICTION_ORDER + 1), np.arange(size // 2 + 1)
    twice = np.where((bins == 0) | (2 * bins == size), 1, 2)[:, None]
    cosines: np.ndarray = twice * np.cos(2 * np.pi * np.outer(bins, lags) / size) / size
    return cosines.astype(np.float32)


def _levinson(correlation: np.ndarray) -> np.ndarray:
    """Turn autocorrelations (frames, order + 1) into as many taps of error filters, float32; the first is 1.

    `correlation` is changed in place.
    """
    correlation[:, 0] = correlation[:, 0] * (1 + PREDICTION_FLOOR) + LEVEL_FLOOR**2
    filters = np.zeros_like(correlation)
    filters[:, 0] = 1
    error = correlation[:, 0].copy()
    for order in range(1, correlation.shape[1]):
        past = correlation[:, order - 1 : 0 : -1]
        reflection = -(correlation[:, order] + (filters[:, 1:order] * past).sum(axis=1)) / error
        filters[:, 1 : order + 1] += reflection[:, None] * filters[:, order - 1 :: -1][:, :order]
        error *= 1 - reflection**2
    return filters.astype(np.float32)


def _long_runs(values: np.ndarray, length: int) -> np.ndarray:
    """Return True at the end of every `length` (a power of two) true values in a row."""
    run = values.copy()
    reach = 1
    while reach < length:  # doubling: run[i] is true if the `reach` values up to i are true
        run[reach:] &= run[:-reach]
        run[:reach] = False
        reach *= 2
    return run
