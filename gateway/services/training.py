"""earmark.v1.TrainingService."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

from earmark.v1 import training_service_pb2 as pb
from earmark.v1 import training_service_pb2_grpc
from uuid_utils.compat import uuid7

from gateway import prerequisites, topics
from gateway.app import App
from gateway.caller import tenant
from gateway.convert import training as convert
from gateway.errors import NotFoundError, PreconditionError, wrong_state
from gateway.mutations import once
from gateway.paging import PageRequest
from gateway.services import datasets, models
from gateway.watch import JobWatch
from storage import training
from storage.database import Connection
from storage.records import TrainingJob


class TrainingService(training_service_pb2_grpc.TrainingServiceServicer):
    """Training jobs: created, read, cancelled and watched. The dispatcher runs them."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def CreateTrainingJob(
        self, request: pb.CreateTrainingJobRequest, _: Any
    ) -> pb.CreateTrainingJobResponse:
        if request.validate_only:
            async with self._app.database.connection() as connection:
                await _check(connection, request)
            return pb.CreateTrainingJobResponse(training_job=_preview(request))

        async def create(connection: Connection) -> pb.CreateTrainingJobResponse:
            await _check(connection, request)
            job = await _create(connection, request)
            return pb.CreateTrainingJobResponse(training_job=convert.job_message(job))

        response = await once(self._app.database, request, pb.CreateTrainingJobResponse, create)
        self._app.bus.publish(topics.QUEUE)
        return response

    async def GetTrainingJob(self, request: pb.GetTrainingJobRequest, _: Any) -> pb.GetTrainingJobResponse:
        async with self._app.database.connection() as connection:
            job = await _existing(connection, UUID(request.training_job_id))
        return pb.GetTrainingJobResponse(training_job=convert.job_message(job))

    async def ListTrainingJobs(
        self, request: pb.ListTrainingJobsRequest, _: Any
    ) -> pb.ListTrainingJobsResponse:
        wanted = PageRequest.of(request)
        dataset_id = UUID(request.dataset_id) if request.dataset_id else None
        status = convert.status_text(request.status)
        async with self._app.database.connection() as connection:
            rows = await training.page(connection, tenant(), wanted.after, dataset_id, status, wanted.limit)
        page = wanted.cut(rows, key=lambda job: job.id)
        return pb.ListTrainingJobsResponse(
            training_jobs=map(convert.job_message, page.rows), next_page_token=page.next_page_token
        )

    async def CancelTrainingJob(
        self, request: pb.CancelTrainingJobRequest, _: Any
    ) -> pb.CancelTrainingJobResponse:
        job_id = UUID(request.training_job_id)

        async def cancel(connection: Connection) -> pb.CancelTrainingJobResponse:
            job = await _cancel(connection, job_id)
            return pb.CancelTrainingJobResponse(training_job=convert.job_message(job))

        response = await once(self._app.database, request, pb.CancelTrainingJobResponse, cancel)
        self._app.bus.publish(topics.job(job_id), topics.cancel(job_id))
        return response

    async def WatchTrainingJob(
        self, request: pb.WatchTrainingJobRequest, _: Any
    ) -> AsyncIterator[pb.WatchTrainingJobResponse]:
        job_id = UUID(request.training_job_id)
        async with self._app.database.connection() as connection:
            await _existing(connection, job_id)
        async for content in JobWatch(self._app, tenant(), job_id).follow(request.after_revision):
            if isinstance(content, int):
                heartbeat = pb.WatchTrainingJobResponse.Heartbeat(revision=content)
                yield pb.WatchTrainingJobResponse(heartbeat=heartbeat)
            else:
                yield pb.WatchTrainingJobResponse(event=convert.event_message(content))


async def _existing(connection: Connection, job_id: UUID) -> TrainingJob:
    job = await training.get(connection, tenant(), job_id)
    if job is None:
        raise NotFoundError("training_job", str(job_id))
    return job


async def _check(connection: Connection, request: pb.CreateTrainingJobRequest) -> None:
    dataset_id, set_id = UUID(request.dataset_id), UUID(request.annotation_set_id)
    await datasets.hold(connection, dataset_id)
    facts = await training.facts(connection, tenant(), dataset_id, set_id)
    if facts is None:
        raise NotFoundError("annotation_set", str(set_id))
    if request.config.base_model_id:
        # Not locked: a model that is archived a moment later keeps its files, and the job needs no more.
        await models.unarchived(connection, UUID(request.config.base_model_id))
    found = prerequisites.violations(dataset_id, set_id, request.config.artifact_types, facts)
    if found:
        raise PreconditionError("PREREQUISITES_NOT_MET", found)


async def _create(connection: Connection, request: pb.CreateTrainingJobRequest) -> TrainingJob:
    return await training.create(
        connection,
        tenant(),
        uuid7(),
        UUID(request.dataset_id),
        UUID(request.annotation_set_id),
        convert.config_with_defaults(request.config),
        dict(request.metadata),
        convert.status_changed("unspecified", "pending", "created"),
    )


def _preview(request: pb.CreateTrainingJobRequest) -> pb.TrainingJob:
    """The job as it would be. Its seed is not drawn: that is for the job itself."""
    config = convert.config_message(convert.config_with_defaults(request.config))
    if not request.config.HasField("seed"):
        config.ClearField("seed")
    return pb.TrainingJob(
        dataset_id=request.dataset_id,
        annotation_set_id=request.annotation_set_id,
        config=config,
        status=convert.status_number("pending"),
        total_epochs=config.epochs,
        metadata=request.metadata,
    )


async def _cancel(connection: Connection, job_id: UUID) -> TrainingJob:
    job = await training.lock(connection, tenant(), job_id)
    if job is None:
        raise NotFoundError("training_job", str(job_id))
    if job.status in ("completed", "failed"):
        raise wrong_state(
            "training_job",
            str(job_id),
            job.status,
            f"training job {job_id} is {job.status}: it cannot be cancelled",
        )
    event = convert.status_changed(job.status, "cancelled", "cancelled by a user")
    cancelled = await training.cancel_waiting(connection, tenant(), job_id, event)
    return cancelled or await training.request_cancel(connection, tenant(), job_id) or job
