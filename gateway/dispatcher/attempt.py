"""One attempt at one job: opens the trainer's stream, records what it reports, and ends the attempt."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Generic, TypeVar

import structlog
from grpc import aio

from earmark.gateway.app import App
from earmark.gateway.dispatcher.outcome import Outcome
from earmark.gateway.dispatcher.retries import retry_until_available
from earmark.gateway.fleet.failures import failure_of
from earmark.gateway.fleet.trainers import Trainer, TrainerLostError
from earmark.gateway.waits import wait_for_event
from earmark.gateway.watching import topics
from earmark.internal.v1 import trainer_service_pb2 as pb
from earmark.storage.database import Connection
from earmark.storage.queries.jobs import Jobs
from earmark.storage.records import Job
from earmark.v1.error_reason_pb2 import ErrorReason

log = structlog.get_logger("dispatcher")

# If the database is unavailable for longer while the gateway stops, the job waits until its lease expires.
LAST_WRITE_SECONDS = 5.0

J = TypeVar("J", bound=Job)
# Writes how the attempt ended. Returns None if the attempt is no longer the current one.
Ending = Callable[[Connection], Awaitable[str | None]]


class StaleAttemptError(Exception):
    """The attempt is no longer the current one: another gateway has taken the job over."""


class Attempt(ABC, Generic[J]):
    """Runs one attempt from its first message to its end.

    Every write carries the attempt number, which is the fencing token.
    """

    # The reason of a job that fails for one that this gateway does not know.
    crashed_reason: str

    def __init__(self, app: App, trainer: Trainer, job: J, jobs: Jobs[J], outcome: Outcome[J]) -> None:
        self._app = app
        self._trainer = trainer
        self._job = job
        self._jobs = jobs
        self._outcome = outcome
        self._message_recorded = asyncio.Event()
        # True while the last message is being recorded; no message is read meanwhile.
        self._is_recording = False
        # Why this gateway abandoned the call; None if it did not.
        self._abandon_reason: str | None = None
        self._cancel_requested = False
        self._handing_back = False
        # The recorded outcome; "none" if another attempt has replaced this one.
        self._ended_as = "none"
        self._log = log.bind(
            **{f"{job.resource}_id": str(job.id)}, attempt=job.attempt, trainer=trainer.address
        )

    @abstractmethod
    def _open(self) -> Any:
        """Opens the stream to the trainer."""

    @abstractmethod
    async def _begin(self, call: Any) -> None:
        """Sends the first message."""

    @abstractmethod
    async def _record(self, call: Any, response: Any) -> Ending | None:
        """Records one message of the trainer. Returns how the attempt ends, if it ends with this one."""

    @abstractmethod
    async def _stream_ended(self) -> Ending:
        """How the attempt ends after a stream that ended without an error."""

    @abstractmethod
    def _mark_busy(self) -> None:
        """Notes that the trainer has no free slot, until it reports its capacity again."""

    async def _after_end(self) -> None:
        """What is left to do when the end is recorded."""

    async def run(self) -> None:
        """Returns when the attempt's end is recorded, or when the attempt is no longer the current one."""
        self._log.info(self._outcome.running)
        call = self._call = self._open()
        watchers = [
            asyncio.create_task(self._watch_silence(call)),
            asyncio.create_task(self._watch_lease(call)),
        ]
        try:
            ending = await self._run_call(call)
        except asyncio.CancelledError:
            with suppress(TimeoutError):
                async with asyncio.timeout(LAST_WRITE_SECONDS):
                    await self._end(self._handed_back)
            raise
        except StaleAttemptError:
            self._log.warning("another gateway has taken the job over")
            return
        finally:
            # An abandoned call leaks unless it is cancelled.
            call.cancel()
            for watcher in watchers:
                watcher.cancel()
            await asyncio.gather(*watchers, return_exceptions=True)
        await self._end(ending)

    async def hand_back(self) -> None:
        """Has the trainer release the job, so that `run` returns soon."""
        self._handing_back = True
        self._call.cancel()

    async def _run_call(self, call: Any) -> Ending:
        """Records what the trainer reports until the stream ends. Returns how the attempt ends."""
        try:
            await self._begin(call)
            async for response in call:
                self._is_recording = True
                if (ending := await self._record(call, response)) is not None:
                    return ending
                self._is_recording = False
                self._message_recorded.set()
            return self._interrupted() or await self._stream_ended()
        except aio.AioRpcError as error:
            return self._ending_after(error)
        except TrainerLostError:
            pass
        except asyncio.CancelledError:
            # grpc also raises this if this gateway cancelled the call. A task that is cancelled has to end.
            is_of_call = self._abandon_reason or self._cancel_requested or self._handing_back
            if _is_cancelled() or not is_of_call:
                raise
        return self._interrupted() or self._lost("the connection to its trainer broke")

    def _interrupted(self) -> Ending | None:
        """How the attempt ends if this gateway was asked to end it."""
        if self._cancel_requested:
            return self._outcome.cancelled
        return self._handed_back if self._handing_back else None

    def _ending_after(self, error: aio.AioRpcError) -> Ending:
        if self._cancel_requested:
            return self._outcome.cancelled
        message, failure = error.details() or error.code().name, failure_of(error)
        self._log.warning(
            "the trainer ended the attempt", code=error.code().name, reason=failure.reason, message=message
        )
        if failure.kind == pb.FAILURE_KIND_DATA:
            self._trainer.record_success()
            # A newer trainer may have reasons that this gateway does not know.
            is_known = f"ERROR_REASON_{failure.reason}" in ErrorReason.keys()  # noqa: SIM118 (no mapping)
            known = failure.reason if is_known else self.crashed_reason
            return lambda connection: self._outcome.failed(connection, known, message)
        if self._handing_back:
            return self._handed_back
        if failure.kind == pb.FAILURE_KIND_HANDED_BACK:
            self._mark_busy()
            return lambda connection: self._outcome.handed_back(connection, message)
        if failure.kind == pb.FAILURE_KIND_ENVIRONMENT:
            self._trainer.record_loss()
            # The message names a machine's paths and addresses, which are no concern of the tenant's.
            cause = f"its trainer is not well ({failure.reason})"
            return lambda connection: self._outcome.handed_back(connection, cause)
        # Without a reason the message is the transport's, which names the trainer's address.
        return self._lost(f"its trainer was lost ({message if failure.reason else 'the connection broke'})")

    def _lost(self, default_cause: str) -> Ending:
        self._trainer.record_loss()
        cause = self._abandon_reason or default_cause
        return lambda connection: self._outcome.lost(connection, cause)

    async def _handed_back(self, connection: Connection) -> str | None:
        return await self._outcome.handed_back(connection, "its gateway stopped")

    async def _end(self, ending: Ending) -> None:
        async def end() -> str | None:
            async with self._app.system.transaction() as connection:
                return await ending(connection)

        recorded = await retry_until_available(end)
        self._ended_as = recorded or self._ended_as
        self._log.info("attempt over", outcome=recorded or "none: another attempt has replaced it")
        await self._after_end()
        self._app.bus.publish(topics.QUEUE, topics.events(self._job.tenant_id))

    async def _watch_silence(self, call: Any) -> None:
        """Cancels the call if the trainer has sent nothing, not even a heartbeat, for too long.

        No message is read while an event waits for the database; that does not count as silence.
        """
        limit, is_silent = self._app.settings.trainer_silence_seconds, False
        while not is_silent:
            self._message_recorded.clear()
            is_silent = not (await wait_for_event(self._message_recorded, limit) or self._is_recording)
        self._abandon_reason = f"its trainer was silent for {limit:g} s"
        call.cancel()

    async def _watch_lease(self, call: Any) -> None:
        """Renews the lease. Cancels the call if a user cancels the job or another gateway took it over."""
        job, lease = self._job, self._app.settings.lease_seconds

        async def renew() -> bool | None:
            async with self._app.system.connection() as connection:
                return await self._jobs.renew(connection, job.id, job.attempt, lease)

        with self._app.bus.subscribe(topics.cancel(job.id)) as woken:
            while (cancel_requested := await retry_until_available(renew)) is False:
                await wait_for_event(woken, lease / 4)
                woken.clear()
        if cancel_requested is None:
            self._abandon_reason = "another gateway has taken the job over"
        else:
            self._cancel_requested = True
        call.cancel()


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
