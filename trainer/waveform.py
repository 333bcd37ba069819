"""What defects leave in a waveform, seen at the file's own rate: resampling would smooth it away.

Resampling 44.1 to 16 kHz takes the share of flat-topped samples of a clipped signal from 37 % to 0 and a
click of one sample from 0.78 to 0.27. No input or output.
"""

import numpy as np
from scipy import ndimage

DEFECTS = 10
LEVEL_FLOOR = 1e-5  # a third of one 16-bit step
MEDIAN_FRAMES = 51  # half a second: longer than a click, shorter than a change of speaker
LOCAL_FRAMES = 7  # the neighbourhood in which a flat top is the highest there is
FLAT_SHARE = 0.98  # a top is flat where it comes this close to the local peak
HELD_RUN = 8  # equal samples in a row that no quiet passage of 16-bit speech keeps up


def defects(audio: np.ndarray, rate: int, frames: int) -> np.ndarray:
    """(channels, samples) to (frames, DEFECTS) float32, the maximum of the channels.

    Columns, each of one 10 ms frame: ln peak, ln rms, ln of the largest first and second difference, that
    against its running median, share of samples that repeat the one before, share in long runs of them,
    share of flat tops, crest factor (ln), and high to low energy (ln).
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
    rms = np.sqrt(power)
    columns = [
        _log(peak),
        _log(rms),
        _log(highest(np.abs(slope))),
        sharpest,
        sharpest - ndimage.median_filter(sharpest, MEDIAN_FRAMES, mode="nearest"),
        share(held),
        share(_long_runs(held)),
        share(flat),
        _log(peak) - _log(rms),
        _log(np.sqrt(share(bend * bend))) - _log(rms),
    ]
    return np.stack(columns, axis=1).astype(np.float32)


def _log(values: np.ndarray) -> np.ndarray:
    return np.log(values + LEVEL_FLOOR)


def _long_runs(held: np.ndarray) -> np.ndarray:
    """True at the end of HELD_RUN true values in a row."""
    run = held.copy()
    reach = 1
    while reach < HELD_RUN:  # doubling: run[i] says that `reach` values up to i are true
        run[reach:] &= run[:-reach]
        run[:reach] = False
        reach *= 2
    return run
