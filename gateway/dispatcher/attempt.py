"""One attempt at one job: opens the trainer's stream, records what it reports, and ends the attempt."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeAlias
from uuid import UUID

import structlog
from grpc import aio

from earmark.gateway import object_keys
from earmark.gateway.app import App
from earmark.gateway.convert.attempts import train_file_requests, train_job_request
from earmark.gateway.dispatcher.outcome import Outcome
from earmark.gateway.dispatcher.recorder import Recorder, StaleAttemptError
from earmark.gateway.dispatcher.retries import retry_until_available
from earmark.gateway.fleet.failures import failure_of
from earmark.gateway.fleet.trainers import Trainer, TrainerLostError, send
from earmark.gateway.waits import wait_for_event
from earmark.gateway.watching import topics
from earmark.internal.v1 import trainer_service_pb2 as pb
from earmark.storage.database import Connection
from earmark.storage.objects import ObjectStoreError
from earmark.storage.queries import models, training
from earmark.storage.records import Model, TrainingJob
from earmark.v1.error_reason_pb2 import ErrorReason

log = structlog.get_logger("dispatcher")

# If the database is unavailable for longer while the gateway stops, the job waits until its lease expires.
LAST_WRITE_SECONDS = 5.0
# Time a trainer has to store a checkpoint when it hands a job back.
HAND_BACK_SECONDS = 10.0

Call: TypeAlias = "aio.StreamStreamCall[pb.TrainRequest, pb.TrainResponse]"
# Writes how the attempt ended. Returns False if the attempt is no longer the current one.
Ending = Callable[[Connection], Awaitable[str | None]]


class Attempt:
    """Runs one attempt from its first message to its end.

    Every write carries the attempt number, which is the fencing token.
    """

    def __init__(self, app: App, trainer: Trainer, job: TrainingJob) -> None:
        self._app = app
        self._trainer = trainer
        self._job = job
        self._outcome = Outcome(app, job)
        self._recorder = Recorder(app, trainer, job)
        self._message_recorded = asyncio.Event()
        # True while the last message is being recorded; no message is read meanwhile.
        self._is_recording = False
        # Why this gateway abandoned the call; None if it did not.
        self._abandon_reason: str | None = None
        self._cancel_requested = False
        self._handing_back = False
        self._log = log.bind(training_job_id=str(job.id), attempt=job.attempt, trainer=trainer.address)

    async def run(self) -> None:
        """Returns when the attempt's end is recorded, or when the attempt is no longer the current one."""
        self._log.info("training")
        call = self._call = self._trainer.stub.Train()
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
        """Asks the trainer to store a checkpoint and release the job, so that `run` returns soon."""
        self._handing_back = True
        request = pb.HandBackRequest(training_job_id=str(self._job.id), attempt=self._job.attempt)
        try:
            await self._trainer.stub.HandBack(request, timeout=HAND_BACK_SECONDS)
        except aio.AioRpcError as error:
            self._log.warning("the trainer does not hand the job back", error=error.details())
            self._call.cancel()

    async def _run_call(self, call: Call) -> Ending:
        """Records what the trainer reports until the stream ends. Returns how the attempt ends."""
        try:
            await send(call, train_job_request(self._job, await self._base_model()))
            async for response in call:
                self._is_recording = True
                if response.HasField("accepted"):
                    await self._send_files(call)
                if response.HasField("completed"):
                    result = response.completed
                    self._trainer.record_success()
                    return lambda connection: self._outcome.completed(connection, result)
                await self._recorder.record(response)
                self._is_recording = False
                self._message_recorded.set()
        except aio.AioRpcError as error:
            return self._ending_after(error)
        except TrainerLostError:
            pass
        except asyncio.CancelledError:
            # grpc also raises this if this gateway cancelled the call.
            if not (self._abandon_reason or self._cancel_requested or self._handing_back):
                raise
        if self._cancel_requested:
            return self._outcome.cancelled
        if self._handing_back:
            return self._handed_back
        return self._lost("its trainer ended the stream without a model")

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
            known = failure.reason if is_known else "TRAINING_CRASHED"
            return lambda connection: self._outcome.failed(connection, known, message)
        if self._handing_back:
            return self._handed_back
        if failure.kind == pb.FAILURE_KIND_HANDED_BACK:
            # Corrected by the trainer's next report of its capacity.
            self._trainer.capacity.free_training_slots = 0
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
            async with self._app.database.transaction() as connection:
                return await ending(connection)

        recorded = await retry_until_available(end)
        self._log.info("attempt over", outcome=recorded or "none: another attempt has replaced it")
        await self._remove_checkpoints()
        self._app.bus.publish(topics.QUEUE, topics.events(self._job.tenant_id))

    async def _remove_checkpoints(self) -> None:
        """Removes the checkpoints of all the job's attempts if the job is finished."""

        async def is_finished() -> bool:
            async with self._app.database.connection() as connection:
                job = await training.get(connection, self._job.tenant_id, self._job.id)
            return job is not None and job.finished_at is not None

        if await retry_until_available(is_finished):
            try:
                keys = await asyncio.to_thread(list, self._app.objects.keys(object_keys.job(self._job.id)))
                await self._app.objects.delete_async(*filter(object_keys.is_checkpoint, keys))
            except ObjectStoreError as error:
                self._log.warning("checkpoints are left for a later clean-up", error=str(error))

    async def _base_model(self) -> Model | None:
        """The model that training starts from, also if it was archived: its files are kept."""
        job = self._job
        model_id = job.config.get("base_model_id")

        async def read() -> Model | None:
            async with self._app.database.connection() as connection:
                return await models.get(connection, job.tenant_id, UUID(model_id))

        return await retry_until_available(read) if model_id else None

    async def _send_files(self, call: Call) -> None:
        """Sends the manifest, once the job is accepted: a refusal during a write is lost (grpc #36066)."""

        async def read() -> list[training.ManifestFile]:
            async with self._app.database.connection() as connection:
                return await training.manifest(connection, self._job)

        for file in await retry_until_available(read):
            for request in train_file_requests(file):
                await send(call, request)
        await call.done_writing()

    async def _watch_silence(self, call: Call) -> None:
        """Cancels the call if the trainer has sent nothing, not even a heartbeat, for too long.

        No message is read while an event waits for the database; that does not count as silence.
        """
        limit, is_silent = self._app.settings.trainer_silence_seconds, False
        while not is_silent:
            self._message_recorded.clear()
            is_silent = not (await wait_for_event(self._message_recorded, limit) or self._is_recording)
        self._abandon_reason = f"its trainer was silent for {limit:g} s"
        call.cancel()

    async def _watch_lease(self, call: Call) -> None:
        """Renews the lease. Cancels the call if a user cancels the job or another gateway took it over."""
        job, lease = self._job, self._app.settings.lease_seconds

        async def renew() -> bool | None:
            async with self._app.database.connection() as connection:
                return await training.renew(connection, job.id, job.attempt, lease)

        with self._app.bus.subscribe(topics.cancel(job.id)) as woken:
            while (cancel_requested := await retry_until_available(renew)) is False:
                await wait_for_event(woken, lease / 4)
                woken.clear()
        if cancel_requested is None:
            self._abandon_reason = "another gateway has taken the job over"
        else:
            self._cancel_requested = True
        call.cancel()
