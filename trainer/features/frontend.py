"""The front end: turns one channel of audio into features (frames, FEATURES).

A frame is 10 ms; frames = ceil(samples * 100 / rate). Training and detection both use this code, and its
version is stored with the features and with the model. It imports neither JAX nor librosa, so that the
process that decodes audio starts fast. It does no input or output.

    columns   content                                               computed at
    0-63      log-mel power up to 8 kHz                             the file's own rate
    64-71     log power in bands from 8 to 24 kHz                   the file's own rate
    72        the bandwidth that the sample rate allows             -
    73-88     noise floors of groups of mel bands                   the file's own rate
    89-109    traces of defects in the waveform                     the file's own rate
    110-137   similarity to the signal 80-420 ms earlier            4 kHz
    138-157   pitch, and the residual after its cancellation        8 kHz

No column of a frame depends on audio more than LOOKAHEAD_FRAMES after it.
"""

import math
from collections.abc import Callable, Iterator
from typing import TypeAlias

import numpy as np
from jaxtyping import Float16, Float32, Int64

from earmark.trainer.features.filterbank import HIGH_BANDS, MEL_BANDS, TOP_HZ
from earmark.trainer.features.similarity import (
    PITCH_HOP,
    PITCH_RATE,
    REPEATS,
    STEP_FRAMES,
    VOICES,
    Repeats,
    Voices,
)
from earmark.trainer.features.spectrum import (
    FLOOR_BANDS,
    FLOORS,
    FRAMES_PER_SECOND,
    REFERENCE_RATE,
    Floors,
    log_spectrum,
)
from earmark.trainer.features.streams import Resampler, Side
from earmark.trainer.features.waveform import (
    DEFECTS,
    ISOLATION_FRAMES,
    LEVEL_COLUMNS,
    MEASURED,
    MEASURED_FUTURE,
    MEASURED_PAST,
    OFFSET_FUTURE,
    SLICES,
    Centring,
    Defects,
    measured,
)

Samples: TypeAlias = Float32[np.ndarray, " _"]
View: TypeAlias = Callable[[Samples, int], tuple[Samples, int]]  # audio and its rate, to other ones


SPECTRUM = MEL_BANDS + HIGH_BANDS + 1
FEATURES = SPECTRUM + FLOORS + DEFECTS + REPEATS + VOICES

# The columns that follow the signal's level: logarithms of powers, and of amplitudes.
POWER_COLUMNS = (*range(MEL_BANDS + HIGH_BANDS), *range(SPECTRUM, SPECTRUM + FLOOR_BANDS))
AMPLITUDE_COLUMNS = tuple(SPECTRUM + FLOORS + column for column in LEVEL_COLUMNS)

HIGHEST_LEVEL = 16.0
BLOCK_FRAMES = 12_000  # two minutes: bounds the memory, and a block starts on a whole sample at every rate
PAST_FRAMES = 1_200  # more than any feature looks back
LOOKAHEAD_FRAMES = 61  # what is further away shows in no feature
DELAY_FRAMES = OFFSET_FUTURE + MEASURED_FUTURE + ISOLATION_FRAMES  # and the rest of the step of STEP_FRAMES


def frame_count(samples: int, sample_rate: int) -> int:
    """The last frame may be incomplete: ceil(samples * 100 / sample_rate)."""
    return -(-samples * FRAMES_PER_SECOND // sample_rate)


def frame_of(sample: int, sample_rate: int) -> int:
    """The number of the frame that has this sample."""
    return -(-(sample + 1) * FRAMES_PER_SECOND // sample_rate) - 1


def features(
    audio: Float32[np.ndarray, " samples"], sample_rate: int, view: View | None = None
) -> Float16[np.ndarray, "frames features"]:
    """Compute the features of a channel at 8-192 kHz, full scale 1. They are always finite.

    With a view, they are those of the audio that it returns, block by block.
    """
    blocks = [values.astype(np.float16) for _, values in feature_blocks(audio, sample_rate, view)]
    return np.concatenate(blocks)


def feature_blocks(
    audio: Float32[np.ndarray, " samples"], sample_rate: int, view: View | None = None
) -> Iterator[tuple[int, Float32[np.ndarray, "_ features"]]]:
    """Yield the number of the first frame of each block, and the features of its frames; see `features`."""
    if view is None:
        yield from _stream_blocks(audio, sample_rate)
        return
    frames = frame_count(len(audio), sample_rate)
    for first in range(0, frames, BLOCK_FRAMES):
        last = min(frames, first + BLOCK_FRAMES)
        begin, end = max(0, first - PAST_FRAMES), min(frames, last + LOOKAHEAD_FRAMES)
        block = audio[begin * sample_rate // FRAMES_PER_SECOND : end * sample_rate // FRAMES_PER_SECOND + 1]
        seen, rate = view(limited(block), sample_rate)
        # A codec may add or lack a few samples.
        size = (end - begin) * rate // FRAMES_PER_SECOND
        seen = np.pad(seen[:size], (0, max(0, size - len(seen))), mode="symmetric")
        values = np.concatenate([values for _, values in _stream_blocks(seen, rate)])
        yield first, values[first - begin : last - begin]


def _stream_blocks(
    audio: Float32[np.ndarray, " samples"], rate: int
) -> Iterator[tuple[int, Float32[np.ndarray, "_ features"]]]:
    front_end, first = FrontEnd(rate), 0
    size = BLOCK_FRAMES * rate // FRAMES_PER_SECOND
    for begin in range(0, max(1, len(audio)), size):
        part = audio[begin : begin + size]
        block = front_end.push(limited(part), last=begin + size >= len(audio))
        yield first, block
        first += len(block)


def limited(audio: Float32[np.ndarray, "*samples"]) -> Float32[np.ndarray, "*samples"]:
    """Return the audio without numbers that are not finite, or beyond any level that audio has."""
    if not np.isfinite(audio.sum()):
        audio = np.nan_to_num(audio, posinf=HIGHEST_LEVEL, neginf=-HIGHEST_LEVEL)
    result: np.ndarray = audio.clip(-HIGHEST_LEVEL, HIGHEST_LEVEL)
    return result


class FrontEnd:
    """Computes the features of a channel that comes in parts. They do not depend on how it is cut.

    A frame has its features once DELAY_FRAMES after it are there. What is kept does not grow.
    """

    def __init__(self, sample_rate: int) -> None:
        self._rate = sample_rate
        self._hop = -(-sample_rate // FRAMES_PER_SECOND)
        self._bandwidth = math.log(min(sample_rate, 2 * TOP_HZ) / REFERENCE_RATE)
        self._samples = self._low_samples = 0
        # The audio, and the same without its offset as far as it is known, both from frame `_begin` on.
        self._audio = self._signal = np.empty(0, np.float32)
        self._begin = 0
        self._averaged = self._centred = self._measured = self._frames = 0  # frames so far
        self._centring = Centring(self._hop)
        self._low = Resampler(sample_rate, PITCH_RATE)
        self._floors, self._defects = Floors(), Defects()
        self._repeats, self._voices = Repeats(), Voices()
        self._columns = Side()

    def push(
        self, audio: Float32[np.ndarray, " samples"], *, last: bool = False
    ) -> Float32[np.ndarray, "frames features"]:
        """Take the next samples, full scale 1, and return the features of the next frames.

        With the `last` samples, all frames have theirs. The last frame may be incomplete: it is mirrored.
        """
        self._samples += len(audio)
        self._audio = np.concatenate([self._audio, audio])
        if not last:
            return self._advance(frame_of(self._samples, self._rate), last=False)
        frames = frame_count(self._samples, self._rate)
        missing = frames * self._rate // FRAMES_PER_SECOND - self._samples
        if missing:
            self._audio = np.pad(self._audio, (0, missing), mode="symmetric")
        left = frames - self._frames
        return self._advance(frames, last=True)[:left]

    def _advance(self, whole: int, *, last: bool) -> Float32[np.ndarray, "frames features"]:
        """Compute what can be, once so many frames are there."""
        low = self._low.push(self._centre(whole, last=last), last=last)
        self._low_samples += len(low)
        if last:
            low = np.pad(low, (0, -(-whole // STEP_FRAMES) * PITCH_HOP - self._low_samples))
        spectrum, measurements = self._measure(last=last)
        of_steps = (each.push(low, last=last) for each in (self._repeats, self._voices))
        result = self._columns.push(
            spectrum,
            np.full((len(spectrum), 1), self._bandwidth, np.float32),
            self._floors.push(spectrum[:, :MEL_BANDS], last=last),
            self._defects.push(measurements, last=last),
            *(np.repeat(rows, STEP_FRAMES, axis=0) for rows in of_steps),
        ).astype(np.float32, copy=False)
        self._frames += len(result)
        return result

    def _centre(self, whole: int, *, last: bool) -> Float32[np.ndarray, " samples"]:
        """Remove the offset of further frames, and return their signal."""
        starts = self._starts(self._averaged, whole + 1)
        lines = self._centring.lines(self._audio[: starts[-1]], starts, last=last)
        self._averaged = whole
        starts = self._starts(self._centred, self._centred + len(lines) + 1)
        audio = self._audio[starts[0] : starts[-1]]
        signal = self._centring.removed(audio, starts, lines)
        self._centred += len(lines)
        self._signal = np.concatenate([self._signal, signal])
        return signal

    def _measure(
        self, *, last: bool
    ) -> tuple[Float32[np.ndarray, "frames bands"], Float32[np.ndarray, "frames columns"]]:
        """Measure further frames whose surroundings are known: their spectrum, and their waveform."""
        first = self._measured
        end = self._centred if last else max(first, self._centred - MEASURED_FUTURE)
        if first == end:
            return np.empty((0, MEL_BANDS + HIGH_BANDS), np.float32), np.empty(
                (0, MEASURED + SLICES), np.float32
            )
        starts, own = self._starts(self._begin, self._centred), slice(first - self._begin, end - self._begin)
        audio = self._audio[: len(self._signal)]
        spectrum = log_spectrum(self._signal, self._rate, starts)[own]
        measurements = measured(self._signal, audio, starts, self._hop)[own]
        self._measured = end
        self._forget(max(self._begin, end - MEASURED_PAST))
        return spectrum, measurements

    def _forget(self, begin: int) -> None:
        """Keep nothing before frame `begin`."""
        samples = self._starts(begin, begin + 1)[0]
        self._audio, self._signal = self._audio[samples:].copy(), self._signal[samples:].copy()
        self._begin = begin

    def _starts(self, first: int, end: int) -> Int64[np.ndarray, " _"]:
        """Where frames begin in the buffers."""
        frames = np.arange(first, end)
        return frames * self._rate // FRAMES_PER_SECOND - self._begin * self._rate // FRAMES_PER_SECOND
