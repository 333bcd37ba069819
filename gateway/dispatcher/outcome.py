"""The ways in which an attempt ends. Each is one transaction that only the current attempt can make."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Generic, TypeVar
from uuid import UUID

from uuid_utils.compat import uuid7

from earmark.gateway.app import App
from earmark.gateway.convert import event_bodies
from earmark.gateway.convert.values import to_json
from earmark.gateway.watching import topics
from earmark.internal.v1 import trainer_service_pb2 as pb
from earmark.storage.database import Connection
from earmark.storage.queries import datasets, detection_jobs, models, training
from earmark.storage.queries.jobs import Jobs
from earmark.storage.records import DetectionJob, Job, TrainingJob

LONGEST_BACKOFF_SECONDS = 20.0
# Before a place that was away is asked again, in times of EARMARK_RETRY_SECONDS.
PAUSES_FOR_SOURCE = 10.0

J = TypeVar("J", bound=Job)


class Outcome(ABC, Generic[J]):
    """Records the end of one attempt at `job`. Each method returns whether it was the current attempt."""

    kind: ClassVar[str]
    # The status of a job that is on a trainer.
    running: ClassVar[str]

    def __init__(self, app: App, job: J, jobs: Jobs[J]) -> None:
        self._app = app
        self._job = job
        self._jobs = jobs

    @abstractmethod
    async def _finish(
        self, connection: Connection, status: str, event: event_bodies.Body, **facts: Any
    ) -> J | None:
        """Ends the job; None if the attempt is no longer the current one."""

    @abstractmethod
    async def _prepare_next(self, connection: Connection, job: J, *, lost: str | None) -> tuple[J, str]:
        """Leaves the locked job to the next attempt. Returns the job, and how that attempt begins.

        `lost`: why this one was lost, if it was.
        """

    def _changed(self, after: str, reason: str) -> event_bodies.Body:
        return event_bodies.status_changed(self.running, after, reason, self.kind)

    async def _lock(self, connection: Connection) -> J | None:
        """Returns the locked job, or None if the attempt is no longer the current one."""
        return await self._jobs.lock_attempt(connection, self._job.id, self._job.attempt)

    async def failed(self, connection: Connection, reason: str, message: str) -> str | None:
        """Fails the job, which cannot complete on any trainer."""
        event = self._changed("failed", message)
        ended = await self._finish(connection, "failed", event, error_reason=reason, error_message=message)
        return "failed" if ended else None

    async def cancelled(self, connection: Connection) -> str | None:
        """Cancels the job, as a user requested."""
        ended = await self._finish(connection, "cancelled", self._changed("cancelled", "cancelled by a user"))
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
        job, start = await self._prepare_next(connection, job, lost=cause)
        settings, losses = self._app.settings, job.losses + 1
        too_often = losses >= settings.max_attempts
        if too_often and await self._jobs.a_trainer_is_well(connection, job.id, losses):
            return await self.failed(connection, "TRAINER_LOST", _lost_too_often(losses, cause))
        pause = backoff_seconds(settings.retry_seconds, losses)
        event = self._changed("queued", f"{cause}; {start}")
        await self._jobs.requeue(
            connection, job.id, job.attempt, "lost", cause, event, losses=losses, pause_seconds=pause
        )
        self._app.bus.wake_later(topics.QUEUE, pause)
        return "lost"

    async def handed_back(self, connection: Connection, cause: str, pause_seconds: float = 0.0) -> str | None:
        """Queues the job again without counting a loss: nothing went wrong."""
        job = await self._lock(connection)
        if job is None:
            return None
        if job.cancel_requested:
            return await self.cancelled(connection)
        await self._prepare_next(connection, job, lost=None)
        event = self._changed("queued", cause)
        await self._jobs.requeue(
            connection,
            job.id,
            job.attempt,
            "handed_back",
            cause,
            event,
            losses=job.losses,
            pause_seconds=pause_seconds,
        )
        self._app.bus.wake_later(topics.QUEUE, pause_seconds)
        return "handed_back"


class TrainingOutcome(Outcome[TrainingJob]):
    """The ways in which an attempt at a training job ends."""

    kind = "training"
    running = "training"

    def __init__(self, app: App, job: TrainingJob) -> None:
        super().__init__(app, job, training.JOBS)

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
        await self._finish(
            connection,
            "completed",
            self._changed("completed", "a model exists"),
            model_id=model_id,
            metrics=to_json(result.metrics),
            best_epoch=result.best_epoch,
        )
        return "completed"

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

    async def _finish(
        self, connection: Connection, status: str, event: event_bodies.Body, **facts: Any
    ) -> TrainingJob | None:
        return await training.finish(connection, self._job.id, self._job.attempt, status, event, **facts)

    async def _prepare_next(
        self, connection: Connection, job: TrainingJob, *, lost: str | None
    ) -> tuple[TrainingJob, str]:
        if lost is not None:
            notice = event_bodies.notice("TRAINER_LOST", f"attempt {job.attempt} ended: {lost}")
            lease = self._app.settings.lease_seconds
            await training.advance(connection, job.id, job.attempt, job.revision, lease, notice)
        start = "resumes from the last checkpoint" if job.checkpoint else "starts again"
        return job, f"the next attempt {start}"


class DetectionOutcome(Outcome[DetectionJob]):
    """The ways in which an attempt at a detection job ends."""

    kind = "detection"
    running = "processing"

    def __init__(self, app: App, job: DetectionJob) -> None:
        super().__init__(app, job, detection_jobs.JOBS)

    async def completed(self, connection: Connection, waits_for: str) -> str | None:
        """Completes the job if every file has a result; otherwise the attempt was lost.

        Files whose place is away, which `waits_for` names, are no loss: the job waits for it.
        """
        job = await self._lock(connection)
        if job is None:
            return None
        if await detection_jobs.unfinished_files(connection, job.id):
            if waits_for:
                pause = min(LONGEST_BACKOFF_SECONDS, PAUSES_FOR_SOURCE * self._app.settings.retry_seconds)
                return await self.handed_back(connection, waits_for, pause)
            return await self.lost(connection, "its trainer left some of the files out")
        event = self._changed("completed", "every file is completed or failed")
        await self._finish(connection, "completed", event)
        return "completed"

    async def _finish(
        self, connection: Connection, status: str, event: event_bodies.Body, **facts: Any
    ) -> DetectionJob | None:
        return await detection_jobs.finish(
            connection, self._job.id, self._job.attempt, status, event, **facts
        )

    async def _prepare_next(
        self, connection: Connection, job: DetectionJob, *, lost: str | None
    ) -> tuple[DetectionJob, str]:
        """A file that was worked on in several lost attempts probably ends trainers: it fails."""
        losses = await detection_jobs.release_files(connection, job.id, lost=lost is not None)
        limit = self._app.settings.max_attempts
        failures = [
            detection_jobs.FileFailure(
                file_id,
                "TRAINER_LOST",
                f"{times} trainers were lost while they worked on this file and others: search it by itself",
            )
            for file_id, times in losses.items()
            if times >= limit
        ]
        if failures:
            failed = await detection_jobs.fail_files(connection, job.id, failures)
            added = detection_jobs.Progress(0, failed, 0, 0)
            event = event_bodies.files_done(job, added)
            lease = self._app.settings.lease_seconds
            job = await detection_jobs.advance(connection, job, lease, added, event) or job
        return job, "the next attempt goes on with the files that are left"


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
