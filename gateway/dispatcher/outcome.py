"""The ways in which an attempt ends. Each is one transaction that only the current attempt can make."""

from uuid import UUID

from uuid_utils.compat import uuid7

from earmark.gateway.app import App
from earmark.gateway.convert import event_bodies
from earmark.gateway.convert.values import to_json
from earmark.gateway.watching import topics
from earmark.internal.v1 import trainer_service_pb2 as pb
from earmark.storage.database import Connection
from earmark.storage.queries import datasets, models, training
from earmark.storage.records import TrainingJob

LONGEST_BACKOFF_SECONDS = 20.0


class Outcome:
    """Records the end of one attempt at `job`. Each method returns whether it was the current attempt."""

    def __init__(self, app: App, job: TrainingJob) -> None:
        self._app = app
        self._job = job

    async def completed(self, connection: Connection, result: pb.TrainResponse.Completed) -> str | None:
        """Creates the model and completes the job in one transaction."""
        # The model refers to the dataset, whose deletion locks the dataset before its jobs.
        await datasets.lock_for_key_share(connection, self._job.tenant_id, self._job.dataset_id)
        job = await self._lock(connection)
        if job is None:
            return None
        model_id, lease = uuid7(), self._app.settings.lease_seconds
        created = event_bodies.model_created(str(model_id))
        await training.advance(connection, job.id, job.attempt, job.revision, lease, created)
        await self._create_model(connection, model_id, result)
        event = event_bodies.status_changed("training", "completed", "a model exists")
        await training.finish(
            connection,
            job.id,
            job.attempt,
            "completed",
            event,
            model_id=model_id,
            metrics=to_json(result.metrics),
            best_epoch=result.best_epoch,
        )
        return "completed"

    async def _lock(self, connection: Connection) -> TrainingJob | None:
        """Returns the locked job, or None if the attempt is no longer the current one."""
        return await training.lock_attempt(connection, self._job.id, self._job.attempt)

    async def _create_model(
        self, connection: Connection, model_id: UUID, result: pb.TrainResponse.Completed
    ) -> None:
        job = self._job
        types = list(job.config["artifact_types"])
        await models.create(
            connection,
            job.tenant_id,
            id=model_id,
            training_job_id=job.id,
            dataset_id=job.dataset_id,
            name=", ".join(types)[:200],
            artifact_types=types,
            eval_metrics=to_json(result.metrics),
            recommended_thresholds=dict(result.recommended_thresholds),
            merge_windows_ms=dict(result.merge_windows_ms),
            min_durations_ms=dict(result.min_durations_ms),
            weights=result.weights,
            model_config=result.model_config,
            size_bytes=result.size_bytes,
            sha256=result.sha256,
            config=job.config,
            best_epoch=result.best_epoch,
            audio_file_count=result.audio_file_count,
            audio_duration_ms=result.audio_duration_ms,
            earmark_version=result.earmark_version,
            frontend_version=result.frontend_version,
        )

    async def failed(self, connection: Connection, reason: str, message: str) -> str | None:
        """Fails the job, which cannot complete on any trainer."""
        job = self._job
        event = event_bodies.status_changed("training", "failed", message)
        ended = await training.finish(
            connection, job.id, job.attempt, "failed", event, error_reason=reason, error_message=message
        )
        return "failed" if ended else None

    async def cancelled(self, connection: Connection) -> str | None:
        """Cancels the job, as a user requested."""
        job = self._job
        event = event_bodies.status_changed("training", "cancelled", "cancelled by a user")
        ended = await training.finish(connection, job.id, job.attempt, "cancelled", event)
        return "cancelled" if ended else None

    async def lost(self, connection: Connection, cause: str) -> str | None:
        """Queues the job again after its trainer or gateway was lost, or fails it after too many losses.

        It fails only if a trainer on which it was lost has completed another job meanwhile: otherwise the
        trainers may be ill, and the job waits for a healthy one.
        """
        job = await self._lock(connection)
        if job is None:
            return None
        if job.cancel_requested:
            return await self.cancelled(connection)
        settings, losses = self._app.settings, job.losses + 1
        if losses >= settings.max_attempts and await training.a_trainer_is_well(connection, job.id, losses):
            return await self.failed(connection, "TRAINER_LOST", _lost_too_often(losses, cause))
        notice = event_bodies.notice("TRAINER_LOST", f"attempt {job.attempt} ended: {cause}")
        await training.advance(connection, job.id, job.attempt, job.revision, settings.lease_seconds, notice)
        pause = backoff_seconds(settings.retry_seconds, losses)
        start = "resumes from the last checkpoint" if job.checkpoint else "starts again"
        event = event_bodies.status_changed("training", "queued", f"{cause}; the next attempt {start}")
        await training.requeue(
            connection, job.id, job.attempt, "lost", cause, event, losses=losses, pause_seconds=pause
        )
        self._app.bus.wake_later(topics.QUEUE, pause)
        return "lost"

    async def handed_back(self, connection: Connection, cause: str) -> str | None:
        """Queues the job again without counting a loss: nothing went wrong."""
        job = await self._lock(connection)
        if job is None:
            return None
        if job.cancel_requested:
            return await self.cancelled(connection)
        event = event_bodies.status_changed("training", "queued", cause)
        await training.requeue(
            connection, job.id, job.attempt, "handed_back", cause, event, losses=job.losses
        )
        return "handed_back"


def backoff_seconds(first: float, losses: int) -> float:
    """The pause before the next attempt after `losses` in a row, so that a harmful job kills few trainers.

    There is no pause after the first loss, which is probably the trainer's fault.
    """
    return 0.0 if losses == 1 else min(LONGEST_BACKOFF_SECONDS, first * 5.0 ** (losses - 2))


def _lost_too_often(losses: int, cause: str) -> str:
    times = "once" if losses == 1 else f"{losses} times in a row"
    return (
        f"its trainer was lost {times} without a new checkpoint, the last time because {cause}; "
        "see the trainer's log"
    )
