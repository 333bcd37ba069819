"""The audio process: decodes untrusted files under resource limits, and computes their features.

Training and detection both use features computed here, so that the two cannot differ. The process is
confined before it reads the first byte of a file, and has only the descriptors that the front sends: it uses
no network, no object store and no JAX.
"""

import os
import resource
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import BinaryIO, Literal

import numpy as np
import soundfile  # type: ignore[import-untyped]  # has no stubs
import structlog
from jaxtyping import Float32

from earmark.disk import is_of_disk
from earmark.trainer.features.frontend import FEATURES, features, frame_count, pack_features
from earmark.trainer.logs import configure_logging
from earmark.trainer.workers.formats import CONVERT, UnusableAudioError, check_whole, sniff
from earmark.trainer.workers.packets import PacketConnection
from earmark.trainer.workers.sandbox import confine
from earmark.trainer.workers.wire import (
    Decoded,
    DecodeFailed,
    DecodeLimits,
    DecodeRequest,
    DecoderReady,
    Featured,
    Long,
)

CHANNELS = range(1, 9)
SAMPLE_RATES = range(8_000, 192_001)
MIN_MS = 100
MAX_HOURS = 6
LONG_SAMPLES = 1 << 24  # of all channels: about 7 s of CPU time
BLOCK_SAMPLES = 1 << 18  # samples of all channels that are decoded at a time
MAX_LEVEL = 16.0  # in a float file; beyond that its samples are integers stored as floats
FLOAT_SUBTYPES = frozenset({"FLOAT", "DOUBLE"})
FINE_SUBTYPES = frozenset({"PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ALAC_20", "ALAC_24", "ALAC_32"})
LIBSNDFILE_FORMATS = {"WAV": ("WAV", "WAVEX", "RF64"), "FLAC": ("FLAC",), "OGG": ("OGG",), "MP3": ("MP3",)}
SAMPLE_BYTES, FEATURE_BYTES = 4, 2
FLAC_BYTES = {"PCM_16": 2, "PCM_24": 3}  # of a sample that cannot be compressed
COARSEST_FLAC_RATE = 65_535  # above it FLAC stores multiples of 10 Hz

FULL_BYTES = 1 << 20  # libsndfile does not say why it could not write
OPEN_FILES = 64
OPEN_CPU_SECONDS = 30  # to read a header, and some more for any file
DAMAGED = f"the file is damaged, decoding stopped: {CONVERT}"

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class DecodeFiles:
    """Descriptors. `audio` is None if the audio is not to be stored."""

    source: int
    samples: int
    features: int
    audio: int | None = None

    def close(self) -> None:
        """Closes them."""
        for descriptor in (self.source, self.samples, self.features, self.audio):
            if descriptor is not None:
                os.close(descriptor)


class LongFileError(Exception):
    """The file is long, and was to be decoded only if it is short."""


def serve(connection: PacketConnection, limits: DecodeLimits) -> None:
    """Sends DecoderReady, then answers each DecodeRequest with Decoded and Featured.

    DecodeFailed replaces either, and Long both. Raises EOFError when the front has closed its end.
    """
    configure_logging("warning")
    warm_up(limits)
    limit_resources(limits)
    connection.send(DecoderReady(confine()))
    while True:
        request, descriptors = connection.recv_with_descriptors()
        files = DecodeFiles(*descriptors)
        for message in process_file(request, files, limits):
            connection.send(message)
        files.close()
        limit_cpu(None)


def warm_up(limits: DecodeLimits) -> None:
    """Loads what decoding imports while it runs, by decoding a file: later this process can open none."""
    with ExitStack() as stack:
        source, *results = (stack.enter_context(tempfile.TemporaryFile()) for _ in range(4))
        soundfile.write(source, np.zeros(SAMPLE_RATES[0]), SAMPLE_RATES[0], format="FLAC")
        files = DecodeFiles(source.fileno(), *(file.fileno() for file in results))
        *_, last = process_file(DecodeRequest(long=False), files, limits)
    if last != Featured():
        raise RuntimeError(f"this machine cannot decode: {last}")


def limit_resources(limits: DecodeLimits) -> None:
    """Makes allocations beyond the memory limit raise MemoryError. Files mapped for reading do not count.

    Limits open files, file sizes and core dumps too.
    """
    for name, limit in (
        (resource.RLIMIT_DATA, limits.memory_bytes),
        (resource.RLIMIT_NOFILE, OPEN_FILES),
        (resource.RLIMIT_FSIZE, limits.scratch_bytes),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(name, (limit, limit))


def limit_cpu(seconds: int | None) -> None:
    """Lets the kernel kill this process, by SIGXCPU, after so much more CPU time; None removes the limit."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    used = int(usage.ru_utime + usage.ru_stime)
    limit = resource.RLIM_INFINITY if seconds is None else used + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))


def process_file(
    request: DecodeRequest, files: DecodeFiles, limits: DecodeLimits
) -> Iterator[Decoded | Featured | DecodeFailed | Long]:
    """Decodes one file and stores its features. Yields Decoded and Featured, or why there is no more."""
    limit_cpu(OPEN_CPU_SECONDS)
    try:
        decoded, samples = decode(request, files, limits)
        yield decoded
        values = features(samples, decoded.sample_rate)
        with open(files.features, "wb", closefd=False) as file:
            file.write(pack_features(values))
    except LongFileError:
        yield Long()
    except UnusableAudioError as error:
        yield DecodeFailed("INVALID_AUDIO", str(error))
    except soundfile.LibsndfileError:
        full = free_bytes(files.samples) < FULL_BYTES
        yield (
            DecodeFailed("DISK_FULL", "the disk is full") if full else DecodeFailed("INVALID_AUDIO", DAMAGED)
        )
    except MemoryError:
        yield DecodeFailed(
            "INVALID_AUDIO",
            "decoding needs more memory than one file may use (EARMARK_AUDIO_MEMORY_MB): split the file",
        )
    except Exception as error:
        log.exception("decoding crashed")
        reason: Literal["DISK_FULL", "INTERNAL"] = "DISK_FULL" if is_of_disk(error) else "INTERNAL"
        yield DecodeFailed(reason, f"decoding stopped ({type(error).__name__})")
    else:
        yield Featured()


def free_bytes(descriptor: int) -> int:
    """The free space of the file system that has this file."""
    status = os.fstatvfs(descriptor)
    return status.f_bavail * status.f_frsize


def decode(
    request: DecodeRequest, files: DecodeFiles, limits: DecodeLimits
) -> tuple[Decoded, Float32[np.ndarray, "channels samples"]]:
    """Writes the audio. Also returns the samples, memory-mapped from the file for them.

    Raises UnusableAudioError, LongFileError, and soundfile.LibsndfileError if decoding stops at damage.
    """
    with open(files.source, "rb", closefd=False) as file:
        container = sniff(file)
        check_whole(file, container)
    with open_audio(files.source, container) as source:
        check_header(source, limits, stores_audio=files.audio is not None)
        values = source.frames * source.channels
        if values > LONG_SAMPLES and not request.long:
            raise LongFileError
        limit_cpu(OPEN_CPU_SECONDS + int(source.frames / source.samplerate / limits.min_speed))
        with open(files.samples, "r+b", closefd=False) as raw:
            count = copy_samples(source, files.audio, raw)
            check_length(count, source)
            samples = np.memmap(raw, np.float32, "r", shape=(count, source.channels)).T
        return Decoded(count * 1000 // source.samplerate, source.samplerate, source.channels), samples


def open_audio(descriptor: int, container: str) -> soundfile.SoundFile:
    """Raises UnusableAudioError if libsndfile does not recognise the file as a `container` file."""
    os.lseek(descriptor, 0, os.SEEK_SET)  # libsndfile begins where the descriptor is
    try:
        source = soundfile.SoundFile(descriptor, closefd=False)
    except soundfile.LibsndfileError as error:
        raise UnusableAudioError(
            f"the file begins like {container} but cannot be read: it is damaged, cut short or of a codec "
            f"that is not supported; {CONVERT}"
        ) from error
    if source.format not in LIBSNDFILE_FORMATS[container]:
        source.close()
        raise UnusableAudioError(f"the file begins like {container} but contains {source.format}: {CONVERT}")
    return source


def check_header(source: soundfile.SoundFile, limits: DecodeLimits, *, stores_audio: bool) -> None:
    """Raises UnusableAudioError, before anything is allocated according to the header."""
    check_rates(source, limits)
    frames, rate = source.frames, source.samplerate
    values, hours = frames * source.channels, frames / rate / 3600
    if frames == 0:
        raise UnusableAudioError("the file contains no audio (0 samples): upload one that does")
    if frames * 1000 < MIN_MS * rate:
        raise UnusableAudioError(
            f"the audio is {frames * 1000 / rate:.0f} ms long, at least {MIN_MS} ms are needed"
        )
    if hours > MAX_HOURS or values > limits.max_samples:
        raise UnusableAudioError(
            f"the audio is {hours:.1f} hours of {source.channels} channel(s) at {rate:,} Hz; at most "
            f"{MAX_HOURS} hours and {limits.max_samples:,} samples (EARMARK_AUDIO_MAX_SAMPLES) are "
            "supported: split it"
        )
    scratch = scratch_bytes(source, stores_audio=stores_audio)
    if scratch > limits.scratch_bytes:
        raise UnusableAudioError(
            f"decoding may need {scratch >> 20:,} MiB on disk; {limits.scratch_bytes >> 20:,} MiB are "
            "allowed for one file (EARMARK_AUDIO_SCRATCH_MB): split it"
        )


def check_rates(source: soundfile.SoundFile, limits: DecodeLimits) -> None:
    """Raises UnusableAudioError if a second of the audio has too many samples, or too few."""
    rate, channels = source.samplerate, source.channels
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


def scratch_bytes(source: soundfile.SoundFile, *, stores_audio: bool) -> int:
    """The most that the samples, the features and, if it is stored, the audio of a file take on disk."""
    per_sample = SAMPLE_BYTES + (FLAC_BYTES[flac_subtype(source)] if stores_audio else 0)
    frames = frame_count(source.frames, source.samplerate)
    values: int = source.frames * source.channels
    return values * per_sample + frames * FEATURES * FEATURE_BYTES


def flac_subtype(source: soundfile.SoundFile) -> str:
    """The resolution at which the audio is stored."""
    return "PCM_24" if source.subtype in FINE_SUBTYPES else "PCM_16"


def copy_samples(source: soundfile.SoundFile, audio: int | None, raw: BinaryIO) -> int:
    """Decodes block by block into raw float32, and into FLAC if there is a file for it.

    Returns the number of samples per channel.
    """
    count = 0
    with ExitStack() as stack:
        flac = stack.enter_context(open_flac(audio, source)) if audio is not None else None
        while len(block := source.read(BLOCK_SAMPLES // source.channels, "float32", always_2d=True)):
            check_values(block, count, source)
            raw.write(block.tobytes())
            if flac is not None:
                flac.write(block)
            count += len(block)
            if count > source.frames:  # more than the header announced, and than was allowed for
                break
    return count


def open_flac(descriptor: int, source: soundfile.SoundFile) -> soundfile.SoundFile:
    """A FLAC file to write, at the rate and the resolution of `source`, with all its channels."""
    rate, channels, subtype = source.samplerate, source.channels, flac_subtype(source)
    return soundfile.SoundFile(descriptor, "w", rate, channels, subtype, format="FLAC", closefd=False)


def check_values(
    block: Float32[np.ndarray, "samples channels"], offset: int, source: soundfile.SoundFile
) -> None:
    """Raises UnusableAudioError. The block begins `offset` samples after the start of the file."""
    peaks = np.abs(block).max(axis=1)
    if not np.isfinite(peaks).all():
        at = (offset + int(np.argmin(np.isfinite(peaks)))) / source.samplerate
        raise UnusableAudioError(f"the sample at {at:.3f} s is not a finite number: export the file again")
    if peaks.max() > MAX_LEVEL and source.subtype not in FLOAT_SUBTYPES:
        raise UnusableAudioError(DAMAGED)
    if peaks.max() > MAX_LEVEL:
        raise UnusableAudioError(
            f"samples reach {peaks.max():,.0f} where full scale is 1: these are integers stored as floating "
            "point; divide them by their full scale"
        )


def check_length(count: int, source: soundfile.SoundFile) -> None:
    """Compares the length in the header with the samples decoded. Raises UnusableAudioError."""
    if count != source.frames:
        decoded, announced = count / source.samplerate, source.frames / source.samplerate
        raise UnusableAudioError(
            f"the file is cut short or damaged: its header announces {announced:.2f} s of audio, "
            f"{decoded:.2f} s could be decoded; upload the whole file"
        )
