"""The audio processes, as the front sees them: a few, used again and again, replaced when they die."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import structlog

from trainer.service.changes import Changes
from trainer.service.processes import Child, ProcessLostError
from trainer.settings import TrainerSettings
from trainer.workers.wire import Decoded, DecodeRequest, Failed, Featured

FILES_PER_PROCESS = 200  # what a decoder leaks ends with its process
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
OUT_OF_TIME = (signal.SIGXCPU, signal.SIGALRM)

log = structlog.get_logger()


@dataclass(eq=False, slots=True)
class _Process:
    child: Child
    files: int = 0


class AudioPool:
    """At most `settings.audio_processes` files are decoded at a time; further ones wait."""

    def __init__(self, settings: TrainerSettings, changes: Changes) -> None:
        self._settings = settings
        self._changes = changes
        self._slots = asyncio.Semaphore(settings.audio_processes)
        self._idle = [self._start()]  # the others when they are needed
        self._busy: set[_Process] = set()

    @property
    def size(self) -> int:
        """Files at a time."""
        return self._settings.audio_processes

    @property
    def free(self) -> int:
        """How many more would be decoded at once."""
        return self.size - len(self._busy)

    @asynccontextmanager
    async def decoding(self, request: DecodeRequest) -> AsyncIterator["Decoding"]:
        """A process at work on this file; left by an error, it is killed.

        Raises ProcessLostError when a process cannot start.
        """
        async with self._process() as child:
            await child.send(request)
            yield Decoding(child)

    async def decode(self, request: DecodeRequest) -> Decoded | Failed:
        """Decodes one file and computes its features. Raises ProcessLostError when a process cannot start."""
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
        """A warm process. One whose file was given up is killed, for it may be in the middle of it."""
        async with self._slots:
            process = self._idle.pop() if self._idle else self._start()
            self._busy.add(process)
            self._changes.notify()
            try:
                if process.files == 0:
                    await process.child.receive()  # Ready
                yield process.child
            except BaseException:
                process.child.kill()
                raise
            else:
                self._give_back(process)
            finally:
                self._busy.discard(process)
                self._changes.notify()

    def _give_back(self, process: _Process) -> None:
        process.files += 1
        if process.child.alive and process.files < FILES_PER_PROCESS:
            self._idle.append(process)
        else:
            process.child.kill()

    def _start(self) -> _Process:
        return _Process(Child("trainer.workers.audio", self._settings, ONE_THREAD))


class Decoding:
    """What a process says of one file. Whatever the file does to it is Failed, with what to do."""

    def __init__(self, child: Child) -> None:
        self._child = child

    async def decoded(self) -> Decoded | Failed:
        """First. The process goes on to the features by itself."""
        return await self._said()

    async def featured(self) -> Featured | Failed:
        """Second, where it was Decoded."""
        return await self._said()

    async def _said(self) -> Any:
        try:
            return await self._child.receive()
        except ProcessLostError as error:
            log.warning("an audio process is gone", child=self._child.pid, error=str(error))
            return Failed("INVALID_AUDIO", _died(error))


def _died(error: ProcessLostError) -> str:
    if error.signal in OUT_OF_TIME:
        return (
            "decoding took too long: the file is damaged, or made to do that; convert it and upload it again"
        )
    return f"the file brought the decoder down (it {error}): it is damaged; convert it and upload it again"
