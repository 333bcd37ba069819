"""How an attempt ends: each ending is one transaction that only the current attempt can make."""

from uuid import UUID

from earmark.trainer.v1 import trainer_service_pb2 as pb
from uuid_utils.compat import uuid7

from gateway import convert as json_convert
from gateway.app import App
from gateway.convert import training as convert
from storage import models, training
from storage.database import Connection
from storage.records import TrainingJob


class Outcome:
    """The end of one attempt at `job`. Each method returns whether the attempt was still the current one."""

    def __init__(self, app: App, job: TrainingJob) -> None:
        self._app = app
        self._job = job

    async def completed(self, connection: Connection, result: pb.TrainResponse.Completed) -> bool:
        """The model and the job's end, together."""
        job, model_id = self._job, uuid7()
        metrics = json_convert.to_json(result.metrics)
        model_event = convert.model_created(str(model_id))
        lease = self._app.settings.lease_seconds
        if not await training.advance(connection, job.id, job.attempt, lease, model_event):
            return False
        await self._create_model(connection, model_id, result)
        event = convert.status_changed("training", "completed", "a model exists")
        await training.finish(
            connection,
            job.id,
            job.attempt,
            "completed",
            event,
            model_id=model_id,
            metrics=metrics,
            best_epoch=result.best_epoch,
        )
        return True

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
            eval_metrics=json_convert.to_json(result.metrics),
            recommended_thresholds=dict(result.recommended_thresholds),
            weights=result.weights,
            model_config=result.model_config,
            size_bytes=result.size_bytes,
            sha256=result.sha256,
            config=job.config,
            best_epoch=result.best_epoch,
        )

    async def failed(self, connection: Connection, reason: str, message: str) -> bool:
        """The job cannot complete, on this trainer or another."""
        job = self._job
        event = convert.status_changed("training", "failed", message)
        ended = await training.finish(
            connection, job.id, job.attempt, "failed", event, error_reason=reason, error_message=message
        )
        return ended is not None

    async def cancelled(self, connection: Connection) -> bool:
        """A user asked for it."""
        job = self._job
        event = convert.status_changed("training", "cancelled", "cancelled by a user")
        return await training.finish(connection, job.id, job.attempt, "cancelled", event) is not None

    async def lost(self, connection: Connection, cause: str) -> bool:
        """The trainer or the gateway went away: back to the queue, unless that has happened too often."""
        job, limit = self._job, self._app.settings.max_attempts
        current = await training.lock(connection, job.tenant_id, job.id)
        if current is not None and current.cancel_requested:
            return await self.cancelled(connection)
        if job.losses + 1 >= limit:
            message = (
                f"trainers were lost {limit} times, the last time because {cause}; see the trainer's log"
            )
            return await self.failed(connection, "TRAINER_LOST", message)
        lease = self._app.settings.lease_seconds
        notice = convert.notice("TRAINER_LOST", f"attempt {job.attempt} ended: {cause}")
        if not await training.advance(connection, job.id, job.attempt, lease, notice):
            return False
        where = "goes on from its last checkpoint" if current and current.checkpoint else "starts again"
        event = convert.status_changed("training", "queued", f"{cause}; the next attempt {where}")
        await training.requeue(connection, job.id, job.attempt, event, lost=True)
        return True

    async def given_back(self, connection: Connection, cause: str) -> bool:
        """Nothing went wrong: another attempt follows, and none is counted as lost."""
        job = self._job
        event = convert.status_changed("training", "queued", cause)
        return await training.requeue(connection, job.id, job.attempt, event, lost=False) is not None
