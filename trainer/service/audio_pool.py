"""A warm pool of decoding processes: each decodes many files, and is replaced when it exits."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog

from earmark.trainer.service.changes import Changes
from earmark.trainer.service.processes import Child, ProcessLostError
from earmark.trainer.settings import TrainerSettings
from earmark.trainer.workers.wire import Decoded, DecodeRequest, Failed, Featured

FILES_PER_PROCESS = 200  # bounds what a decoder can leak: its memory is freed when its process ends
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
TIME_LIMIT_SIGNALS = (signal.SIGXCPU, signal.SIGALRM)
CRASH_SIGNALS = (signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT, signal.SIGSYS)

log = structlog.get_logger()


@dataclass(eq=False, slots=True)
class _PooledProcess:
    child: Child
    files_decoded: int = 0


class AudioPool:
    """At most `settings.audio_processes` files are decoded at a time; further files wait.

    One process is started in advance, the others when they are first needed.
    """

    def __init__(self, settings: TrainerSettings, changes: Changes) -> None:
        self._settings = settings
        self._changes = changes
        self._slots = asyncio.Semaphore(settings.audio_processes)
        self._idle = [self._start()]
        self._busy: set[_PooledProcess] = set()

    @property
    def size(self) -> int:
        """How many files can be decoded at a time."""
        return self._settings.audio_processes

    @property
    def free(self) -> int:
        """How many more files can be decoded without waiting."""
        return self.size - len(self._busy)

    @asynccontextmanager
    async def decoding(self, request: DecodeRequest) -> AsyncIterator["Decoding"]:
        """Yields the results of a process that decodes this file. An error in the body kills the process.

        Raises ProcessLostError if a process cannot start.
        """
        async with self._process() as child:
            await child.send(request)
            yield Decoding(child)

    async def decode(self, request: DecodeRequest) -> Decoded | Failed:
        """Decodes one file and computes its features. Raises ProcessLostError if a process cannot start."""
        async with self.decoding(request) as decoding:
            decoded = await decoding.decoded()
            if isinstance(decoded, Failed):
                return decoded
            featured = await decoding.featured()
            return featured if isinstance(featured, Failed) else decoded

    async def close(self) -> None:
        """Ends every process."""
        await asyncio.gather(*(process.child.close() for process in {*self._idle, *self._busy}))

    @asynccontextmanager
    async def _process(self) -> AsyncIterator[Child]:
        """Yields a warm process. An error in the body kills it, since it may still be decoding the file."""
        async with self._slots:
            process = self._warm()
            self._busy.add(process)
            self._changes.notify()
            try:
                if process.files_decoded == 0:
                    await process.child.receive()  # Ready
                yield process.child
            except BaseException:
                process.child.kill()
                raise
            else:
                self._return_to_pool(process)
            finally:
                self._busy.discard(process)
                self._changes.notify()

    def _return_to_pool(self, process: _PooledProcess) -> None:
        process.files_decoded += 1
        if process.child.alive and process.files_decoded < FILES_PER_PROCESS:
            self._idle.append(process)
        else:
            process.child.kill()

    def _warm(self) -> _PooledProcess:
        """An idle process that lives, or a new one. The kernel kills idle ones first when memory is short."""
        while self._idle:
            process = self._idle.pop()
            if process.child.alive:
                return process
        return self._start()

    def _start(self) -> _PooledProcess:
        return _PooledProcess(Child("earmark.trainer.workers.audio", self._settings, ONE_THREAD))


class Decoding:
    """The results of one file. A file that crashes its process or exceeds its time limit gives Failed."""

    def __init__(self, child: Child) -> None:
        self._child = child

    async def decoded(self) -> Decoded | Failed:
        """Returns the first result. The process continues with the features on its own."""
        try:
            decoded: Decoded | Failed = await self._child.receive()
        except ProcessLostError as error:
            return self._process_lost(error)
        return decoded

    async def featured(self) -> Featured | Failed:
        """Returns the second result. There is none if the first is Failed."""
        try:
            featured: Featured | Failed = await self._child.receive()
        except ProcessLostError as error:
            return self._process_lost(error)
        return featured

    def _process_lost(self, error: ProcessLostError) -> Failed:
        log.warning("an audio process exited while decoding", child=self._child.pid, error=str(error))
        if error.signal in TIME_LIMIT_SIGNALS:
            return Failed(
                "INVALID_AUDIO",
                "decoding took too long: the file is damaged or was made to be slow to decode; "
                "convert it and upload it again",
            )
        if error.signal in CRASH_SIGNALS:
            return Failed(
                "INVALID_AUDIO",
                f"the file crashed the decoder (it {error}): the file is damaged; "
                "convert it and upload it again",
            )
        # Somebody else ended it, such as the kernel when memory is short: that says nothing about the file.
        return Failed("TRAINER_LOST", f"the process that decoded it {error}")
