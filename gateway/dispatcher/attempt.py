"""One attempt at one job: opens the trainer's stream, records what it says, and ends the attempt."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TypeAlias
from uuid import UUID

import grpc
import structlog
from earmark.trainer.v1 import trainer_service_pb2 as pb
from google.rpc import error_details_pb2
from grpc import aio
from grpc_status import rpc_status

from gateway import object_keys
from gateway.app import App
from gateway.convert import event_bodies
from gateway.convert.attempts import file_message, job_message
from gateway.convert.values import to_json
from gateway.dispatcher.outcome import Outcome
from gateway.dispatcher.retries import retry_until_available
from gateway.fleet.trainers import Trainer, TrainerLostError, send
from gateway.watching import topics
from storage.database import Connection
from storage.queries import models, training
from storage.records import Model, TrainingJob

log = structlog.get_logger("dispatcher")

# A gateway that stops while the database is away leaves the job to its lease.
LAST_WRITE_SECONDS = 5.0
# What a trainer gets to store where it is.
HAND_BACK_SECONDS = 10.0

Call: TypeAlias = "aio.StreamStreamCall[pb.TrainRequest, pb.TrainResponse]"
Ending = Callable[[Connection], Awaitable[bool]]


class StaleAttemptError(Exception):
    """The attempt is no longer the current one: another gateway has taken the job over."""


class Attempt:
    """Runs one attempt from first message to end. Everything it writes carries the attempt's number."""

    def __init__(self, app: App, trainer: Trainer, job: TrainingJob) -> None:
        self._app = app
        self._trainer = trainer
        self._job = job
        self._outcome = Outcome(app, job)
        # That of the last event recorded.
        self._revision = job.revision
        self._heard = asyncio.Event()
        # With what was heard last; nobody listens meanwhile.
        self._is_busy = False
        # Why this side gave the call up; None while it has not.
        self._gave_up: str | None = None
        self._cancel_requested = False
        self._handing_back = False
        # Where the next attempt would go on.
        self._checkpoint = job.checkpoint
        # Stored after an epoch whose end is not told yet.
        self._checkpoint_of_epoch: str | None = None
        self._log = log.bind(job=str(job.id), attempt=job.attempt, trainer=trainer.address)

    async def run(self) -> None:
        """Returns when the attempt's end is recorded, or when it is no longer the current one."""
        self._log.info("training")
        call = self._call = self._trainer.stub.Train()
        watchers = [
            asyncio.create_task(self._watch_silence(call)),
            asyncio.create_task(self._watch_lease(call)),
        ]
        try:
            ending = await self._follow(call)
        except asyncio.CancelledError:
            with suppress(TimeoutError):
                async with asyncio.timeout(LAST_WRITE_SECONDS):
                    await self._end(self._handed_back)
            raise
        except StaleAttemptError:
            self._log.warning("another gateway has taken the job over")
            return
        finally:
            # A call that is given up is cancelled, or it leaks.
            call.cancel()
            for watcher in watchers:
                watcher.cancel()
            await asyncio.gather(*watchers, return_exceptions=True)
        await self._end(ending)

    async def hand_back(self) -> None:
        """Asks the trainer to store where it is and to let go of the job, so that `run` soon returns."""
        self._handing_back = True
        request = pb.HandBackRequest(training_job_id=str(self._job.id), attempt=self._job.attempt)
        try:
            await self._trainer.stub.HandBack(request, timeout=HAND_BACK_SECONDS)
        except aio.AioRpcError as error:
            self._log.warning("the trainer does not hand the job back", error=error.details())
            self._call.cancel()

    async def _follow(self, call: Call) -> Ending:
        """Records events until the stream ends; what its end means."""
        try:
            await send(call, job_message(self._job, await self._base_model()))
            async for response in call:
                self._is_busy = True
                if response.HasField("accepted"):
                    await self._send_files(call)
                if response.HasField("completed"):
                    result = response.completed
                    self._trainer.record_success()
                    return lambda connection: self._outcome.completed(connection, result)
                await self._record(response)
                self._is_busy = False
                self._heard.set()
        except aio.AioRpcError as error:
            return self._ending_of(error)
        except TrainerLostError:
            pass
        except asyncio.CancelledError:
            # grpc raises this too where this side cancelled the call.
            if not (self._gave_up or self._cancel_requested or self._handing_back):
                raise
        if self._cancel_requested:
            return self._outcome.cancelled
        if self._handing_back:
            return self._handed_back
        return self._lost(f"trainer {self._trainer.address} ended the stream without a model")

    def _ending_of(self, error: aio.AioRpcError) -> Ending:
        if self._cancel_requested:
            return self._outcome.cancelled
        message = error.details() or error.code().name
        reason = _error_reason(error)
        if error.code() == grpc.StatusCode.FAILED_PRECONDITION:
            self._trainer.record_success()
            return lambda connection: self._outcome.failed(connection, reason or "TRAINING_CRASHED", message)
        if error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED:
            # Until it says again what it has.
            self._trainer.capacity.free_training_slots = 0
            return lambda connection: self._outcome.handed_back(connection, "the trainer had no free slot")
        if self._handing_back:
            return self._handed_back
        if reason == "STOPPING":
            cause = f"trainer {self._trainer.address} is stopping"
            return lambda connection: self._outcome.handed_back(connection, cause)
        return self._lost(f"trainer {self._trainer.address} was lost ({message})")

    def _lost(self, what: str) -> Ending:
        self._trainer.record_loss()
        cause = self._gave_up or what
        return lambda connection: self._outcome.lost(connection, cause)

    async def _handed_back(self, connection: Connection) -> bool:
        return await self._outcome.handed_back(connection, "its gateway stopped")

    async def _end(self, ending: Ending) -> None:
        async def end() -> bool:
            async with self._app.database.transaction() as connection:
                return await ending(connection)

        current = await retry_until_available(end)
        self._log.info("attempt over", recorded=current)
        await self._remove_checkpoints()
        self._app.bus.publish(topics.QUEUE, *topics.of_job(self._job.tenant_id, self._job.id))

    async def _remove_checkpoints(self) -> None:
        """A job that is over goes on from none of them, whichever attempt left them."""

        async def is_over() -> bool:
            async with self._app.database.connection() as connection:
                job = await training.get(connection, self._job.tenant_id, self._job.id)
            return job is not None and job.finished_at is not None

        if await retry_until_available(is_over):
            stored = await asyncio.to_thread(list, self._app.objects.keys(object_keys.job(self._job.id)))
            await self._app.objects.delete_async(*filter(object_keys.is_checkpoint, stored))

    async def _base_model(self) -> Model | None:
        """Archived since or not: its files are kept."""
        job = self._job
        model_id = job.config.get("base_model_id")

        async def read() -> Model | None:
            async with self._app.database.connection() as connection:
                return await models.get(connection, job.tenant_id, UUID(model_id))

        return await retry_until_available(read) if model_id else None

    async def _send_files(self, call: Call) -> None:
        """Only once the job is accepted: a refusal that meets a write is lost (grpc #36066)."""

        async def read() -> list[training.ManifestFile]:
            async with self._app.database.connection() as connection:
                return await training.manifest(connection, self._job)

        for file in await retry_until_available(read):
            await send(call, file_message(file))
        await call.done_writing()

    async def _record(self, response: pb.TrainResponse) -> None:
        match response.WhichOneof("content"):
            case "accepted":
                await self._notice("ACCEPTED", f"training on {response.accepted.device}")
            case "loading" if response.loading.files == response.loading.total:
                await self._notice("LOADING", f"{response.loading.total} files are in memory")
            case "notice":
                await self._advance(event_bodies.trainer_notice(response.notice))
            case "progress":
                await self._progress(response.progress)
            case "epoch_completed":
                await self._epoch_completed(response)
            case "checkpoint" if response.checkpoint.step:
                await self._keep_checkpoint(response.checkpoint.key)
            case "checkpoint":
                self._checkpoint_of_epoch = response.checkpoint.key
            case _:
                # A heartbeat: hearing it is all it is for.
                pass

    async def _notice(self, code: str, message: str) -> None:
        await self._advance(event_bodies.notice(code, message))

    async def _progress(self, progress: pb.TrainResponse.Progress) -> None:
        eta = datetime.now(UTC) + timedelta(seconds=progress.eta_seconds)
        await self._advance(event_bodies.progress(progress, eta), progress=progress.fraction, eta=eta)

    async def _epoch_completed(self, response: pb.TrainResponse) -> None:
        """Recorded together with its checkpoint, so that no epoch is told twice or not at all."""
        completed, checkpoint = response.epoch_completed, self._checkpoint_of_epoch
        await self._advance(
            event_bodies.epoch_completed(completed),
            progress=completed.epoch / self._job.total_epochs,
            current_epoch=completed.epoch,
            best_epoch=completed.best_epoch,
            metrics=to_json(completed.metrics),
            checkpoint=checkpoint,
        )
        if checkpoint is not None:
            await self._checkpoint_kept(checkpoint)

    async def _advance(self, body: training.Body, **figures: object) -> None:
        job, after, lease = self._job, self._revision, self._app.settings.lease_seconds

        async def advance() -> TrainingJob | None:
            async with self._app.database.transaction() as connection:
                return await training.advance(connection, job.id, job.attempt, after, lease, body, **figures)  # type: ignore[arg-type]

        updated = await retry_until_available(advance)
        if updated is None:
            raise StaleAttemptError
        self._revision = updated.revision
        self._app.bus.publish(*topics.of_job(job.tenant_id, job.id))

    async def _keep_checkpoint(self, key: str) -> None:
        job = self._job

        async def keep() -> bool:
            async with self._app.database.connection() as connection:
                return await training.set_checkpoint(connection, job.id, job.attempt, key)

        if not await retry_until_available(keep):
            raise StaleAttemptError
        await self._checkpoint_kept(key)

    async def _checkpoint_kept(self, key: str) -> None:
        """The one before is of no use any more."""
        self._trainer.record_success()
        replaced, self._checkpoint, self._checkpoint_of_epoch = self._checkpoint, key, None
        if replaced is not None:
            await self._app.objects.delete_async(replaced)

    async def _watch_silence(self, call: Call) -> None:
        """Gives the call up when the trainer has said nothing, not even a heartbeat, for too long.

        While an event waits for the database nobody listens, and that is not the trainer's silence.
        """
        limit, silent = self._app.settings.trainer_silence_seconds, False
        while not silent:
            self._heard.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(limit):
                    await self._heard.wait()
            silent = not (self._heard.is_set() or self._is_busy)
        self._gave_up = f"trainer {self._trainer.address} was silent for {limit:g} s"
        call.cancel()

    async def _watch_lease(self, call: Call) -> None:
        """Renews the lease, and cancels the call when a user asks for it or the job is another's."""
        job, lease = self._job, self._app.settings.lease_seconds

        async def renew() -> bool | None:
            async with self._app.database.connection() as connection:
                return await training.renew(connection, job.id, job.attempt, lease)

        with self._app.bus.subscribe(topics.cancel(job.id)) as asked:
            while (stop := await retry_until_available(renew)) is False:
                with suppress(TimeoutError):
                    async with asyncio.timeout(lease / 4):
                        await asked.wait()
                asked.clear()
        if stop is None:
            self._gave_up = "another gateway has taken the job over"
        else:
            self._cancel_requested = True
        call.cancel()


def _error_reason(error: aio.AioRpcError) -> str:
    """That of its ErrorInfo; empty where it has none."""
    status = rpc_status.from_call(error)
    for detail in status.details if status else ():
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info):
            reason: str = info.reason
            return reason
    return ""
