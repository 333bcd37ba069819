"""The audio process: decodes untrusted files under limits, and computes their features.

Training and detection take their features from here, so that the two can never differ. The process reads
and writes files that the front names, and nothing else: no network, no object store, no JAX.
"""

import resource
import signal
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import soundfile
import structlog

from trainer.features.frontend import features, pack_features
from trainer.logs import configure_logging
from trainer.settings import TrainerSettings
from trainer.workers.formats import CONVERT, UnusableAudioError, check_whole, sniff
from trainer.workers.wire import Decoded, DecodeRequest, Failed, Featured, Ready

CHANNELS = range(1, 9)
SAMPLE_RATES = range(8_000, 192_001)
MIN_MS = 100
MAX_HOURS = 6
MAX_VALUES = 1 << 30  # samples of all channels: 4 GiB while in work, 3 h of stereo at 48 kHz
BLOCK_SAMPLES = 1 << 18  # of all channels
MAX_LEVEL = 16.0  # of a float file; above that its samples are integers in disguise
FINE_SUBTYPES = frozenset({"PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ALAC_20", "ALAC_24", "ALAC_32"})
READ_AS = {"WAV": ("WAV", "WAVEX", "RF64"), "FLAC": ("FLAC",), "OGG": ("OGG",), "MP3": ("MP3",)}
COARSEST_FLAC_RATE = 65_535  # above it FLAC stores multiples of 10 Hz

OPEN_FILES = 64
OPEN_CPU_SECONDS = 60
VALUES_PER_CPU_SECOND = 100_000  # a tenth of what the slowest rate measured needs
WALL_FACTOR = 4  # on a machine that is busy

log = structlog.get_logger()


def serve(connection: Connection, settings: TrainerSettings) -> None:
    """Says Ready, then answers each DecodeRequest with Decoded and Featured, or Failed as the last.

    Raises EOFError when the front is gone.
    """
    configure_logging(settings.log_level)
    features(np.zeros((1, SAMPLE_RATES[0]), np.float32), SAMPLE_RATES[0])  # imports all that it needs
    limit_memory(settings.audio_memory_mb << 20)
    connection.send(Ready())
    while True:
        connection.send(process(connection.recv(), connection))
        allow_cpu(None)


def limit_memory(data_bytes: int) -> None:
    """Private memory beyond this raises MemoryError; files mapped for reading do not count."""
    resource.setrlimit(resource.RLIMIT_DATA, (data_bytes, data_bytes))
    resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, OPEN_FILES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (MAX_VALUES * 5, MAX_VALUES * 5))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def allow_cpu(seconds: int | None) -> None:
    """From now on, the kernel kills the process: SIGXCPU after these, SIGALRM after WALL_FACTOR as many."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    spent = int(usage.ru_utime + usage.ru_stime)
    limit = resource.RLIM_INFINITY if seconds is None else spent + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))
    signal.alarm(0 if seconds is None else seconds * WALL_FACTOR)


def process(request: DecodeRequest, connection: Connection) -> Featured | Failed:
    """Sends Decoded on the way."""
    allow_cpu(OPEN_CPU_SECONDS)
    try:
        decoded, samples = decode(request)
        connection.send(decoded)
        values = features(samples, decoded.sample_rate)
        request.features.write_bytes(pack_features(values))
    except UnusableAudioError as error:
        return Failed("INVALID_AUDIO", str(error))
    except soundfile.LibsndfileError as error:
        said = error.error_string.strip(" .:") or f"error {error.code}"
        return Failed("INVALID_AUDIO", f"the file is damaged, decoding stopped ({said}): {CONVERT}")
    except MemoryError:
        return Failed(
            "INVALID_AUDIO",
            "decoding takes more memory than one file may (EARMARK_AUDIO_MEMORY_MB): split the file",
        )
    except Exception as error:
        log.exception("decoding crashed")
        return Failed("INTERNAL", f"decoding failed for a reason of ours ({type(error).__name__}: {error})")
    return Featured()


def decode(request: DecodeRequest) -> tuple[Decoded, np.ndarray]:
    """Writes request.audio. Returns the audio (channels, samples) float32 too, on disk, not in memory.

    Raises UnusableAudioError, and soundfile.LibsndfileError for damage.
    """
    container = sniff(request.source)
    check_whole(request.source, container)
    with open_audio(request.source, container) as source:
        check_header(source)
        allow_cpu(OPEN_CPU_SECONDS + source.frames * source.channels // VALUES_PER_CPU_SECOND)
        raw = request.folder / "samples"
        count = copy_samples(source, request.audio, raw)
        check_length(count, source)
        shape = (count, source.channels)
        samples = np.memmap(raw, np.float32, "r", shape=shape).T
        return Decoded(count * 1000 // source.samplerate, source.samplerate, source.channels), samples


def open_audio(path: Path, container: str) -> soundfile.SoundFile:
    """Raises UnusableAudioError for what libsndfile does not take for `container`."""
    try:
        source = soundfile.SoundFile(path)
    except soundfile.LibsndfileError as error:
        said = error.error_string.strip(" .:") or f"error {error.code}"
        raise UnusableAudioError(
            f"the file begins like {container} but cannot be read ({said}): it is damaged, cut short or of a "
            f"codec that is not supported; {CONVERT}"
        ) from error
    if source.format not in READ_AS[container]:
        source.close()
        raise UnusableAudioError(f"the file begins like {container} but holds {source.format}: {CONVERT}")
    return source


def check_header(source: soundfile.SoundFile) -> None:
    """Before anything is allocated by what the header says."""
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
        raise UnusableAudioError("the file holds no audio (0 samples): upload one that does")
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
    """Decodes block by block into FLAC and into plain float32. Returns the samples of one channel."""
    subtype = "PCM_24" if source.subtype in FINE_SUBTYPES else "PCM_16"
    count = 0
    with (
        raw.open("wb") as plain,
        soundfile.SoundFile(audio, "w", source.samplerate, source.channels, subtype, format="FLAC") as flac,
    ):
        while len(block := source.read(BLOCK_SAMPLES // source.channels, "float32", always_2d=True)):
            check_values(block, count, source.samplerate)
            plain.write(block.tobytes())
            flac.write(block)
            count += len(block)
    return count


def check_values(block: np.ndarray, before: int, rate: int) -> None:
    """(samples, channels) float32, `before` samples into the file."""
    peaks = np.abs(block).max(axis=1)
    if not np.isfinite(peaks).all():
        at = (before + int(np.argmin(np.isfinite(peaks)))) / rate
        raise UnusableAudioError(f"the sample at {at:.3f} s is not a finite number: export the file again")
    if peaks.max() > MAX_LEVEL:
        raise UnusableAudioError(
            f"samples reach {peaks.max():,.0f} where full scale is 1: these are integers stored as floating "
            "point; divide them by their full scale"
        )


def check_length(count: int, source: soundfile.SoundFile) -> None:
    """The header's word against what was decoded."""
    if count != source.frames:
        found, announced = count / source.samplerate, source.frames / source.samplerate
        raise UnusableAudioError(
            f"the file is cut short or damaged: its header announces {announced:.2f} s of audio, "
            f"{found:.2f} s could be decoded; upload the whole file"
        )
