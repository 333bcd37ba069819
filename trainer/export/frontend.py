"""The front end in ONNX: PCM at one sample rate to the features of earmark.trainer.features.frontend.

The product computes a stream window by window. The graph has the whole audio at once.
"""

import math

import numpy as np
import soxr  # type: ignore[import-untyped]  # it has no stubs
from jaxtyping import Float32

from earmark.trainer.export.graph import Value
from earmark.trainer.export.similarity import repeats, voices
from earmark.trainer.export.spectrum import floors, log_spectrum
from earmark.trainer.export.waveform import Frames, centred, defects
from earmark.trainer.features.filterbank import MEL_BANDS, TOP_HZ
from earmark.trainer.features.frontend import HIGHEST_LEVEL
from earmark.trainer.features.similarity import PITCH_HOP, PITCH_RATE, STEP_FRAMES
from earmark.trainer.features.spectrum import FRAMES_PER_SECOND, REFERENCE_RATE
from earmark.trainer.features.streams import QUALITY

# Both a sample rate and a frame are whole multiples of it: a resampler repeats itself after 4 frames at most.
RATE_STEP = 25

INAUDIBLE = 1e-6  # weights of a resampler that are this small beside its largest one are left out


def features(pcm: Value, rate: int) -> Value:
    """Return (frames, features) float32, rounded to float16 as stored features are, of PCM (samples,)."""
    frames = Frames.of(pcm, rate)
    numbers = pcm.op("IsNaN").typed(np.bool).where(0, pcm)
    audio = _whole_frames(numbers.clip(-HIGHEST_LEVEL, HIGHEST_LEVEL), frames)
    signal = centred(audio, frames)
    low = _whole_steps(resampled(signal, rate), frames)
    spectrum = log_spectrum(signal, rate, frames)
    bandwidth = math.log(min(rate, 2 * TOP_HZ) / REFERENCE_RATE)
    columns = [
        spectrum.cut(0, 1, axis=1) * 0 + bandwidth,
        floors(spectrum.cut(0, MEL_BANDS, axis=1), frames.count),
        defects(signal, audio, frames),
        repeats(low, frames.count),
        voices(low, frames.count),
    ]
    return spectrum.join(*columns, axis=1).cast(np.float16).cast(np.float32)


def _whole_frames(audio: Value, frames: Frames) -> Value:
    """Continue the audio symmetrically to the end of its last frame."""
    place = frames.samples.range().op("Mod", audio.length() * 2)
    mirrored = audio.length() * 2 - 1 - place
    return audio.take(place.op("Min", mirrored))


def _whole_steps(low: Value, frames: Frames) -> Value:
    """Fill up a signal at PITCH_RATE with zeros to the end of its last step."""
    steps = (frames.count + (STEP_FRAMES - 1)) / STEP_FRAMES
    return low.pad(0, steps * PITCH_HOP - low.length())


def resampled(signal: Value, rate: int) -> Value:
    """Resample to PITCH_RATE, as soxr does with a signal of whole frames, by a convolution."""
    if rate == PITCH_RATE:
        return signal
    weights, before = resampler(rate)
    block = rate // math.gcd(rate, FRAMES_PER_SECOND)
    # The last block may be incomplete: what is beyond the signal is cut off.
    padded = signal.pad(before, weights.shape[2]).new_axis(0, 1)
    blocks = padded.op("Conv", weights, strides=[block])
    return blocks.transpose(0, 2, 1).reshape(-1).cut(0, (signal.length() * PITCH_RATE + rate // 2) / rate)


def resampler(rate: int) -> tuple[Float32[np.ndarray, "made 1 taps"], int]:
    """Return soxr's weights of the samples around a block of whole frames, and how many precede the block.

    soxr is linear, and repeats itself after a block. So its answers to an impulse at each place of a block
    are all there is to know.
    """
    block = rate // math.gcd(rate, FRAMES_PER_SECOND)
    made, middle = block * PITCH_RATE // rate, 3  # an impulse reaches 14 ms, and a block has 10 or more
    impulses = np.zeros(((2 * middle + 1) * block, block))
    impulses[middle * block + np.arange(block), np.arange(block)] = 1
    answers = soxr.resample(impulses, rate, PITCH_RATE, quality=QUALITY).reshape(2 * middle + 1, made, block)
    # The answer of block b to an impulse in the middle one: that sample is (middle - b) blocks away.
    weights = np.concatenate(answers[::-1], axis=1)
    largest = np.abs(weights).max(axis=0)
    used = np.flatnonzero(largest > INAUDIBLE * largest.max())
    first, last = int(used[0]), int(used[-1]) + 1
    return weights[:, None, first:last].astype(np.float32), middle * block - first
