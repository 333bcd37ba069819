"""The front end in ONNX: PCM at one sample rate to the features of earmark.trainer.features.frontend.

Each function is the twin of the one of the same name there, which says what it computes and why.
"""

import math

import numpy as np
import soxr  # type: ignore[import-untyped]  # it has no stubs
from jaxtyping import Float32

from earmark.trainer.export.graph import Value
from earmark.trainer.export.similarity import repeats, voices
from earmark.trainer.export.waveform import Frames, centred, defects
from earmark.trainer.features import frontend
from earmark.trainer.features.filterbank import BIN_HZ, BINS, MEL_BANDS, TOP_HZ, filterbank
from earmark.trainer.features.similarity import LAG_RATE, PITCH_RATE

# Both a sample rate and a frame are whole multiples of it: a resampler repeats itself after 4 frames at most.
RATE_STEP = 25

INAUDIBLE = 1e-6  # weights of a resampler that are this small beside its largest one are left out


def features(pcm: Value, rate: int) -> Value:
    """Return (frames, features) float32, rounded to float16 as stored features are, of PCM (samples,)."""
    frames = Frames.of(pcm, rate)
    numbers = pcm.op("IsNaN").typed(np.bool).where(0, pcm)
    audio = _whole_frames(numbers.clip(-frontend.HIGHEST_LEVEL, frontend.HIGHEST_LEVEL), frames)
    signal = centred(audio, frames)
    low = resampled(signal, rate, PITCH_RATE)
    spectrum = log_spectrum(signal, rate, frames)
    bandwidth = math.log(min(rate, 2 * TOP_HZ) / frontend.REFERENCE_RATE)
    columns = [
        spectrum.cut(0, 1, axis=1) * 0 + bandwidth,
        floors(spectrum.cut(0, MEL_BANDS, axis=1), frames.count),
        defects(signal, audio, frames),
        repeats(resampled(low, PITCH_RATE, LAG_RATE), frames.count),
        voices(low, frames.count),
    ]
    return spectrum.join(*columns, axis=1).cast(np.float16).cast(np.float32)


def _whole_frames(audio: Value, frames: Frames) -> Value:
    """Continue the audio symmetrically to the end of its last frame."""
    place = frames.samples.range().op("Mod", audio.length() * 2)
    mirrored = audio.length() * 2 - 1 - place
    return audio.take(place.op("Min", mirrored))


def floors(mel: Value, frames: Value) -> Value:
    """See the twin."""
    by_band = mel.transpose(1, 0).new_axis(0)
    half = frontend.FLOOR_FRAMES // 2
    lowest = -(-by_band).op("MaxPool", kernel_shape=[frontend.FLOOR_FRAMES], pads=[half, half])
    floor = lowest.reshape(frontend.FLOOR_BANDS, MEL_BANDS // frontend.FLOOR_BANDS, -1).reduce("Mean", 1)
    after = frontend.MEDIAN_AHEAD
    coarse = floor.cut(0, axis=1, step=10).pad(frontend.MEDIAN_STEPS - 1 - after, after, 1, "edge")
    count = coarse.length(1) - (frontend.MEDIAN_STEPS - 1)
    windows = coarse.take(count.range().new_axis(1) + np.arange(frontend.MEDIAN_STEPS), axis=1)
    median = windows.largest(frontend.MEDIAN_STEPS // 2 + 1).transpose(1, 0).repeated(10, frames)
    by_frame = floor.transpose(1, 0)
    return by_frame.join(by_frame - median, axis=1)


def log_spectrum(signal: Value, rate: int, frames: Frames) -> Value:
    """See the twin. The Fourier transform is a matrix product."""
    size, length = round(frontend.WINDOW_SECONDS * rate), round(rate / BIN_HZ)
    margin = (size - rate // frontend.FRAMES_PER_SECOND) // 2
    bins = min(length // 2 + 1, BINS)
    angles = 2 * np.pi * (np.arange(size)[:, None] * np.arange(bins) % length) / length
    window = np.hanning(size + 1)[:-1].astype(np.float32)[:, None]
    fourier = np.concatenate([np.cos(angles), -np.sin(angles)], axis=1).astype(np.float32) * window
    spectrum = signal.pad(margin, 2 * size).windows(size, frames.starts) @ fourier
    bank = filterbank()[:, :bins].T * np.float32((frontend.REFERENCE_RATE / rate) ** 2)
    power = (spectrum * spectrum) @ np.concatenate([bank, bank])
    return (power + frontend.MEL_FLOOR).log()


def resampled(signal: Value, rate: int, target: int) -> Value:
    """Resample, as soxr does with a signal of whole frames, by a convolution."""
    if rate == target:
        return signal
    weights, before = resampler(rate, target)
    block = rate // math.gcd(rate, frontend.FRAMES_PER_SECOND)
    # The last block may be incomplete: what is beyond the signal is cut off.
    padded = signal.pad(before, weights.shape[2]).new_axis(0, 1)
    blocks = padded.op("Conv", weights, strides=[block])
    return blocks.transpose(0, 2, 1).reshape(-1).cut(0, signal.length() * target / rate)


def resampler(rate: int, target: int) -> tuple[Float32[np.ndarray, "made 1 taps"], int]:
    """Return soxr's weights of the samples around a block of whole frames, and how many precede the block.

    soxr is linear, and repeats itself after a block. So its answers to an impulse at each place of a block
    are all there is to know.
    """
    block = rate // math.gcd(rate, frontend.FRAMES_PER_SECOND)
    made, middle = block * target // rate, 16
    impulses = np.zeros(((2 * middle + 1) * block, block), np.float32)
    impulses[middle * block + np.arange(block), np.arange(block)] = 1
    answers = soxr.resample(impulses, rate, target).reshape(2 * middle + 1, made, block)
    # The answer of block b to an impulse in the middle one: that sample is (middle - b) blocks away.
    weights = np.concatenate(answers[::-1], axis=1)
    largest = np.abs(weights).max(axis=0)
    used = np.flatnonzero(largest > INAUDIBLE * largest.max())
    first, last = int(used[0]), int(used[-1]) + 1
    return weights[:, None, first:last], middle * block - first
