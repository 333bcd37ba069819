"""The training slot. An attempt at a job claims it, runs in it, and is stopped or handed back."""

import asyncio
from typing import Self

import structlog

from earmark.trainer.events import Completed, EpochCompleted, Event
from earmark.trainer.job import Stop
from earmark.trainer.packed_job import PackedJob
from earmark.trainer.service.changes import Changes
from earmark.trainer.service.errors import CallError, StoppingError
from earmark.trainer.service.processes import Child, ProcessLostError
from earmark.trainer.service.supervisor import Supervisor
from earmark.trainer.workers.wire import Failed, StopJob, Stopped

STOP_SECONDS = 0.8  # the training process has this long to drop its job before it is killed
HAND_BACK_SECONDS = 5.0  # the training process has this long to store a checkpoint before it is killed

log = structlog.get_logger()


class TrainingSlot:
    """A trainer runs one job at a time."""

    def __init__(self, training_process: Supervisor, changes: Changes) -> None:
        # Of all jobs that have run here.
        self.epochs = 0
        self.last_epoch: EpochCompleted | None = None
        self._training_process = training_process
        self._changes = changes
        self._claim: SlotClaim | None = None
        self._closed = False
        self._stopping: set[asyncio.Task[None]] = set()

    @property
    def device(self) -> str:
        """What its jobs run on; empty until the training process has been warm once."""
        return self._training_process.device

    @property
    def free(self) -> bool:
        """Whether a claim would succeed now."""
        return self._training_process.warm_child is not None and self._claim is None and not self._closed

    def claim(self, job_id: str, attempt: int) -> "SlotClaim":
        """Claims the slot for this attempt.

        Raises CallError if the slot is not free, StoppingError if the trainer is stopping.
        """
        if self._closed:
            raise StoppingError
        child = self._training_process.warm_child
        if child is None or self._claim is not None:
            why = "its training process is starting" if self._claim is None else "it is training another job"
            raise CallError("NO_FREE_SLOT", f"the trainer has no free training slot: {why}")
        self._claim = SlotClaim(self, child, job_id, attempt)
        self._changes.notify()
        return self._claim

    async def hand_back(self, job_id: str, attempt: int) -> None:
        """Ends this attempt, keeps its work, and returns when the slot is free.

        Raises CallError if another attempt or none has the slot.
        """
        claim = self._claim
        if claim is None or (claim.job_id, claim.attempt) != (job_id, attempt):
            running = f"attempt {claim.attempt} of job {claim.job_id} is" if claim else "no job is"
            raise CallError(
                "NOT_FOUND",
                f"attempt {attempt} of job {job_id} is not running here, {running}: has it ended already?",
            )
        await claim.hand_back()

    async def close(self) -> None:
        """Takes no more jobs. Hands the current job back and returns when the slot is free."""
        self._closed = True
        self._changes.notify()
        if self._claim is not None:
            await self._claim.hand_back()

    def record(self, epoch: EpochCompleted) -> None:
        """Takes note that an epoch has ended."""
        self.epochs += 1
        self.last_epoch = epoch

    def release(self, claim: "SlotClaim") -> None:
        """Frees the slot: at once if no job is running, otherwise after the job has been stopped."""
        if not claim.running:
            self._free(claim)
            return
        stopping = asyncio.create_task(self._stop(claim))
        self._stopping.add(stopping)
        stopping.add_done_callback(self._stopping.discard)

    async def wait_for_released_jobs(self) -> None:
        """Returns when every released job has been stopped."""
        await asyncio.gather(*self._stopping)

    async def _stop(self, claim: "SlotClaim") -> None:
        try:
            await claim.stop()
        finally:
            self._free(claim)

    def _free(self, claim: "SlotClaim") -> None:
        self._claim = None
        claim.slot_freed.set()
        self._changes.notify()


class SlotClaim:
    """One attempt's claim on the slot. As a context manager, it releases the slot.

    `running` is true from the start of the job to its last event. `hand_back_requested` is set when the job
    is to end with its work kept, `slot_freed` when the slot is free again.
    """

    def __init__(self, slot: TrainingSlot, child: Child, job_id: str, attempt: int) -> None:
        self.job_id = job_id
        self.attempt = attempt
        self.running = False
        self.hand_back_requested = asyncio.Event()
        self.slot_freed = asyncio.Event()
        self._slot = slot
        self._child = child
        self._send_lock = asyncio.Lock()

    @property
    def device(self) -> str:
        """What the job runs on, such as "cpu"."""
        return self._slot.device

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._slot.release(self)

    async def start(self, packed: PackedJob) -> None:
        """Sends the job to the process. Raises StoppingError if its hand-back has been requested already."""
        async with self._send_lock:
            if self.hand_back_requested.is_set():
                raise StoppingError
            self.running = True
            await self._child.send(packed)

    async def hand_back(self) -> None:
        """Ends the job and returns when the slot is free.

        The process stores a checkpoint first. If that takes more than HAND_BACK_SECONDS it is killed, and
        only the work up to the previous checkpoint is kept.
        """
        self.hand_back_requested.set()
        try:
            async with asyncio.timeout(HAND_BACK_SECONDS):
                async with self._send_lock:
                    if self.running:
                        await self._child.send(StopJob(self.job_id, self.attempt, Stop.HAND_BACK))
                await self.slot_freed.wait()
        except TimeoutError:  # it is compiling or evaluating, and cannot look for messages
            log.info("killing a training process to hand its job back", child=self._child.pid)
            self._child.kill()
            await self.slot_freed.wait()

    async def next_event(self, seconds: float | None) -> Event | None:
        """Returns the next event, or None if none arrives within `seconds`. The last event is Completed.

        Raises CallError if the job failed or its process exited, StoppingError if it was handed back.
        """
        try:
            async with asyncio.timeout(seconds):
                message = await self._receive()
        except TimeoutError:
            return None
        except ProcessLostError as error:
            if self.hand_back_requested.is_set():
                raise StoppingError from error
            raise CallError("TRAINER_LOST", f"the training process {error}") from error
        match message:
            case Failed(reason, text):
                raise CallError(reason, text)
            case Stopped():
                raise StoppingError
        return message

    async def stop(self) -> None:
        """Drops the job. Returns when the process is idle or has exited, after about STOP_SECONDS at most."""
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self._child.send(StopJob(self.job_id, self.attempt, Stop.DROP))
                while self.running:
                    await self._receive()
        except TimeoutError:  # it is compiling, and would not look for messages for minutes
            log.info("killing a training process to stop its job", child=self._child.pid)
            await self._child.close()
        except ProcessLostError:
            return

    async def _receive(self) -> Event | Failed | Stopped:
        try:
            message: Event | Failed | Stopped = await self._child.receive()
        except ProcessLostError:
            self.running = False
            raise
        self.running = not isinstance(message, Completed | Failed | Stopped)
        if isinstance(message, EpochCompleted):
            self._slot.record(message)
        if isinstance(message, Failed) and message.ends_process:
            self._child.kill()  # it ends by itself, but the slot must not be free until it has
        return message
