"""The audio processes, as the front sees them: a few, used again and again, replaced when they die."""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog

from trainer.service.changes import Changes
from trainer.service.processes import Child, ProcessLostError
from trainer.settings import Settings
from trainer.workers.wire import Decoded, DecodeRequest, Failed

FILES_PER_PROCESS = 200  # what a decoder leaks ends with its process
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
OUT_OF_TIME = (signal.SIGXCPU, signal.SIGALRM)

log = structlog.get_logger()
OnDecoded = Callable[[Decoded], Awaitable[None]]


@dataclass(eq=False, slots=True)
class _Process:
    child: Child
    files: int = 0


class AudioPool:
    """At most `settings.audio_processes` files are decoded at a time; further ones wait."""

    def __init__(self, settings: Settings, changes: Changes) -> None:
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

    async def decode(self, request: DecodeRequest, on_decoded: OnDecoded | None = None) -> Decoded | Failed:
        """Decodes one file, then computes its features, while `on_decoded` runs.

        Whatever the file does to its process is Failed, with what was found and what to do. Raises
        ProcessLostError when a process cannot start.
        """
        async with self._process() as child:
            await child.send(request)
            try:
                decoded = await child.receive()
                if isinstance(decoded, Failed):
                    return decoded
                if on_decoded is not None:
                    await on_decoded(decoded)
                featured = await child.receive()
                return featured if isinstance(featured, Failed) else decoded
            except ProcessLostError as error:
                log.warning("an audio process is gone", child=child.pid, error=str(error))
                return Failed("INVALID_AUDIO", _died(error))

    async def close(self) -> None:
        """Ends every process."""
        await asyncio.gather(*(process.child.close() for process in {*self._idle, *self._busy}))

    @asynccontextmanager
    async def _process(self) -> AsyncIterator[Child]:
        """A warm process. One whose file was given up is killed, for it may be in the middle of it."""
        async with self._slots:
            process = self._idle.pop() if self._idle else self._start()
            self._busy.add(process)
            self._changes.tell()
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
                self._changes.tell()

    def _give_back(self, process: _Process) -> None:
        process.files += 1
        if process.child.alive and process.files < FILES_PER_PROCESS:
            self._idle.append(process)
        else:
            process.child.kill()

    def _start(self) -> _Process:
        return _Process(Child("trainer.workers.audio", self._settings, ONE_THREAD))


def _died(error: ProcessLostError) -> str:
    if error.signal in OUT_OF_TIME:
        return (
            "decoding took too long: the file is damaged, or made to do that; convert it and upload it again"
        )
    return f"the file brought the decoder down (it {error}): it is damaged; convert it and upload it again"
