"""Traces of defects in the waveform, in ONNX.

Each function is the twin of the function or class of the same name in earmark.trainer.features.waveform; that
of `centred` is Centring.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from earmark.trainer.export.graph import Value
from earmark.trainer.export.similarity import filtered
from earmark.trainer.features import waveform
from earmark.trainer.features.spectrum import FRAMES_PER_SECOND


@dataclass(frozen=True, slots=True)
class Frames:
    """The frames of an audio: their number, the first sample of each, and the number of all samples."""

    rate: int
    count: Value
    starts: Value
    samples: Value

    @classmethod
    def of(cls, pcm: Value, rate: int) -> "Frames":
        """The frames of PCM (samples,); the last one may be incomplete."""
        count = (pcm.length() * FRAMES_PER_SECOND + (rate - 1)) / rate
        starts = count.range() * rate / FRAMES_PER_SECOND
        return cls(rate, count, starts, count * rate / FRAMES_PER_SECOND)

    @property
    def hop(self) -> int:
        """The length of the longest frame in samples."""
        return -(-self.rate // FRAMES_PER_SECOND)

    @property
    def lengths(self) -> Value:
        """The length of each frame in samples."""
        ends = (self.count.range() + 1) * self.rate / FRAMES_PER_SECOND
        return ends - self.starts

    def inside(self) -> Value:
        """Return (frames, hop): 1 for the samples of a frame, 0 for one that a short frame lacks."""
        return self.lengths.new_axis(1).compared("Greater", np.arange(self.hop)).cast(np.float32)

    def framed(self, values: Value) -> Value:
        """Return (frames, hop) of values (samples,); a short frame's last value is the next frame's first."""
        return values.pad(0, 1, mode="edge").windows(self.hop, self.starts)

    def spread(self, values: Value) -> Value:
        """Return (samples,): for each sample the value, of (frames,), of its frame."""
        return values.take(((self.samples.range() + 1) * FRAMES_PER_SECOND - 1) / self.rate)


def centred(audio: Value, frames: Frames) -> Value:
    """See the twin."""
    inside = frames.inside()
    offset = (frames.framed(audio) * inside).reduce("Sum") / frames.lengths.cast(np.float32)
    after = waveform.OFFSET_FRAMES // 2 - waveform.OFFSET_ORIGIN
    for _ in range(waveform.OFFSET_PASSES):
        padded = offset.pad(waveform.OFFSET_FRAMES - 1 - after, after, mode="edge")
        offset = padded.sliding(waveform.OFFSET_FRAMES).reduce("Mean")
    offset = offset.abs().compared("Less", waveform.SMALLEST_OFFSET).where(0, offset)
    steps = (offset.cut(1).join(offset.cut(-1), axis=0) - offset) / frames.hop
    within = frames.samples.range() - frames.spread(frames.starts)
    return audio - (frames.spread(offset) + frames.spread(steps) * within.cast(np.float32))


def defects(signal: Value, audio: Value, frames: Frames) -> Value:
    """See the twin."""
    samples = frames.framed(signal).abs()
    peak = samples.reduce("Max")
    local = _pooled("MaxPool", peak, waveform.LOCAL_FRAMES).new_axis(1)
    power = (samples * samples).reduce("Sum") / frames.hop
    slope = _differences(audio)
    bend = _differences(slope)
    slopes, bends = frames.framed(slope).abs(), frames.framed(bend)
    repeated, level = slope.compared("Equal", 0), slope.abs().compared("LessOrEqual", waveform.PLATEAU_STEP)
    plateau = frames.framed(_long_runs(level, waveform.PLATEAU_RUN)).compared("Greater", 0)
    rms, largest_bend = power.sqrt(), _log(bends.abs().reduce("Max"))
    residual = _log(unpredicted(signal, frames))
    largest_residual = residual.reshape(-1, waveform.SLICES).reduce("Max")
    bend_power = (bends * bends).reduce("Sum") / frames.hop
    is_flat = _near(samples, local, waveform.FLAT_SHARE) & local.compared("Greater", waveform.LEVEL_FLOOR)
    is_high = _near(samples, local, waveform.PLATEAU_SHARE) & local.compared(
        "Greater", waveform.PLATEAU_LEVEL
    )
    columns = [
        _log(peak),
        _log(rms),
        _log(slopes.reduce("Max")),
        largest_bend,
        largest_bend - median(largest_bend, waveform.MEDIAN_FRAMES),
        frames.framed(repeated.cast(np.float32)).reduce("Mean"),
        frames.framed(_long_runs(repeated, waveform.REPEATED_RUN)).reduce("Mean"),
        _share(is_flat),
        _log(peak) - _log(rms),
        _log(bend_power.sqrt()) - _log(rms),
        _share(plateau & is_high),
        largest_residual,
        *(_share(_near(samples, local, share)) for share in waveform.NEAR_PEAK),
        isolation(largest_residual, 7, 50, 0.95),
        isolation(largest_residual, 7, 25, 1.0),
        isolation(_log(peak), 7, 50, 0.95),
        *(
            isolation(residual, *around).reshape(-1, waveform.SLICES).reduce("Max")
            for around in waveform.IMPULSES
        ),
        largest_residual - _log(_surrounding(power).sqrt()),
    ]
    first, *others = (column.new_axis(1) for column in columns)
    return first.join(*others, axis=1)


def _differences(values: Value) -> Value:
    """Subtract from each value the one before it; the first result is 0."""
    return values - values.cut(0, 1).join(values.cut(0, -1), axis=0)


def _surrounding(power: Value) -> Value:
    """Average over AVERAGE_FRAMES, of the frames that there are."""
    before = waveform.AVERAGE_FRAMES // 2 + waveform.AVERAGE_ORIGIN
    pads = [before, waveform.AVERAGE_FRAMES - 1 - before]
    row = power.new_axis(0, 1)
    average = row.op("AveragePool", kernel_shape=[waveform.AVERAGE_FRAMES], pads=pads, count_include_pad=0)
    return average.reshape(-1)


def median(values: Value, width: int, ends: str = "edge") -> Value:
    """Return the running median of values (n,), over `width` (odd) places. `ends`: see Value.pad."""
    return values.pad(width // 2, width // 2, mode=ends).sliding(width).largest(width // 2 + 1)


def isolation(level: Value, near: int, far: int, share: float) -> Value:
    """See the twin."""
    width = far - near + 1
    rank = round(share * (width - 1))
    quantile = level.pad(far, far, mode="edge").sliding(width).largest(width - rank)
    before, after = quantile.cut(0, level.length()), quantile.cut(far + near)
    return level - before.op("Max", after)


def unpredicted(signal: Value, frames: Frames) -> Value:
    """See the twin: the filters of all frames are one convolution with a group for each."""
    hop, order = frames.hop, waveform.PREDICTION_ORDER
    before = max(hop // 2, order)
    padded = signal.pad(before, 2 * hop)
    correlation = _autocorrelation(padded.windows(2 * hop, frames.starts + (before - hop // 2)), 2 * hop)
    predictors = _levinson(correlation).reversed(1)
    number = frames.count.range()
    shifts = (-waveform.PREDICTOR_FRAMES, waveform.PREDICTOR_FRAMES)
    places = [(number + shift).clip(0, frames.count - 1) for shift in shifts]
    earlier, later = (predictors.take(place).new_axis(1) for place in places)
    context = padded.windows(hop + order, frames.starts + (before - order))
    inside = frames.inside()
    residual = filtered(context, earlier.join(later, axis=1)).abs() * inside.new_axis(1)
    peaks = residual.take(_slices(hop), axis=2).reduce("Max")
    return peaks.reduce("Min", 1).reshape(-1)


def _slices(hop: int) -> np.ndarray:
    """Return the samples (SLICES, longest) of a frame's slices; a short one has its last sample twice."""
    edges = [*(np.arange(waveform.SLICES) * hop // waveform.SLICES), hop]
    places = np.arange(-(-hop // waveform.SLICES))
    return np.array([np.minimum(start + places, end - 1) for start, end in pairwise(edges)])


def _autocorrelation(windows: Value, size: int) -> Value:
    """Return the autocorrelations (frames, PREDICTION_ORDER + 1) float64 of windows (frames, size)."""
    weighted = windows * np.hanning(size).astype(np.float32)
    lags = [
        (weighted.cut(0, size - lag, axis=1) * weighted.cut(lag, axis=1)).reduce("Sum", keep=True)
        for lag in range(waveform.PREDICTION_ORDER + 1)
    ]
    return lags[0].join(*lags[1:], axis=1).cast(np.float64)


def _levinson(correlation: Value) -> Value:
    """See the twin; the recursion is unrolled."""
    first = correlation.cut(0, 1, axis=1)
    error = first * (1 + waveform.PREDICTION_FLOOR) + waveform.LEVEL_FLOOR**2
    filters = first * 0 + 1
    for order in range(1, waveform.PREDICTION_ORDER + 1):
        # The filter so far, against the correlations of the lags from `order` down to 1.
        past = correlation.cut(order, 0, axis=1, step=-1)
        reflection = -((filters * past).reduce("Sum", keep=True) / error)
        extended = filters.pad(0, 1, axis=1)
        filters = extended + reflection * extended.reversed(1)
        error = error * (1 - reflection * reflection)
    return filters.cast(np.float32)


def _long_runs(values: Value, length: int) -> Value:
    """Return 1 at the end of every `length` true values in a row, else 0, float32."""
    missing = 1 - values.cast(np.float32).pad(length - 1, 0).new_axis(0, 1)
    return 1 - missing.op("MaxPool", kernel_shape=[length]).reshape(-1)


def _pooled(operator: str, values: Value, width: int) -> Value:
    """Pool values (n,) over `width` (odd) places around each."""
    row = values.new_axis(0, 1)
    return row.op(operator, kernel_shape=[width], pads=[width // 2, width // 2]).reshape(-1)


def _near(samples: Value, local: Value, share: float) -> Value:
    return samples.compared("GreaterOrEqual", local * share)


def _share(values: Value) -> Value:
    return values.cast(np.float32).reduce("Mean")


def _log(values: Value) -> Value:
    return (values + waveform.LEVEL_FLOOR).log()
