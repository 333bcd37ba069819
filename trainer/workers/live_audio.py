"""Features of live audio, computed as its samples come."""

import os
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from earmark.trainer.features.frontend import FEATURES, FrontEnd, frame_of, limited
from earmark.trainer.workers.decoding import OPEN_CPU_SECONDS, check_enough, check_rates, check_values
from earmark.trainer.workers.limits import limit_cpu
from earmark.trainer.workers.sources import Source, open_live
from earmark.trainer.workers.wire import Decoded, DecodeLimits, LiveOpened, LiveRequest

READ_BYTES = 1 << 18
PARTS_PER_SECOND = 7  # of the audio: shorter parts cost more, longer ones delay detections


@dataclass(slots=True)
class PcmSource:
    """Samples without a header, read from a descriptor as they come."""

    descriptor: int
    sample_rate: int
    channels: int
    is_float: bool
    announced: int | None = None
    is_fine: bool = False

    def blocks(self, samples: int) -> Iterator[Float32[np.ndarray, "samples channels"]]:
        """Yields at least so many samples per channel at a time, and what is left at the end."""
        kind = np.dtype("<f4" if self.is_float else "<i2")
        row, waiting = kind.itemsize * self.channels, bytearray()
        while data := os.read(self.descriptor, READ_BYTES):
            waiting += data
            if len(waiting) >= samples * row:
                whole = len(waiting) // row * row
                yield self._block(bytes(waiting[:whole]), kind)
                del waiting[:whole]
        if whole := len(waiting) // row * row:
            yield self._block(bytes(waiting[:whole]), kind)

    def _block(self, data: bytes, kind: np.dtype) -> Float32[np.ndarray, "samples channels"]:
        values = np.frombuffer(data, kind).reshape(-1, self.channels).astype(np.float32)
        return values if self.is_float else values / np.float32(1 << 15)


def process_live(
    request: LiveRequest, descriptor: int, limits: DecodeLimits
) -> Iterator[LiveOpened | Decoded]:
    """Computes features until the audio ends.

    Raises UnusableAudioError, NoDecoderError, MemoryError, and OSError if nobody reads.
    """
    source = _opened(request, descriptor)
    check_rates(source, limits)
    yield LiveOpened(source.channels)
    silent = range(source.channels) if request.silent is None else request.silent
    channels = [_Channel(source.sample_rate, number not in silent) for number in range(source.channels)]
    count = 0
    for block in source.blocks(source.sample_rate // PARTS_PER_SECOND):
        # A decoder that yields nothing more is ended; one that does may go on for hours.
        limit_cpu(OPEN_CPU_SECONDS)
        check_values(block, count, source)
        count += len(block)
        _write(
            descriptor, [channel.push(samples) for channel, samples in zip(channels, block.T, strict=True)]
        )
    check_enough(count, source)
    _write(descriptor, [channel.finish() for channel in channels])
    yield Decoded(count * 1000 // source.sample_rate, source.sample_rate, source.channels)


def _opened(request: LiveRequest, descriptor: int) -> Source:
    if request.pcm is None:
        return open_live(descriptor)
    return PcmSource(descriptor, request.pcm.sample_rate, request.pcm.channels, request.pcm.is_float)


class _Channel:
    """A channel's features, each row with 1 if its signal has begun and else 0."""

    def __init__(self, rate: int, has_begun: bool) -> None:  # noqa: FBT001 a fact of the channel
        self._rate = rate
        self._front_end = FrontEnd(rate)
        self._first_sample: np.float32 | None = None
        self._begin = 0 if has_begun else None
        self._samples = self._frames = 0

    def push(self, samples: Float32[np.ndarray, " _"]) -> np.ndarray:
        if self._begin is None:
            self._first_sample = samples[0] if self._first_sample is None else self._first_sample
            changed = samples != self._first_sample
            if changed.any():
                self._begin = frame_of(self._samples + int(changed.argmax()), self._rate)
        self._samples += len(samples)
        return self._marked(self._front_end.push(limited(np.ascontiguousarray(samples))))

    def finish(self) -> np.ndarray:
        return self._marked(self._front_end.push(np.empty(0, np.float32), last=True))

    def _marked(self, rows: np.ndarray) -> np.ndarray:
        marked = np.zeros((len(rows), FEATURES + 1), np.float16)
        marked[:, :FEATURES] = rows
        if self._begin is not None:
            marked[max(0, self._begin - self._frames) :, FEATURES] = 1
        self._frames += len(rows)
        return marked


def _write(descriptor: int, channels: list[np.ndarray]) -> None:
    data = memoryview(np.stack(channels, axis=1).tobytes())
    while data:
        data = data[os.write(descriptor, data) :]
