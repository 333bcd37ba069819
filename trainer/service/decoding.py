"""One file in a process that decodes: its files on disk, and what the process says about it."""

import asyncio
import os
import signal
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from earmark.trainer.service.processes import Child, ProcessLostError
from earmark.trainer.workers.wire import Decoded, DecodeFailed, DecodeRequest, Failed, Featured, Long

CRASH_SIGNALS = (signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT, signal.SIGSYS)
DISK_PROBE_BYTES = 1 << 20

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class AudioFiles:
    """The files of one recording, in a folder of their own."""

    folder: Path

    @property
    def source(self) -> Path:
        """The bytes that were uploaded."""
        return self.folder / "source"

    @property
    def audio(self) -> Path:
        """FLAC at the source's own rate, with all its channels."""
        return self.folder / "audio.flac"

    @property
    def features(self) -> Path:
        """The output of trainer.features.frontend.pack_features."""
        return self.folder / "features"

    @property
    def scores(self) -> Path:
        """What a model finds in the features, as earmark.scores packs it."""
        return self.folder / "scores"

    @contextmanager
    def opened(self, *, stores_audio: bool) -> Iterator[list[int]]:
        """Yields the descriptors that a DecodeRequest needs."""
        with ExitStack() as stack:
            source = stack.enter_context(self.source.open("rb"))
            samples = stack.enter_context(tempfile.TemporaryFile(dir=self.folder))
            written = [self.features, self.audio] if stores_audio else [self.features]
            results = [stack.enter_context(path.open("wb+")) for path in written]
            yield [file.fileno() for file in (source, samples, *results)]


async def receive(child: Child, *kinds: type) -> Any:
    """The next message. Raises ProcessLostError if it is of another kind, and kills the process."""
    message = await child.receive()
    if not isinstance(message, kinds):
        child.kill()
        raise ProcessLostError(f"sent {type(message).__name__} out of turn")
    return message


class Decoding:
    """The results of one file. A file that crashes its process or exceeds its CPU time gives Failed."""

    def __init__(self, child: Child, files: AudioFiles, seconds: float, failures: Counter[str]) -> None:
        """`seconds`: the time for each of the two results. `failures` counts those that are Failed."""
        self.decoded: Decoded | Failed = Failed("INTERNAL", "decoding has not begun")
        self.is_long = False
        self._child = child
        self._files = files
        self._seconds = seconds
        self._failures = failures

    async def begin(self, *, long: bool, stores_audio: bool) -> None:
        """Has the file decoded. Returns when `decoded` or `is_long` is set.

        The process continues with the features on its own.
        """
        with self._files.opened(stores_audio=stores_audio) as descriptors:
            await self._child.send(DecodeRequest(long=long), descriptors)
        result = await self._result(Decoded, *([] if long else [Long]))
        if isinstance(result, Long):
            self.is_long = True
        else:
            self.decoded = result

    async def featured(self) -> Featured | Failed:
        """Returns the second result, or the first if it is Failed."""
        if isinstance(self.decoded, Failed):
            return self.decoded
        featured: Featured | Failed = await self._result(Featured)
        return featured

    async def _result(self, *kinds: type) -> Any:
        result = await self._received(*kinds)
        if isinstance(result, Failed):
            self._failures[result.reason] += 1
        return result

    async def _received(self, *kinds: type) -> Any:
        try:
            async with asyncio.timeout(self._seconds):
                result = await receive(self._child, DecodeFailed, *kinds)
        except ProcessLostError as error:
            return process_lost(self._child, error)
        except TimeoutError:
            self._child.kill()
            return Failed("TRAINER_LOST", f"decoding has not ended within {self._seconds:g} s")
        return await self._failed(result) if isinstance(result, DecodeFailed) else result

    async def _failed(self, failed: DecodeFailed) -> Failed:
        """A process that blames the disk is not believed: others would wait until the disk is checked."""
        if failed.reason == "DISK_FULL" and await asyncio.to_thread(_is_writable, self._files.folder):
            return Failed("INTERNAL", failed.message)
        return Failed(failed.reason, failed.message)


def process_lost(child: Child, error: ProcessLostError) -> Failed:
    """What the loss of a process says about what it decoded."""
    log.warning("an audio process was lost while decoding", child=child.pid, error=str(error))
    if error.signal == signal.SIGXCPU:
        return Failed(
            "INVALID_AUDIO",
            "decoding took too long (EARMARK_AUDIO_MIN_SPEED): the file is damaged or was made to be "
            "slow to decode; convert it and upload it again",
        )
    if error.signal in CRASH_SIGNALS:
        return Failed(
            "INVALID_AUDIO",
            f"the file crashed the decoder (it {error}): the file is damaged; convert it and upload it again",
        )
    # Somebody else ended it, such as the kernel when memory is short: that says nothing about the file.
    return Failed("TRAINER_LOST", f"the process that decoded it {error}")


def _is_writable(folder: Path) -> bool:
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(DISK_PROBE_BYTES))
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        return False
    return True
