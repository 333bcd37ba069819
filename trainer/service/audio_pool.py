"""A warm pool of decoding processes: each decodes many files, and is replaced when it exits.

What they send is checked: they decode untrusted files, so each of them may do what its file wants.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog

from earmark.trainer.service.changes import Changes
from earmark.trainer.service.decoding import AudioFiles, Decoding, process_lost, receive
from earmark.trainer.service.errors import CallError
from earmark.trainer.service.fair_slots import FairSlots
from earmark.trainer.service.processes import Child, ProcessLostError
from earmark.trainer.settings import TrainerSettings
from earmark.trainer.workers.wire import (
    Decoded,
    DecodeFailed,
    DecodeLimits,
    DecoderReady,
    Failed,
)

AUDIO = "earmark.trainer.workers.audio"
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
SHORT_SECONDS = 120.0  # for each of the two results of a short file, on the clock
MAX_WAITING = 100  # long files; with more, the pool has no free slot

log = structlog.get_logger()

Fetch = Callable[[], Awaitable[None]]


@dataclass(eq=False, slots=True)
class _PooledProcess:
    child: Child
    ready: asyncio.Task[DecoderReady]
    files_decoded: int = 0
    successor: "_PooledProcess | None" = None

    @property
    def is_ready(self) -> bool:
        """Whether it has started, and lives."""
        return self.ready.done() and self.child.alive


class AudioPool:
    """At most `settings.audio_processes` files are decoded at a time, and a short one besides.

    Long files wait for each other, and never take the last slot. Files of jobs, of any length, leave one to
    the others. Callers take turns. One process is started in advance, the others when they are first needed.
    A process that has ended, or will end, has a successor at once: to start one takes seconds, and a file
    that needs it would wait so long.
    """

    def __init__(self, settings: TrainerSettings, changes: Changes, module: str = AUDIO) -> None:
        """Starts a process of `module`."""
        # How often audio was not decoded, by the reason.
        self.failures: Counter[str] = Counter()
        self._settings = settings
        self._changes = changes
        self._module = module
        self._size = settings.audio_processes + 1
        self._slots = FairSlots(self._size)
        self._slots_of_long = FairSlots(settings.audio_processes)
        self._waiting = 0
        self._stored_files = 0
        self._protections_reported = False
        self._is_closed = False
        self._busy: set[_PooledProcess] = set()
        self._live: set[_PooledProcess] = set()
        self._idle = [self._start()]

    @property
    def size(self) -> int:
        """How many stored files can be in the pool: decoded, and long ones that wait."""
        return self._size + self._waiting

    @property
    def free(self) -> int:
        """How many more stored files can be begun: all processes less those of stored files.

        They take turns with the recordings that other callers send, and long ones wait for each other.
        """
        return min(self._size, self.size - self._stored_files) if self._waiting < MAX_WAITING else 0

    @property
    def free_live(self) -> int:
        """How many more live streams can be opened."""
        return self._settings.live_streams - len(self._live)

    @asynccontextmanager
    async def decoding_stored(self, files: AudioFiles, caller: str, fetch: Fetch) -> AsyncIterator[Decoding]:
        """The same as `decoding` for a file from the object store, which `free` counts."""
        self._stored_files += 1
        self._changes.notify()
        try:
            async with self.decoding(files, caller, stores_audio=True, fetch=fetch) as decoding:
                yield decoding
        finally:
            self._stored_files -= 1
            self._changes.notify()

    @asynccontextmanager
    async def decoding(
        self,
        files: AudioFiles,
        caller: str,
        *,
        stores_audio: bool = False,
        fetch: Fetch | None = None,
        of_job: bool = False,
    ) -> AsyncIterator[Decoding]:
        """Yields what a process decodes. An error in the body kills the process.

        `fetch` writes the source again: if it is given, a long file that waits for its turn is not kept on
        the disk. A file `of_job` lets others go before it. Raises ProcessLostError if a process cannot start.
        """
        turn = partial(self._process, caller, of_job=of_job)
        async with turn() as child:
            decoding = Decoding(child, files, SHORT_SECONDS, self.failures)
            await decoding.begin(long=False, stores_audio=stores_audio)
            if not decoding.is_long:
                yield decoding
                return
        async with self._long_file(files, fetch, caller, of_job=of_job), turn() as child:
            decoding = Decoding(child, files, self._settings.audio_max_seconds, self.failures)
            await decoding.begin(long=True, stores_audio=stores_audio)
            yield decoding

    async def decode(
        self, files: AudioFiles, caller: str, *, fetch: Fetch | None = None, of_job: bool = False
    ) -> Decoded | Failed:
        """Computes the features of a file; see `decoding`."""
        async with self.decoding(files, caller, fetch=fetch, of_job=of_job) as decoding:
            featured = await decoding.featured()
            return featured if isinstance(featured, Failed) else decoding.decoded

    @asynccontextmanager
    async def live(self) -> AsyncIterator[Child]:
        """Yields a process for one stream, which never waits for files. It is killed at the end.

        Raises CallError if there are too many streams, and ProcessLostError if a process cannot start.
        """
        if len(self._live) >= self._settings.live_streams:
            raise CallError(
                "NO_FREE_SLOT",
                f"this trainer has {self._settings.live_streams} live streams (EARMARK_LIVE_STREAMS), and "
                "takes no more",
            )
        process = self._warm()
        self._live.add(process)
        if not self._idle:  # the next stream does not wait for its start
            self._idle.append(self._start())
        try:
            await asyncio.shield(process.ready)
            yield process.child
        finally:
            process.child.kill()
            self._live.discard(process)

    async def live_result(self, child: Child, kind: type) -> Any:
        """Returns the next result of a LiveRequest, which is of this kind or Failed."""
        try:
            result = await receive(child, kind, DecodeFailed)
        except ProcessLostError as error:
            result = process_lost(child, error)
        if isinstance(result, DecodeFailed):
            result = Failed(result.reason, result.message)
        if isinstance(result, Failed):
            self.failures[result.reason] += 1
        return result

    async def close(self) -> None:
        """Ends every process."""
        self._is_closed = True
        processes = {*self._idle, *self._busy, *self._live}
        processes |= {process.successor for process in processes if process.successor is not None}
        await asyncio.gather(*(process.child.close() for process in processes))

    @asynccontextmanager
    async def _long_file(
        self, files: AudioFiles, fetch: Fetch | None, caller: str, *, of_job: bool
    ) -> AsyncIterator[None]:
        if fetch is not None:
            files.source.unlink()
        async with AsyncExitStack() as stack:
            self._waiting += 1
            self._changes.notify()
            try:
                await stack.enter_async_context(self._slots_of_long.one(caller, of_job=of_job))
            finally:
                self._waiting -= 1
                self._changes.notify()
            if fetch is not None:
                await fetch()
            yield

    @asynccontextmanager
    async def _process(self, caller: str, *, of_job: bool) -> AsyncIterator[Child]:
        """Yields a warm process. An error in the body kills it, since it may still be decoding the file."""
        async with self._slots.one(caller, of_job=of_job):
            process = self._warm()
            self._busy.add(process)
            self._prepare_end(process)
            self._changes.notify()
            try:
                await asyncio.shield(process.ready)
                yield process.child
            except BaseException:
                process.child.kill()
                self._succeed(process)
                raise
            else:
                self._return_to_pool(process)
            finally:
                self._busy.discard(process)
                self._changes.notify()

    def _return_to_pool(self, process: _PooledProcess) -> None:
        process.files_decoded += 1
        child, limit = process.child, self._settings.audio_files_per_process
        if child.alive and not child.too_loud and process.files_decoded < limit:
            self._idle.append(process)
        else:
            child.kill()
            self._succeed(process)

    def _prepare_end(self, process: _PooledProcess) -> None:
        """Starts the successor of a process that gets one of its last files."""
        limit = self._settings.audio_files_per_process
        is_late = process.files_decoded + 1 >= limit - limit // 4
        if is_late and not (process.successor and process.successor.child.alive):
            process.successor = self._start_ahead()

    def _succeed(self, process: _PooledProcess) -> None:
        """Puts another process in the place of one that has ended."""
        if successor := process.successor or self._start_ahead():
            self._idle.append(successor)

    def _start_ahead(self) -> _PooledProcess | None:
        """A process that no file needs yet. If it cannot be started, the next file tries again."""
        with suppress(OSError):
            return None if self._is_closed else self._start()
        return None

    def _warm(self) -> _PooledProcess:
        """An idle process, one that has started if there is any; a new one if there is none.

        The kernel kills idle ones first when memory is short.
        """
        self._idle = [process for process in self._idle if process.child.alive]
        if not self._idle:
            return self._start()
        process = next((each for each in reversed(self._idle) if each.is_ready), self._idle[-1])
        self._idle.remove(process)
        return process

    def _start(self) -> _PooledProcess:
        child = Child(self._module, decode_limits(self._settings), ONE_THREAD, trusted=False)
        ready = asyncio.create_task(_ready(child))
        ready.add_done_callback(self._report_start)
        return _PooledProcess(child, ready)

    def _report_start(self, ready: asyncio.Task[DecoderReady]) -> None:
        """Logs, once, which protections this machine does not allow."""
        if ready.cancelled() or ready.exception() is not None or self._protections_reported:
            return
        self._protections_reported = True
        if missing := ready.result().unprotected:
            log.warning(
                "this machine does not allow every protection from exploited decoders", missing=missing
            )


def decode_limits(settings: TrainerSettings) -> DecodeLimits:
    """What decoding one file may cost."""
    return DecodeLimits(
        memory_bytes=settings.audio_memory_mb << 20,
        scratch_bytes=settings.audio_scratch_mb << 20,
        max_samples=settings.audio_max_samples,
        max_samples_per_second=settings.audio_max_samples_per_second,
        min_speed=settings.audio_min_speed,
    )


async def _ready(child: Child) -> DecoderReady:
    ready: DecoderReady = await receive(child, DecoderReady)
    return ready
