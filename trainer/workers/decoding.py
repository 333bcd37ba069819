"""Decodes one file: to samples, which are checked, and to the FLAC that is kept.

What comes out is the truth: its length is the file's, and the limits apply to it while it comes. What a
header announces is refused if that alone is too much.
"""

import math
import os
from contextlib import ExitStack
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import soundfile  # type: ignore[import-untyped]  # has no stubs
from jaxtyping import Float32

from earmark.trainer.features.frontend import FEATURES, View, frame_count
from earmark.trainer.workers.containers.errors import DAMAGED, UnusableAudioError
from earmark.trainer.workers.limits import cpu_seconds, limit_cpu
from earmark.trainer.workers.sources import Source, open_source
from earmark.trainer.workers.views import VIEWS
from earmark.trainer.workers.wire import Decoded, DecodeLimits, DecodeRequest

CHANNELS = range(1, 9)
SAMPLE_RATES = range(8_000, 192_001)
MIN_MS = 100
MAX_HOURS = 6
LONG_SAMPLES = 1 << 24  # of all channels: about 7 s of CPU time
BLOCK_SAMPLES = 1 << 18  # samples of all channels that are decoded at a time
MAX_LEVEL = 16.0  # in a float file; beyond that its samples are integers stored as floats
SAMPLE_BYTES, FEATURE_BYTES = 4, 2
FLAC_BYTES = {"PCM_16": 2, "PCM_24": 3}  # of a sample that cannot be compressed
COARSEST_FLAC_RATE = 65_535  # above it FLAC stores multiples of 10 Hz
OPEN_CPU_SECONDS = 30  # to read a header, and some more for any file


@dataclass(frozen=True, slots=True)
class DecodeFiles:
    """Descriptors. `audio` is None if the audio is not to be stored."""

    source: int
    samples: int
    features: int
    audio: int | None = None

    @property
    def views(self) -> tuple[View, ...]:
        """The views whose features are computed: a file that is stored may be trained on."""
        return () if self.audio is None else VIEWS

    def close(self) -> None:
        """Closes them."""
        for descriptor in (self.source, self.samples, self.features, self.audio):
            if descriptor is not None:
                os.close(descriptor)


class LongFileError(Exception):
    """The file is long, and was to be decoded only if it is short."""


def decode(
    request: DecodeRequest, files: DecodeFiles, limits: DecodeLimits
) -> tuple[Decoded, Float32[np.ndarray, "channels samples"]]:
    """Writes the audio. Also returns the samples, memory-mapped from the file for them.

    Raises UnusableAudioError, LongFileError, NoDecoderError, MemoryError, and soundfile.LibsndfileError if
    the audio cannot be written.
    """
    with open(files.source, "rb", closefd=False) as file, open(files.samples, "r+b", closefd=False) as raw:
        copy = _Copy(request, files.audio, limits, cpu_seconds())
        source = open_source(file)
        count = copy.run(source, raw)
        samples = np.memmap(raw, np.float32, "r", shape=(count, source.channels)).T
    return Decoded(count * 1000 // source.sample_rate, source.sample_rate, source.channels), samples


@dataclass(frozen=True, slots=True)
class _Copy:
    """Copies decoded audio into files, within limits. `began` is the CPU time used before."""

    request: DecodeRequest
    audio: int | None
    limits: DecodeLimits
    began: float

    def run(self, source: Source, raw: BinaryIO) -> int:
        """Decodes block by block into raw float32, and into FLAC if there is a file for it.

        Returns the number of samples per channel.
        """
        check_rates(source, self.limits)
        self._check_length(source, source.announced or 0)
        count = 0
        with ExitStack() as stack:
            flac = stack.enter_context(open_flac(self.audio, source)) if self.audio is not None else None
            for block in source.blocks(BLOCK_SAMPLES // source.channels):
                check_values(block, count, source)
                count += len(block)
                self._check_length(source, count)
                raw.write(block.tobytes())
                if flac is not None:
                    flac.write(block)
        check_enough(count, source)
        return count

    def _check_length(self, source: Source, frames: int) -> None:
        """Checks what so many samples per channel cost. Raises UnusableAudioError and LongFileError."""
        check_length(frames, source, self.limits, stores_audio=self.audio is not None)
        if frames * source.channels > LONG_SAMPLES and not self.request.long:
            raise LongFileError
        seconds = frames / source.sample_rate / self.limits.min_speed
        limit_cpu(OPEN_CPU_SECONDS + seconds, self.began)


def check_rates(source: Source, limits: DecodeLimits) -> None:
    """Raises UnusableAudioError if a second of the audio has too many samples, or too few."""
    rate, channels = source.sample_rate, source.channels
    if channels not in CHANNELS:
        raise UnusableAudioError(
            f"the file has {channels} channels, 1 to {CHANNELS[-1]} are supported: mix it down"
        )
    if rate not in SAMPLE_RATES or (rate > COARSEST_FLAC_RATE and rate % 10):
        raise UnusableAudioError(
            f"the sample rate is {rate:,} Hz; {SAMPLE_RATES[0]:,} to {SAMPLE_RATES[-1]:,} Hz are supported, "
            f"above {COARSEST_FLAC_RATE:,} Hz in steps of 10: resample it"
        )
    if rate * channels > limits.max_samples_per_second:
        raise UnusableAudioError(
            f"{channels} channels at {rate:,} Hz are {rate * channels:,} samples a second; at most "
            f"{limits.max_samples_per_second:,} (EARMARK_AUDIO_MAX_SAMPLES_PER_SECOND) are supported: mix it "
            "down or resample it"
        )


def check_length(frames: int, source: Source, limits: DecodeLimits, *, stores_audio: bool) -> None:
    """Raises UnusableAudioError if so many samples per channel, announced or decoded, are too many."""
    seconds = frames / source.sample_rate
    if seconds > MAX_HOURS * 3600 or frames * source.channels > limits.max_samples:
        hours, rest = divmod(math.ceil(seconds), 3600)
        raise UnusableAudioError(
            f"the audio is {hours:,}:{rest // 60:02}:{rest % 60:02} hours of {source.channels} channel(s) at "
            f"{source.sample_rate:,} Hz; at most {MAX_HOURS} hours and {limits.max_samples:,} samples "
            "(EARMARK_AUDIO_MAX_SAMPLES) are supported: split it"
        )
    scratch = scratch_bytes(frames, source, stores_audio=stores_audio)
    if scratch > limits.scratch_bytes:
        raise UnusableAudioError(
            f"decoding may need {scratch >> 20:,} MiB on disk; {limits.scratch_bytes >> 20:,} MiB are "
            "allowed for one file (EARMARK_AUDIO_SCRATCH_MB): split it"
        )


def scratch_bytes(frames: int, source: Source, *, stores_audio: bool) -> int:
    """The most that the samples, the features and, if it is stored, the audio of a file take on disk."""
    per_sample = SAMPLE_BYTES + (FLAC_BYTES[flac_subtype(source)] if stores_audio else 0)
    rows = frame_count(frames, source.sample_rate)
    tracks = source.channels * (1 + (len(VIEWS) if stores_audio else 0))
    return frames * source.channels * per_sample + rows * tracks * FEATURES * FEATURE_BYTES


def check_enough(frames: int, source: Source) -> None:
    """Raises UnusableAudioError if so many samples per channel are too few."""
    if frames == 0:
        raise UnusableAudioError("the file contains no audio (0 samples): upload one that does")
    if frames * 1000 < MIN_MS * source.sample_rate:
        raise UnusableAudioError(
            f"the audio is {frames * 1000 / source.sample_rate:.0f} ms long, at least {MIN_MS} ms are needed"
        )


def check_values(block: Float32[np.ndarray, "samples channels"], offset: int, source: Source) -> None:
    """Raises UnusableAudioError. The block begins `offset` samples after the start of the file."""
    peaks = np.abs(block).max(axis=1)
    if not np.isfinite(peaks).all():
        at = (offset + int(np.argmin(np.isfinite(peaks)))) / source.sample_rate
        raise UnusableAudioError(f"the sample at {at:.3f} s is not a finite number: export the file again")
    if peaks.max() > MAX_LEVEL and not source.is_float:
        raise UnusableAudioError(DAMAGED)
    if peaks.max() > MAX_LEVEL:
        raise UnusableAudioError(
            f"samples reach {peaks.max():,.0f} where full scale is 1: these are integers stored as floating "
            "point; divide them by their full scale"
        )


def flac_subtype(source: Source) -> str:
    """The resolution at which the audio is stored."""
    return "PCM_24" if source.is_fine else "PCM_16"


def open_flac(descriptor: int, source: Source) -> soundfile.SoundFile:
    """A FLAC file to write, at the rate and the resolution of `source`, with all its channels."""
    rate, channels, subtype = source.sample_rate, source.channels, flac_subtype(source)
    return soundfile.SoundFile(descriptor, "w", rate, channels, subtype, format="FLAC", closefd=False)
