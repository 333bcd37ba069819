"""The training slot, as the front sees it: claimed, given a job, read from, stopped."""

import asyncio
from typing import Self

import structlog

from trainer.events import Completed, Event
from trainer.job import TrainingJob
from trainer.service.changes import Changes
from trainer.service.errors import CallError
from trainer.service.keeper import Keeper
from trainer.service.processes import Child, ProcessLostError
from trainer.workers.wire import Failed, Stop, Stopped

STOP_SECONDS = 0.8

log = structlog.get_logger()


class TrainingSlot:
    """The one job that this trainer can run at a time."""

    def __init__(self, keeper: Keeper, changes: Changes) -> None:
        self._keeper = keeper
        self._changes = changes
        self._busy = False
        self._ending: set[asyncio.Task[None]] = set()

    @property
    def free(self) -> bool:
        """Whether a job would be taken now."""
        return self._keeper.child is not None and not self._busy

    def claim(self) -> "Run":
        """Takes the slot. Raises CallError."""
        child = self._keeper.child
        if child is None or self._busy:
            why = "it trains another job" if self._busy else "its training process is starting"
            raise CallError("NO_FREE_SLOT", f"the trainer has no free training slot: {why}")
        self._busy = True
        self._changes.tell()
        return Run(self, child)

    def release(self, run: "Run") -> None:
        """Frees the slot: at once after a job that is over, or when the process has stopped or is gone."""
        if run.over:
            self._free()
            return
        ending = asyncio.create_task(self._end(run))
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)

    async def settle(self) -> None:
        """Waits for released jobs to end."""
        await asyncio.gather(*self._ending)

    async def _end(self, run: "Run") -> None:
        try:
            await run.stop()
        finally:
            self._free()

    def _free(self) -> None:
        self._busy = False
        self._changes.tell()


class Run:
    """A claimed slot, and the job in it: `over` before its start and after its last event.

    As a context manager it gives the slot back.
    """

    def __init__(self, slot: TrainingSlot, child: Child) -> None:
        self._slot = slot
        self._child = child
        self.over = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._slot.release(self)

    async def start(self, job: TrainingJob) -> None:
        """Hands the job to the process."""
        self.over = False
        await self._child.send(job)

    async def next(self, seconds: float) -> Event | None:
        """The next event; None when there is none for `seconds`. The last is Completed.

        Raises CallError when the job failed, or its process is gone.
        """
        try:
            async with asyncio.timeout(seconds):
                message = await self._receive()
        except TimeoutError:
            return None
        except ProcessLostError as error:
            raise CallError("TRAINER_LOST", f"the training process {error}") from error
        match message:
            case Failed(reason, text):
                raise CallError(reason, text)
            case Stopped():
                raise CallError("TRAINER_LOST", "the training process stopped without being told to")
        return message

    async def stop(self) -> None:
        """Returns when the process is idle or gone, after STOP_SECONDS at most."""
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self._child.send(Stop())
                while not self.over:
                    await self._receive()
        except TimeoutError:  # it compiles, and would not look for minutes
            log.info("a training process is killed to stop its job", child=self._child.pid)
            await self._child.close()
        except ProcessLostError:
            return

    async def _receive(self) -> Event | Failed | Stopped:
        try:
            message = await self._child.receive()
        except ProcessLostError:
            self.over = True
            raise
        self.over = isinstance(message, Completed | Failed | Stopped)
        return message
