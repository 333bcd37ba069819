"""What defects leave in a waveform, seen at the file's own rate: resampling would smooth it away.

Resampling 44.1 to 16 kHz takes the share of flat-topped samples of a clipped signal from 37 % to 0 and a
click of one sample from 0.78 to 0.27. No input or output.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy import fft, ndimage

DEFECTS = 19
LEVEL_COLUMNS = (0, 1, 2, 3, 11)  # those that follow the signal's level: ln amplitudes
LEVEL_FLOOR = 1e-5  # a third of one 16-bit step
MEDIAN_FRAMES = 51  # half a second: longer than a click, shorter than a change of speaker
LOCAL_FRAMES = 7  # the neighbourhood in which a flat top is the highest there is
FLAT_SHARE = 0.98  # a top is flat where it comes this close to the local peak
HELD_RUN = 8  # equal samples in a row that no quiet passage of 16-bit speech keeps up
PLATEAU_RUN = 2
PLATEAU_SHARE = 0.9  # of the local peak: what is flat up there was cut off
PLATEAU_STEP = 1.5 / (1 << 15)  # samples of a plateau differ by rounding at most
PLATEAU_LEVEL = 30 / (1 << 15)  # under it, rounding alone makes plateaus
PREDICTION_ORDER = 16
PREDICTOR_FRAMES = 2
SLICES = 10  # of a frame: the millisecond in which a click is over
IMPULSES = ((4, 25, 0.5), (4, 25, 0.8), (8, 40, 0.8))  # milliseconds and quantile of what lies around a click
USUAL_FRAMES = 200
PREDICTION_FLOOR = 1e-4  # of the power, so that silence has a predictor too


def defects(audio: np.ndarray, rate: int, frames: int) -> np.ndarray:
    """(channels, samples) to (frames, DEFECTS) float32, the maximum of the channels.

    Columns, each of one 10 ms frame: ln peak, ln rms, ln of the largest first and second difference, that
    against its running median, share of samples that repeat the one before, share in long runs of them,
    share of flat tops, crest factor (ln), high to low energy (ln), share of plateaus near the peak, ln of
    the largest unpredicted sample, its isolation within half a second and a quarter, the peak's isolation,
    the unpredicted milliseconds' isolation within 25 and 40 ms, and the largest against the level of two
    seconds.
    """
    starts = np.arange(frames) * rate // 100
    return np.stack([_channel(channel, starts) for channel in audio]).max(axis=0)


def _channel(signal: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """(samples,) to (frames, DEFECTS); frame i begins at sample `starts[i]`."""
    counts = np.diff(np.append(starts, len(signal))).astype(np.float32)
    slope = np.diff(signal, prepend=signal[:1])
    bend = np.diff(slope, prepend=slope[:1])
    magnitude = np.abs(signal)

    def highest(values: np.ndarray) -> np.ndarray:
        return np.maximum.reduceat(values, starts)

    def share(values: np.ndarray) -> np.ndarray:
        return np.add.reduceat(values, starts, dtype=np.float32) / counts

    peak, power = highest(magnitude), share(signal * signal)
    sharpest = _log(highest(np.abs(bend)))
    held = slope == 0
    local = np.repeat(ndimage.maximum_filter1d(peak, LOCAL_FRAMES, mode="nearest"), counts.astype(np.int64))
    flat = (magnitude >= FLAT_SHARE * local) & (local > LEVEL_FLOOR)
    plateau = _long_runs(np.abs(slope) <= PLATEAU_STEP, PLATEAU_RUN)
    plateau &= (magnitude >= PLATEAU_SHARE * local) & (local > PLATEAU_LEVEL)
    rms = np.sqrt(power)
    sudden = _log(unpredicted(signal, starts))
    surprise = sudden.reshape(-1, SLICES).max(axis=1)
    usual = ndimage.uniform_filter1d(power, USUAL_FRAMES, mode="reflect")
    columns = [
        _log(peak),
        _log(rms),
        _log(highest(np.abs(slope))),
        sharpest,
        sharpest - ndimage.median_filter(sharpest, MEDIAN_FRAMES, mode="nearest"),
        share(held),
        share(_long_runs(held, HELD_RUN)),
        share(flat),
        _log(peak) - _log(rms),
        _log(np.sqrt(share(bend * bend))) - _log(rms),
        share(plateau),
        surprise,
        isolation(surprise, 7, 50, 0.95),
        isolation(surprise, 7, 25, 1.0),
        isolation(_log(peak), 7, 50, 0.95),
        *(isolation(sudden, *around).reshape(-1, SLICES).max(axis=1) for around in IMPULSES),
        surprise - _log(np.sqrt(usual)),
    ]
    return np.stack(columns, axis=1).astype(np.float32)


def _log(values: np.ndarray) -> np.ndarray:
    return np.log(values + LEVEL_FLOOR)


def unpredicted(signal: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """(samples,) to (frames * SLICES,): the largest sample per millisecond that nothing around it predicts.

    Speech is predictable, a click is not, and stands out of the residual of linear prediction several times
    further than out of the signal. A predictor that has seen the click predicts it, so those of the frames
    PREDICTOR_FRAMES before and after are asked, and the better one counts: an onset is predicted from
    behind. Frame i begins at sample `starts[i]`. Predictors are of two frames, by Levinson's recursion
    (Makhoul, Linear prediction: a tutorial review, 1975), all frames at once.
    """
    counts = np.diff(starts, append=len(signal))
    hop = int(counts.max())
    before = max(hop // 2, PREDICTION_ORDER)
    padded = np.pad(signal, (before, 2 * hop))
    window = np.hanning(2 * hop).astype(np.float32)
    around = sliding_window_view(padded, 2 * hop)[starts + before - hop // 2] * window
    predictors = _levinson(_autocorrelation(around))
    context = sliding_window_view(padded, hop + PREDICTION_ORDER)[starts + before - PREDICTION_ORDER]
    frames, outside = np.arange(len(starts)), np.arange(hop) >= counts[:, None]
    peaks = [
        _residual_peaks(predictors[np.clip(frames + shift, 0, len(starts) - 1)], context, outside)
        for shift in (-PREDICTOR_FRAMES, PREDICTOR_FRAMES)
    ]
    return np.minimum(*peaks).reshape(-1)


def _residual_peaks(predictors: np.ndarray, context: np.ndarray, outside: np.ndarray) -> np.ndarray:
    """(frames, SLICES) of `context` (frames, order + hop) filtered by `predictors`, where not `outside`."""
    hop = outside.shape[1]
    residual = np.zeros(outside.shape, np.float32)
    for delay in range(PREDICTION_ORDER + 1):
        first = PREDICTION_ORDER - delay
        residual += predictors[:, delay : delay + 1] * context[:, first : first + hop]
    residual[outside] = 0
    return np.maximum.reduceat(np.abs(residual), np.arange(SLICES) * hop // SLICES, axis=1)


def isolation(level: np.ndarray, near: int, far: int, share: float) -> np.ndarray:
    """(n,) to the same: how far a level stands out of those `near` to `far` places before, and after.

    The `share` quantile of each side is its level, and the louder side counts: neither the start of a word
    nor its end stands out.
    """
    width = far - near + 1
    sides = sliding_window_view(np.pad(level, far, mode="edge"), width)
    rank = round(share * (width - 1))
    quantile = np.partition(sides, rank, axis=1)[:, rank]
    return level - np.maximum(quantile[: len(level)], quantile[far + near :][: len(level)])


def _autocorrelation(windows: np.ndarray) -> np.ndarray:
    """(frames, samples) to (frames, PREDICTION_ORDER + 1) float64."""
    size = fft.next_fast_len(windows.shape[1] + PREDICTION_ORDER, real=True)
    spectrum = fft.rfft(windows, size)
    return fft.irfft(spectrum.real**2 + spectrum.imag**2, size)[:, : PREDICTION_ORDER + 1].astype(np.float64)


def _levinson(correlation: np.ndarray) -> np.ndarray:
    """(frames, order + 1) autocorrelations to as many taps of error filters, float32; the first is 1."""
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


def _long_runs(held: np.ndarray, length: int) -> np.ndarray:
    """True at the end of `length` (a power of two) true values in a row."""
    run = held.copy()
    reach = 1
    while reach < length:  # doubling: run[i] says that `reach` values up to i are true
        run[reach:] &= run[:-reach]
        run[:reach] = False
        reach *= 2
    return run
