"""The audio process: decodes untrusted files under resource limits, and computes their features.

Training and detection both use features computed here, so that the two cannot differ. The process reads and
writes only the files that the front names: it uses no network, no object store and no JAX.
"""

import resource
import shutil
import signal
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import soundfile  # type: ignore[import-untyped]  # has no stubs
import structlog
from jaxtyping import Float32

from earmark.disk import is_of_disk
from earmark.trainer.features.frontend import features, pack_features
from earmark.trainer.logs import configure_logging
from earmark.trainer.settings import TrainerSettings
from earmark.trainer.workers.formats import CONVERT, UnusableAudioError, check_whole, sniff
from earmark.trainer.workers.wire import Decoded, DecodeRequest, Failed, Featured, Ready

CHANNELS = range(1, 9)
SAMPLE_RATES = range(8_000, 192_001)
MIN_MS = 100
MAX_HOURS = 6
MAX_VALUES = 1 << 30  # samples of all channels: 4 GiB on disk during decoding, 3 h of stereo at 48 kHz
BLOCK_SAMPLES = 1 << 18  # samples of all channels that are decoded at a time
MAX_LEVEL = 16.0  # in a float file; beyond that its samples are integers stored as floats
FINE_SUBTYPES = frozenset({"PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ALAC_20", "ALAC_24", "ALAC_32"})
LIBSNDFILE_FORMATS = {"WAV": ("WAV", "WAVEX", "RF64"), "FLAC": ("FLAC",), "OGG": ("OGG",), "MP3": ("MP3",)}
COARSEST_FLAC_RATE = 65_535  # above it FLAC stores multiples of 10 Hz

FULL_BYTES = 1 << 20  # libsndfile does not say why it could not write
OPEN_FILES = 64
OPEN_CPU_SECONDS = 60
VALUES_PER_CPU_SECOND = 100_000  # a tenth of the slowest speed measured
WALL_FACTOR = 4  # wall time per CPU time on a busy machine

log = structlog.get_logger()


def serve(connection: Connection, settings: TrainerSettings) -> None:
    """Sends Ready, then answers each DecodeRequest with Decoded and Featured; Failed replaces either.

    Raises EOFError when the front has closed its end.
    """
    configure_logging(settings.log_level)
    features(np.zeros((1, SAMPLE_RATES[0]), np.float32), SAMPLE_RATES[0])  # loads all its imports
    limit_memory(settings.audio_memory_mb << 20)
    connection.send(Ready())
    while True:
        connection.send(process_file(connection.recv(), connection))
        limit_cpu(None)


def limit_memory(data_bytes: int) -> None:
    """Makes allocations beyond this raise MemoryError. Files mapped for reading do not count.

    Limits open files, file sizes and core dumps too.
    """
    resource.setrlimit(resource.RLIMIT_DATA, (data_bytes, data_bytes))
    resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, OPEN_FILES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (MAX_VALUES * 5, MAX_VALUES * 5))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def limit_cpu(seconds: int | None) -> None:
    """Lets the kernel kill this process after that much more time; None removes the limit.

    The signal is SIGXCPU after `seconds` of CPU time, SIGALRM after WALL_FACTOR times as much wall time.
    """
    usage = resource.getrusage(resource.RUSAGE_SELF)
    used = int(usage.ru_utime + usage.ru_stime)
    limit = resource.RLIM_INFINITY if seconds is None else used + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))
    signal.alarm(0 if seconds is None else seconds * WALL_FACTOR)


def process_file(request: DecodeRequest, connection: Connection) -> Featured | Failed:
    """Decodes one file and stores its features. Sends Decoded in between."""
    limit_cpu(OPEN_CPU_SECONDS)
    try:
        decoded, samples = decode(request)
        connection.send(decoded)
        values = features(samples, decoded.sample_rate)
        request.features.write_bytes(pack_features(values))
    except UnusableAudioError as error:
        return Failed("INVALID_AUDIO", str(error))
    except soundfile.LibsndfileError as error:
        if shutil.disk_usage(request.folder).free < FULL_BYTES:
            return Failed("DISK_FULL", f"the disk of {request.folder} is full")
        return Failed(
            "INVALID_AUDIO",
            f"the file is damaged, decoding stopped ({_libsndfile_message(error)}): {CONVERT}",
        )
    except MemoryError:
        return Failed(
            "INVALID_AUDIO",
            "decoding needs more memory than one file may use (EARMARK_AUDIO_MEMORY_MB): split the file",
        )
    except Exception as error:
        log.exception("decoding crashed")
        reason = "DISK_FULL" if is_of_disk(error) else "INTERNAL"
        return Failed(reason, f"decoding stopped ({type(error).__name__}: {error})")
    return Featured()


def decode(request: DecodeRequest) -> tuple[Decoded, Float32[np.ndarray, "channels samples"]]:
    """Writes request.audio. Also returns the samples, memory-mapped from a file in request.folder.

    Raises UnusableAudioError, and soundfile.LibsndfileError if decoding stops at damage.
    """
    container = sniff(request.source)
    check_whole(request.source, container)
    with open_audio(request.source, container) as source:
        check_header(source)
        limit_cpu(OPEN_CPU_SECONDS + source.frames * source.channels // VALUES_PER_CPU_SECOND)
        raw = request.folder / "samples"
        count = copy_samples(source, request.audio, raw)
        check_length(count, source)
        shape = (count, source.channels)
        samples = np.memmap(raw, np.float32, "r", shape=shape).T
        return Decoded(count * 1000 // source.samplerate, source.samplerate, source.channels), samples


def open_audio(path: Path, container: str) -> soundfile.SoundFile:
    """Raises UnusableAudioError if libsndfile does not recognise the file as a `container` file."""
    try:
        source = soundfile.SoundFile(path)
    except soundfile.LibsndfileError as error:
        raise UnusableAudioError(
            f"the file begins like {container} but cannot be read ({_libsndfile_message(error)}): it is "
            f"damaged, cut short or of a codec that is not supported; {CONVERT}"
        ) from error
    if source.format not in LIBSNDFILE_FORMATS[container]:
        source.close()
        raise UnusableAudioError(f"the file begins like {container} but contains {source.format}: {CONVERT}")
    return source


def check_header(source: soundfile.SoundFile) -> None:
    """Raises UnusableAudioError, before anything is allocated according to the header."""
    rate, channels, seconds = source.samplerate, source.channels, source.frames / max(1, source.samplerate)
    if channels not in CHANNELS:
        raise UnusableAudioError(
            f"the file has {channels} channels, 1 to {CHANNELS[-1]} are supported: mix it down"
        )
    if rate not in SAMPLE_RATES or (rate > COARSEST_FLAC_RATE and rate % 10):
        raise UnusableAudioError(
            f"the sample rate is {rate:,} Hz; {SAMPLE_RATES[0]:,} to {SAMPLE_RATES[-1]:,} Hz are supported, "
            f"above {COARSEST_FLAC_RATE:,} Hz in steps of 10: resample it"
        )
    if source.frames == 0:
        raise UnusableAudioError("the file contains no audio (0 samples): upload one that does")
    if source.frames * 1000 < MIN_MS * rate:
        raise UnusableAudioError(
            f"the audio is {seconds * 1000:.0f} ms long, at least {MIN_MS} ms are needed"
        )
    if seconds > MAX_HOURS * 3600 or source.frames * channels > MAX_VALUES:
        raise UnusableAudioError(
            f"the audio is {seconds / 3600:.1f} hours of {channels} channel(s) at {rate:,} Hz; at most "
            f"{MAX_HOURS} hours and {MAX_VALUES:,} samples are supported: split it"
        )


def copy_samples(source: soundfile.SoundFile, audio: Path, raw: Path) -> int:
    """Decodes block by block into FLAC and into raw float32. Returns the number of samples per channel."""
    subtype = "PCM_24" if source.subtype in FINE_SUBTYPES else "PCM_16"
    count = 0
    with (
        raw.open("wb") as raw_file,
        soundfile.SoundFile(audio, "w", source.samplerate, source.channels, subtype, format="FLAC") as flac,
    ):
        while len(block := source.read(BLOCK_SAMPLES // source.channels, "float32", always_2d=True)):
            check_values(block, count, source.samplerate)
            raw_file.write(block.tobytes())
            flac.write(block)
            count += len(block)
    return count


def check_values(block: Float32[np.ndarray, "samples channels"], offset: int, rate: int) -> None:
    """Raises UnusableAudioError. The block begins `offset` samples after the start of the file."""
    peaks = np.abs(block).max(axis=1)
    if not np.isfinite(peaks).all():
        at = (offset + int(np.argmin(np.isfinite(peaks)))) / rate
        raise UnusableAudioError(f"the sample at {at:.3f} s is not a finite number: export the file again")
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


def _libsndfile_message(error: soundfile.LibsndfileError) -> str:
    return error.error_string.strip(" .:") or f"error {error.code}"
