"""earmark.v1.TrainingService."""

from collections.abc import AsyncIterator, Collection
from dataclasses import replace
from functools import partial
from typing import Any
from uuid import UUID

from uuid_utils.compat import uuid7

from earmark import tracing
from earmark.gateway import lookup
from earmark.gateway.app import App
from earmark.gateway.caller import caller, tenant
from earmark.gateway.convert import event_bodies
from earmark.gateway.convert.training import (
    config_with_defaults,
    queue_state_message,
    training_event_kind_names,
    training_event_message,
    training_job_message,
    training_job_status,
    training_job_status_names,
)
from earmark.gateway.convert.values import to_json
from earmark.gateway.errors import NotFoundError, PreconditionError, wrong_state
from earmark.gateway.fleet.queue_state import queue_state
from earmark.gateway.idempotency import run_once
from earmark.gateway.paging import PageRequest
from earmark.gateway.quotas import check_waiting
from earmark.gateway.read_batcher import ReadBatcher
from earmark.gateway.rules import prerequisites
from earmark.gateway.rules.deletions import check_deletable
from earmark.gateway.rules.models import check_not_archived
from earmark.gateway.watching import topics
from earmark.gateway.watching.cursor import Cursor
from earmark.gateway.watching.event_filter import EventFilter
from earmark.gateway.watching.job_watch import follow_job
from earmark.gateway.watching.log_watch import LogWatch
from earmark.gateway.watching.tenant_log import Entry, TenantLogs
from earmark.storage.database import Connection
from earmark.storage.queries import deletions, training
from earmark.storage.records import QueuePlace, TrainingJob
from earmark.v1 import training_service_pb2 as pb
from earmark.v1 import training_service_pb2_grpc
from earmark.v1.training_config_pb2 import TrainingConfig


class TrainingService(training_service_pb2_grpc.TrainingServiceServicer):
    """Creates, reads, cancels and watches training jobs. The dispatcher runs them."""

    def __init__(self, app: App, logs: TenantLogs) -> None:
        self._app = app
        self._logs = logs
        # Many clients poll their jobs, so their reads are batched.
        self._job_reads = ReadBatcher(app.database, self._read_jobs)

    async def CreateTrainingJob(
        self, request: pb.CreateTrainingJobRequest, _: Any
    ) -> pb.CreateTrainingJobResponse:
        config = config_with_defaults(request.config)
        if request.validate_only:
            async with self._app.database.connection() as connection:
                await _check_prerequisites(connection, request, config)
            return pb.CreateTrainingJobResponse(training_job=_preview(request, config))

        async def create(connection: Connection) -> pb.CreateTrainingJobResponse:
            await _check_prerequisites(connection, request, config)
            await self._check_quota(connection)
            job = await _create(connection, request, config)
            return pb.CreateTrainingJobResponse(training_job=training_job_message(job))

        response = await run_once(self._app.database, request, pb.CreateTrainingJobResponse, create)
        self._app.bus.publish(topics.QUEUE, topics.events(tenant()))
        return response

    async def GetTrainingJob(self, request: pb.GetTrainingJobRequest, _: Any) -> pb.GetTrainingJobResponse:
        job = await self._job_reads.get(tenant(), UUID(request.training_job_id))
        if job is None:
            raise NotFoundError("training_job", request.training_job_id)
        message = training_job_message(job)
        if job.queue_place is not None:
            message.queue_state.CopyFrom(self._queue_state(job.queue_place))
        return pb.GetTrainingJobResponse(training_job=message)

    async def ListTrainingJobs(
        self, request: pb.ListTrainingJobsRequest, _: Any
    ) -> pb.ListTrainingJobsResponse:
        page_request = PageRequest.of(request)
        async with self._app.lane_for(page_request.size).connection() as connection:
            read = partial(
                training.page,
                connection,
                tenant(),
                dataset_ids=[UUID(dataset_id) for dataset_id in request.dataset_ids],
                statuses=training_job_status_names(request.statuses),
                metadata=dict(request.metadata),
            )
            convert = partial(training_job_message, view=request.view)
            page = await page_request.page(read, convert, lambda job: job.id)
        return pb.ListTrainingJobsResponse(training_jobs=page.messages, next_page_token=page.next_page_token)

    async def CancelTrainingJob(
        self, request: pb.CancelTrainingJobRequest, _: Any
    ) -> pb.CancelTrainingJobResponse:
        job_id = UUID(request.training_job_id)

        async def cancel(connection: Connection) -> pb.CancelTrainingJobResponse:
            job = await _cancel(connection, job_id)
            return pb.CancelTrainingJobResponse(training_job=training_job_message(job))

        response = await run_once(self._app.database, request, pb.CancelTrainingJobResponse, cancel)
        self._app.bus.publish(topics.events(tenant()), topics.cancel(job_id))
        return response

    async def DeleteTrainingJob(
        self, request: pb.DeleteTrainingJobRequest, _: Any
    ) -> pb.DeleteTrainingJobResponse:
        job_id = UUID(request.training_job_id)

        async def delete(connection: Connection) -> pb.DeleteTrainingJobResponse:
            await lookup.lock_training_job(connection, job_id)
            removal = await deletions.of_job(connection, job_id)
            unfinished = await deletions.unfinished_jobs(connection, tenant(), removal)
            searches = await deletions.unfinished_searches(connection, tenant(), removal)
            # The job itself is what the caller wants to delete, and keeps nothing.
            check_deletable(replace(removal, job_ids=[]), unfinished, searches, force=request.force)
            return pb.DeleteTrainingJobResponse(
                deleted_counts=await deletions.delete(connection, tenant(), removal, caller())
            )

        response = await run_once(self._app.database, request, pb.DeleteTrainingJobResponse, delete)
        self._app.bus.publish(topics.events(tenant()))
        return response

    async def WatchTrainingJob(
        self, request: pb.WatchTrainingJobRequest, _: Any
    ) -> AsyncIterator[pb.WatchTrainingJobResponse]:
        job_id, kinds = UUID(request.training_job_id), training_event_kind_names(request.kinds)
        async for content in follow_job(
            self._logs, tenant(), job_id, request.after_revision, lookup.training_job, kinds
        ):
            if isinstance(content, int):
                heartbeat = pb.WatchTrainingJobResponse.Heartbeat(revision=content)
                yield pb.WatchTrainingJobResponse(heartbeat=heartbeat)
            else:
                yield content.message(_job_response)

    async def WatchTrainingJobs(
        self, request: pb.WatchTrainingJobsRequest, _: Any
    ) -> AsyncIterator[pb.WatchTrainingJobsResponse]:
        watch = LogWatch(self._logs, tenant(), _event_filter(request))
        start = await watch.start(request.after_cursor, from_start=request.from_start)
        if not (request.after_cursor or request.from_start):
            yield _heartbeat(start)
        async for entry, cursor in watch.follow(start):
            yield entry.message(_jobs_response) if entry else _heartbeat(cursor)

    async def _check_quota(self, connection: Connection) -> None:
        """Raises QuotaError if too many jobs wait. Comes last: it locks out the tenant's other new jobs."""
        if limit := self._app.quotas.of(tenant()).waiting_training_jobs:
            waiting = await training.JOBS.count_waiting(connection, tenant())
            check_waiting(tenant(), "training", limit, waiting)

    async def _read_jobs(
        self, connection: Connection, tenant_id: str, job_ids: Collection[UUID]
    ) -> dict[UUID, TrainingJob]:
        """The tenant's existing jobs among these; queued ones with their places among all tenants'."""
        jobs = await training.get_many(connection, tenant_id, job_ids)
        queued = [job.id for job in jobs.values() if job.status == "queued"]
        if queued:
            async with self._app.system.connection() as seeing_all:
                places = await training.places(seeing_all, queued)
            jobs |= {job_id: replace(jobs[job_id], queue_place=place) for job_id, place in places.items()}
        return jobs

    def _queue_state(self, place: QueuePlace) -> pb.QueueState:
        limit = self._app.quotas.of(tenant()).running_training_jobs or None
        return queue_state_message(queue_state(place, self._app.trainers.slots(), limit))


def _job_response(entry: Entry) -> pb.WatchTrainingJobResponse:
    return pb.WatchTrainingJobResponse(event=training_event_message(entry.event))


def _jobs_response(entry: Entry) -> pb.WatchTrainingJobsResponse:
    return pb.WatchTrainingJobsResponse(event=training_event_message(entry.event), cursor=str(entry.cursor))


def _heartbeat(cursor: Cursor) -> pb.WatchTrainingJobsResponse:
    heartbeat = pb.WatchTrainingJobsResponse.Heartbeat()
    return pb.WatchTrainingJobsResponse(heartbeat=heartbeat, cursor=str(cursor))


def _event_filter(request: pb.WatchTrainingJobsRequest) -> EventFilter:
    return EventFilter(
        resources=frozenset({"training_job"}),
        dataset_ids=frozenset(map(UUID, request.dataset_ids)),
        statuses=frozenset(training_job_status_names(request.statuses)),
        kinds=frozenset(training_event_kind_names(request.kinds)),
        metadata=dict(request.metadata),
    )


async def _check_prerequisites(
    connection: Connection, request: pb.CreateTrainingJobRequest, config: TrainingConfig
) -> None:
    """Raises if one is not met. The job's `config` gets the base model's id in place of an alias."""
    dataset_id, set_id = UUID(request.dataset_id), UUID(request.annotation_set_id)
    await lookup.share_dataset(connection, dataset_id)
    facts = await training.facts(connection, tenant(), dataset_id, set_id)
    if facts is None:
        raise NotFoundError("annotation_set", str(set_id))
    if config.base_model_id:
        base = await lookup.named_model(connection, config.base_model_id)
        # A model that is archived later keeps its files, which are all that the job needs.
        check_not_archived(await lookup.share_model(connection, base.id))
        config.base_model_id = str(base.id)
    violations = prerequisites.violations(dataset_id, set_id, request.config.artifact_types, facts)
    if violations:
        raise PreconditionError("PREREQUISITES_NOT_MET", violations)


async def _create(
    connection: Connection, request: pb.CreateTrainingJobRequest, config: TrainingConfig
) -> TrainingJob:
    return await training.create(
        connection,
        tenant(),
        uuid7(),
        UUID(request.dataset_id),
        UUID(request.annotation_set_id),
        to_json(config),
        dict(request.metadata),
        event_bodies.status_changed("unspecified", "pending", "created"),
        traceparent=tracing.current().traceparent or None,
    )


def _preview(request: pb.CreateTrainingJobRequest, config: TrainingConfig) -> pb.TrainingJob:
    """The job as it would be created, without a drawn seed: creating the job draws another one."""
    if not request.config.HasField("seed"):
        config.ClearField("seed")
    return pb.TrainingJob(
        dataset_id=request.dataset_id,
        annotation_set_id=request.annotation_set_id,
        config=config,
        status=training_job_status("pending"),
        total_epochs=config.epochs,
        metadata=request.metadata,
    )


async def _cancel(connection: Connection, job_id: UUID) -> TrainingJob:
    job = await lookup.lock_training_job(connection, job_id)
    if job.status in ("completed", "failed"):
        raise wrong_state(
            "training_job",
            str(job_id),
            job.status,
            f"training job {job_id} is {job.status}: it cannot be cancelled",
        )
    event = event_bodies.status_changed(job.status, "cancelled", "cancelled by a user")
    if not await training.cancel_waiting(connection, tenant(), job_id, event):
        await training.JOBS.request_cancel(connection, tenant(), job_id)
    return await lookup.training_job(connection, job_id)
