"""The audio process: decodes untrusted files under resource limits, and computes their features.

Training and detection both use features computed here, so that the two cannot differ. The process is
confined before it reads the first byte of a file, and has only the descriptors that the front sends: it uses
no network, no object store and no JAX.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Literal

import numpy as np
import soundfile  # type: ignore[import-untyped]  # has no stubs
import structlog

from earmark.disk import is_of_disk
from earmark.trainer.features.stored import write_features
from earmark.trainer.logs import configure_logging
from earmark.trainer.workers import sources
from earmark.trainer.workers.containers.errors import UnusableAudioError
from earmark.trainer.workers.decoding import OPEN_CPU_SECONDS, DecodeFiles, LongFileError, decode
from earmark.trainer.workers.limits import limit_cpu, limit_resources
from earmark.trainer.workers.live_audio import process_live
from earmark.trainer.workers.packets import PacketConnection
from earmark.trainer.workers.sandbox import confine
from earmark.trainer.workers.wire import (
    Decoded,
    DecodeFailed,
    DecodeLimits,
    DecodeRequest,
    DecoderReady,
    Featured,
    LiveOpened,
    LiveRequest,
    Long,
)

FULL_BYTES = 1 << 20  # libsndfile does not say why it could not write
WARM_UP_HZ = 8_000

log = structlog.get_logger()


def serve(connection: PacketConnection, limits: DecodeLimits) -> None:
    """Sends DecoderReady. Answers each DecodeRequest with Decoded and Featured, a LiveRequest with
    LiveOpened and Decoded.

    DecodeFailed replaces either, and Long both. Raises EOFError when the front has closed its end.
    """
    configure_logging("warning")
    warm_up(limits)
    limit_resources(limits)
    connection.send(DecoderReady(confine()))
    while True:
        request, descriptors = connection.recv_with_descriptors()
        if isinstance(request, LiveRequest):
            (descriptor,) = descriptors
            for answer in answer_live(request, descriptor, limits):
                connection.send(answer)
            os.close(descriptor)
        else:
            files = DecodeFiles(*descriptors)
            for message in process_file(request, files, limits):
                connection.send(message)
            files.close()
        limit_cpu(None)


def warm_up(limits: DecodeLimits) -> None:
    """Loads what decoding imports while it runs, by decoding a file: later this process can open none."""
    with ExitStack() as stack:
        source, *results = (stack.enter_context(tempfile.TemporaryFile()) for _ in range(4))
        soundfile.write(source, np.zeros(WARM_UP_HZ), WARM_UP_HZ, format="FLAC")
        files = DecodeFiles(source.fileno(), *(file.fileno() for file in results))
        *_, last = process_file(DecodeRequest(long=False), files, limits)
        sources.warm_up(source)
    if last != Featured():
        raise RuntimeError(f"this machine cannot decode: {last}")


def process_file(
    request: DecodeRequest, files: DecodeFiles, limits: DecodeLimits
) -> Iterator[Decoded | Featured | DecodeFailed | Long]:
    """Decodes one file and stores its features. Yields Decoded and Featured, or why there is no more."""
    limit_cpu(OPEN_CPU_SECONDS)
    try:
        decoded, samples = decode(request, files, limits)
        yield decoded
        with open(files.features, "r+b", closefd=False) as file:
            write_features(file, samples, decoded.sample_rate, views=files.views)
    except LongFileError:
        yield Long()
    except UnusableAudioError as error:
        yield DecodeFailed("INVALID_AUDIO", str(error))
    except soundfile.LibsndfileError:
        full = free_bytes(files.samples) < FULL_BYTES
        yield (
            DecodeFailed("DISK_FULL", "the disk is full")
            if full
            else DecodeFailed("INTERNAL", "the audio could not be stored")
        )
    except sources.NoDecoderError as error:
        yield DecodeFailed("INTERNAL", str(error))
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


def answer_live(
    request: LiveRequest, descriptor: int, limits: DecodeLimits
) -> Iterator[LiveOpened | Decoded | DecodeFailed]:
    """Computes the features of live audio. Yields LiveOpened and Decoded, or why there is no more."""
    limit_cpu(OPEN_CPU_SECONDS)
    try:
        yield from process_live(request, descriptor, limits)
    except UnusableAudioError as error:
        yield DecodeFailed("INVALID_AUDIO", str(error))
    except sources.NoDecoderError as error:
        yield DecodeFailed("INTERNAL", str(error))
    except Exception as error:
        log.exception("computing the features of live audio crashed")
        yield DecodeFailed("INTERNAL", f"decoding stopped ({type(error).__name__})")


def free_bytes(descriptor: int) -> int:
    """The free space of the file system that has this file."""
    status = os.fstatvfs(descriptor)
    return status.f_bavail * status.f_frsize
