"""Records what a trainer reports during an attempt: events, figures and checkpoints."""

from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from earmark.gateway.app import App
from earmark.gateway.convert import event_bodies
from earmark.gateway.convert.values import to_json
from earmark.gateway.dispatcher.attempt import StaleAttemptError
from earmark.gateway.dispatcher.retries import retry_until_available
from earmark.gateway.fleet.trainers import Trainer
from earmark.gateway.watching import topics
from earmark.internal.v1 import trainer_service_pb2 as pb
from earmark.storage.objects import ObjectStoreError
from earmark.storage.queries import training
from earmark.storage.records import TrainingJob

log = structlog.get_logger("dispatcher")


class Recorder:
    """Writes the reports of one attempt. Every write carries the attempt number, the fencing token."""

    def __init__(self, app: App, trainer: Trainer, job: TrainingJob) -> None:
        self._app = app
        self._trainer = trainer
        self._job = job
        # The revision of the last recorded event.
        self._revision = job.revision
        # The checkpoint from which the next attempt would resume.
        self._checkpoint = job.checkpoint
        # A checkpoint stored after an epoch whose completion has not been reported yet.
        self._next_checkpoint: str | None = None

    async def record(self, response: pb.TrainResponse) -> None:
        """Records one message of the trainer. Waits until the database is available.

        Raises StaleAttemptError. Nothing is recorded for a heartbeat.
        """
        match response.WhichOneof("content"):
            case "accepted":
                await self._record_notice("ACCEPTED", f"training on {response.accepted.device}")
            case "loading" if response.loading.files == response.loading.total:
                await self._record_notice("LOADING", f"{response.loading.total} files are in memory")
            case "notice":
                await self._record_event(event_bodies.trainer_notice(response.notice))
            case "progress":
                await self._record_progress(response.progress)
            case "epoch_completed":
                await self._record_epoch(response)
            case "checkpoint" if response.checkpoint.step:
                await self._record_checkpoint(response.checkpoint.key)
            case "checkpoint":
                self._next_checkpoint = response.checkpoint.key

    async def _record_notice(self, code: str, message: str) -> None:
        await self._record_event(event_bodies.notice(code, message))

    async def _record_progress(self, progress: pb.TrainResponse.Progress) -> None:
        eta = datetime.now(UTC) + timedelta(seconds=progress.eta_seconds)
        await self._record_event(event_bodies.progress(progress, eta), progress=progress.fraction, eta=eta)

    async def _record_epoch(self, response: pb.TrainResponse) -> None:
        """Records the epoch and its checkpoint in one transaction: no epoch is repeated or skipped."""
        completed, checkpoint = response.epoch_completed, self._next_checkpoint
        await self._record_event(
            event_bodies.epoch_completed(completed),
            progress=completed.epoch / self._job.total_epochs,
            current_epoch=completed.epoch,
            best_epoch=completed.best_epoch,
            metrics=to_json(completed.metrics),
            checkpoint=checkpoint,
        )
        if checkpoint is not None:
            await self._replace_checkpoint(checkpoint)

    async def _record_event(self, body: event_bodies.Body, **figures: Any) -> None:
        """`figures`: as in `training.advance`."""
        job, after, lease = self._job, self._revision, self._app.settings.lease_seconds

        async def advance() -> TrainingJob | None:
            async with self._app.system.transaction() as connection:
                return await training.advance(connection, job.id, job.attempt, after, lease, body, **figures)

        updated = await retry_until_available(advance)
        if updated is None:
            raise StaleAttemptError
        self._revision = updated.revision
        self._app.bus.publish(topics.events(job.tenant_id))

    async def _record_checkpoint(self, key: str) -> None:
        """Records a checkpoint within an epoch, which has no event."""
        job = self._job

        async def set_checkpoint() -> bool:
            async with self._app.system.connection() as connection:
                return await training.set_checkpoint(connection, job.id, job.attempt, key)

        if not await retry_until_available(set_checkpoint):
            raise StaleAttemptError
        await self._replace_checkpoint(key)

    async def _replace_checkpoint(self, key: str) -> None:
        """Deletes the previous checkpoint, once the job's row names this one."""
        self._trainer.record_success()
        replaced, self._checkpoint, self._next_checkpoint = self._checkpoint, key, None
        if replaced is not None:
            try:
                await self._app.objects.delete_async(replaced)
            except ObjectStoreError as error:
                log.warning("a checkpoint is left for a later clean-up", key=replaced, error=str(error))
