"""The training slot, as the front sees it: claimed, given a job, read from, stopped or handed back."""

import asyncio
from typing import Self

import structlog

from trainer.events import Completed, Event
from trainer.job import Stop, TrainingJob
from trainer.service.changes import Changes
from trainer.service.errors import CallError, StoppingError
from trainer.service.processes import Child, ProcessLostError
from trainer.service.supervisor import Supervisor
from trainer.workers.wire import Failed, StopJob, Stopped

STOP_SECONDS = 0.8
HAND_BACK_SECONDS = 5.0  # time to store a checkpoint

log = structlog.get_logger()


class TrainingSlot:
    """The one job that this trainer can run at a time."""

    def __init__(self, supervisor: Supervisor, changes: Changes) -> None:
        self._supervisor = supervisor
        self._changes = changes
        self._run: Run | None = None
        self._closed = False
        self._ending: set[asyncio.Task[None]] = set()

    @property
    def free(self) -> bool:
        """Whether a job would be taken now."""
        return self._supervisor.child is not None and self._run is None and not self._closed

    def claim(self, job_id: str, attempt: int) -> "Run":
        """Takes the slot for this attempt. Raises CallError."""
        if self._closed:
            raise StoppingError
        child = self._supervisor.child
        if child is None or self._run is not None:
            why = "its training process is starting" if self._run is None else "it trains another job"
            raise CallError("NO_FREE_SLOT", f"the trainer has no free training slot: {why}")
        self._run = Run(self, child, job_id, attempt)
        self._changes.notify()
        return self._run

    async def hand_back(self, job_id: str, attempt: int) -> None:
        """Returns when this attempt has ended, its work kept. Raises CallError where it does not run."""
        run = self._run
        if run is None or (run.job_id, run.attempt) != (job_id, attempt):
            found = f"attempt {run.attempt} at job {run.job_id} does" if run else "no job does"
            raise CallError(
                "NOT_FOUND", f"attempt {attempt} at job {job_id} does not run here, {found}: is it over?"
            )
        await run.hand_back()

    async def close(self) -> None:
        """Takes no more jobs; returns when the one in work has ended, its work kept."""
        self._closed = True
        self._changes.notify()
        if self._run is not None:
            await self._run.hand_back()

    def release(self, run: "Run") -> None:
        """Frees the slot: at once after a job that is over, or when the process has stopped or is gone."""
        if run.over:
            self._free(run)
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
            self._free(run)

    def _free(self, run: "Run") -> None:
        self._run = None
        run.ended.set()
        self._changes.notify()


class Run:
    """A claimed slot, and the job in it: `over` before its start and after its last event.

    As a context manager it gives the slot back. `wanted_back` is set once the job is to end with its work
    kept, `ended` when the slot is free.
    """

    def __init__(self, slot: TrainingSlot, child: Child, job_id: str, attempt: int) -> None:
        self.job_id = job_id
        self.attempt = attempt
        self.over = True
        self.wanted_back = asyncio.Event()
        self.ended = asyncio.Event()
        self._slot = slot
        self._child = child
        self._sending = asyncio.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._slot.release(self)

    async def start(self, job: TrainingJob) -> None:
        """Hands the job to the process. Raises StoppingError when it is wanted back already."""
        async with self._sending:
            if self.wanted_back.is_set():
                raise StoppingError
            self.over = False
            await self._child.send(job)

    async def hand_back(self) -> None:
        """Returns when the job has ended. What it did is kept, unless it takes too long to come to that."""
        self.wanted_back.set()
        try:
            async with asyncio.timeout(HAND_BACK_SECONDS):
                async with self._sending:
                    if not self.over:
                        await self._child.send(StopJob(self.job_id, self.attempt, Stop.HAND_BACK))
                await self.ended.wait()
        except TimeoutError:  # it compiles, or evaluates: its last checkpoint stands
            log.info("a training process is killed to hand its job back", child=self._child.pid)
            self._child.kill()
            await self.ended.wait()

    async def next(self, seconds: float) -> Event | None:
        """The next event; None when there is none for `seconds`. The last is Completed.

        Raises CallError when the job failed or was handed back, or its process is gone.
        """
        try:
            async with asyncio.timeout(seconds):
                message = await self._receive()
        except TimeoutError:
            return None
        except ProcessLostError as error:
            if self.wanted_back.is_set():
                raise StoppingError from error
            raise CallError("TRAINER_LOST", f"the training process {error}") from error
        match message:
            case Failed(reason, text):
                raise CallError(reason, text)
            case Stopped():
                raise StoppingError
        return message

    async def stop(self) -> None:
        """Returns when the process is idle or gone, after STOP_SECONDS at most."""
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self._child.send(StopJob(self.job_id, self.attempt, Stop.DROP))
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
