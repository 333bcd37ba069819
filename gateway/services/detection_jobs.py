"""The part of earmark.v1.DetectionService that is about detection jobs."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any
from uuid import UUID

from uuid_utils.compat import uuid7

from earmark.gateway import lookup, object_keys
from earmark.gateway.app import App
from earmark.gateway.caller import tenant
from earmark.gateway.convert import event_bodies
from earmark.gateway.convert.detection_jobs import (
    detection_event_message,
    detection_file_message,
    detection_file_status_names,
    detection_job_message,
    detection_job_status_names,
    job_detection_message,
    learned_types,
    recording_message,
)
from earmark.gateway.convert.values import to_json
from earmark.gateway.errors import (
    FieldViolation,
    InvalidArgumentError,
    NotFoundError,
    PreconditionError,
    Violation,
    in_use,
    wrong_state,
)
from earmark.gateway.idempotency import earlier_reply, run_once
from earmark.gateway.paging import PageRequest
from earmark.gateway.quotas import check_waiting
from earmark.gateway.reports.detection_job import detection_job_report
from earmark.gateway.rules.detection import check_references, check_types
from earmark.gateway.rules.models import check_usable
from earmark.gateway.services.job_detections import Filter, JobDetections, Row, header, settings, text
from earmark.gateway.services.job_report import JobReport
from earmark.gateway.uploads import Upload, metadata_of, received, uninterrupted
from earmark.gateway.watching import topics
from earmark.gateway.watching.job_watch import follow_job
from earmark.gateway.watching.tenant_log import Entry, TenantLogs
from earmark.storage.database import Connection, DatabaseUnavailableError
from earmark.storage.objects import PART_BYTES, ObjectStoreError
from earmark.storage.queries import detection_jobs, orphans
from earmark.storage.queries.detection_jobs import NewJob, References, TakenRecordingError
from earmark.storage.records import DetectionFile, DetectionJob, Recording
from earmark.v1 import detection_service_pb2 as pb
from earmark.v1 import detection_service_pb2_grpc


class DetectionJobService(detection_service_pb2_grpc.DetectionServiceServicer):
    """Creates, reads, cancels and watches detection jobs. The dispatcher runs them."""

    def __init__(self, app: App, logs: TenantLogs) -> None:
        self._app = app
        self._logs = logs

    async def UploadRecording(
        self, requests: AsyncIterator[pb.UploadRecordingRequest], _: Any
    ) -> pb.UploadRecordingResponse:
        metadata: pb.UploadRecordingRequest.Metadata = await metadata_of(requests)
        earlier = await earlier_reply(self._app.database, metadata, pb.UploadRecordingResponse)
        if earlier is not None:
            return earlier
        async with self._app.database.connection() as connection:
            await self._app.quotas.check_room(connection, tenant(), metadata.size_bytes)
        folder = self._app.settings.data_dir / "uploads"
        async with (
            self._app.disk.room_for(metadata.size_bytes),
            received(requests, metadata, folder, self._app.scratch) as upload,
        ):
            return await self._store(upload)

    async def CreateDetectionJob(
        self, request: pb.CreateDetectionJobRequest, _: Any
    ) -> pb.CreateDetectionJobResponse:
        _check_unique(request.recording_ids)
        await asyncio.to_thread(check_references, request.uris, self._app.settings.sources)

        async def create(connection: Connection) -> pb.CreateDetectionJobResponse:
            job = await self._create(connection, request)
            return pb.CreateDetectionJobResponse(detection_job=detection_job_message(job))

        if request.validate_only:
            async with self._app.database.undone() as connection:
                return _preview(await create(connection))
        response = await run_once(self._app.database, request, pb.CreateDetectionJobResponse, create)
        self._app.bus.publish(topics.QUEUE, topics.events(tenant()))
        return response

    async def GetDetectionJob(self, request: pb.GetDetectionJobRequest, _: Any) -> pb.GetDetectionJobResponse:
        async with self._app.database.connection() as connection:
            job = await lookup.detection_job(connection, UUID(request.detection_job_id))
        return pb.GetDetectionJobResponse(detection_job=detection_job_message(job))

    async def ListDetectionJobs(
        self, request: pb.ListDetectionJobsRequest, _: Any
    ) -> pb.ListDetectionJobsResponse:
        page_request = PageRequest.of(request)
        async with self._app.lane_for(page_request.size).connection() as connection:
            read = partial(
                detection_jobs.page,
                connection,
                tenant(),
                model_ids=[UUID(model_id) for model_id in request.model_ids],
                statuses=detection_job_status_names(request.statuses),
                metadata=dict(request.metadata),
            )
            page = await page_request.page(read, detection_job_message, lambda job: job.id)
        return pb.ListDetectionJobsResponse(
            detection_jobs=page.messages, next_page_token=page.next_page_token
        )

    async def CancelDetectionJob(
        self, request: pb.CancelDetectionJobRequest, _: Any
    ) -> pb.CancelDetectionJobResponse:
        job_id = UUID(request.detection_job_id)

        async def cancel(connection: Connection) -> pb.CancelDetectionJobResponse:
            job = await _cancel(connection, job_id)
            return pb.CancelDetectionJobResponse(detection_job=detection_job_message(job))

        response = await run_once(self._app.database, request, pb.CancelDetectionJobResponse, cancel)
        self._app.bus.publish(topics.events(tenant()), topics.cancel(job_id))
        return response

    async def DeleteDetectionJob(
        self, request: pb.DeleteDetectionJobRequest, _: Any
    ) -> pb.DeleteDetectionJobResponse:
        job_id = UUID(request.detection_job_id)

        async def delete(connection: Connection) -> pb.DeleteDetectionJobResponse:
            job = await lookup.lock_detection_job(connection, job_id)
            if job.finished_at is None:
                message = f"detection job {job_id} is not finished: cancel it or wait for its end"
                raise in_use("detection_job", str(job_id), message)
            return pb.DeleteDetectionJobResponse(
                deleted_counts=await detection_jobs.delete(connection, tenant(), job_id)
            )

        response = await run_once(self._app.database, request, pb.DeleteDetectionJobResponse, delete)
        self._app.bus.publish(topics.events(tenant()))
        return response

    async def WatchDetectionJob(
        self, request: pb.WatchDetectionJobRequest, _: Any
    ) -> AsyncIterator[pb.WatchDetectionJobResponse]:
        job_id, after = UUID(request.detection_job_id), request.after_revision
        async for content in follow_job(self._logs, tenant(), job_id, after, lookup.detection_job):
            if isinstance(content, int):
                heartbeat = pb.WatchDetectionJobResponse.Heartbeat(revision=content)
                yield pb.WatchDetectionJobResponse(heartbeat=heartbeat)
            else:
                yield content.message(_event_response)

    async def ListDetectionFiles(
        self, request: pb.ListDetectionFilesRequest, _: Any
    ) -> pb.ListDetectionFilesResponse:
        page_request, statuses = PageRequest.by_number(request), detection_file_status_names(request.statuses)
        async with self._app.lane_for(page_request.size).connection() as connection:
            job = await lookup.detection_job(connection, UUID(request.detection_job_id))

            async def read(after: int | None, limit: int) -> list[DetectionFile]:
                return await detection_jobs.files(connection, job.id, after or 0, limit, statuses)

            page = await page_request.page(read, detection_file_message, lambda file: file.position)
        return pb.ListDetectionFilesResponse(files=page.messages, next_page_token=page.next_page_token)

    async def ListDetections(self, request: pb.ListDetectionsRequest, _: Any) -> pb.ListDetectionsResponse:
        page_request = PageRequest.by_pair(request)
        # Scores may be large, whatever the size of the page.
        async with self._app.lane.connection() as connection:
            job = await lookup.detection_job(connection, UUID(request.detection_job_id))
            _check_settings(job, request)
            found = JobDetections(job, settings(job, request), _filter(request)).pages()
            page = await page_request.page(partial(found.after, connection), _message, lambda row: row.place)
        return pb.ListDetectionsResponse(detections=page.messages, next_page_token=page.next_page_token)

    async def DownloadDetections(
        self, request: pb.DownloadDetectionsRequest, _: Any
    ) -> AsyncIterator[pb.DownloadDetectionsResponse]:
        async with self._app.database.connection() as connection:
            job = await lookup.detection_job(connection, UUID(request.detection_job_id))
        _check_settings(job, request)
        data = header(request.format)
        async for rows in JobDetections(job, settings(job, request), Filter()).all(self._app.lane):
            data += text(request.format, rows)
            while len(data) >= PART_BYTES:
                yield pb.DownloadDetectionsResponse(data=data[:PART_BYTES])
                data = data[PART_BYTES:]
        yield pb.DownloadDetectionsResponse(data=data)

    async def GetDetectionJobReport(
        self, request: pb.GetDetectionJobReportRequest, _: Any
    ) -> pb.GetDetectionJobReportResponse:
        async with self._app.lane.connection() as connection:
            job = await lookup.detection_job(connection, UUID(request.detection_job_id))
            _check_settings(job, request)
            figures = await JobReport(job, settings(job, request)).figures(connection)
        html = await asyncio.to_thread(detection_job_report, job, figures)
        return pb.GetDetectionJobReportResponse(html=html)

    async def _create(self, connection: Connection, request: pb.CreateDetectionJobRequest) -> DetectionJob:
        named = await lookup.named_model(connection, request.model_id)
        model = await lookup.share_model(connection, named.id)
        check_usable(model)
        check_types(request.config, model.id, model.artifact_types, "config")
        source: UUID | Sequence[UUID] | References = list(map(UUID, request.recording_ids))
        if request.uris:
            source = References(request.uris)
        if request.dataset_id:
            source = UUID(request.dataset_id)
            await lookup.share_dataset(connection, source)
        await self._check_quota(connection)
        new = NewJob(
            uuid7(), model.id, source, to_json(request.config), learned_types(model), dict(request.metadata)
        )
        event = event_bodies.status_changed("unspecified", "pending", "created", "detection")
        try:
            job = await detection_jobs.create(connection, tenant(), new, event)
        except TakenRecordingError as error:
            raise _not_takable(error) from None
        if not job.total_files:
            description = f"dataset {source} has no audio file that is ready: upload some and wait for them"
            violation = Violation("AUDIO_READY", f"dataset/{source}", description)
            raise PreconditionError("PREREQUISITES_NOT_MET", [violation])
        return job

    async def _check_quota(self, connection: Connection) -> None:
        """Raises QuotaError if too many jobs wait. It locks out the tenant's other new jobs."""
        self._app.quotas.check_search(tenant())
        if limit := self._app.quotas.of(tenant()).waiting_detection_jobs:
            waiting = await detection_jobs.JOBS.count_waiting(connection, tenant())
            check_waiting(tenant(), "detection", limit, waiting)

    async def _store(self, upload: Upload[pb.UploadRecordingRequest.Metadata]) -> pb.UploadRecordingResponse:
        """Stores the object, then the row. gateway.dispatcher.orphans removes an object without a row."""
        metadata = upload.metadata
        recording = Recording(uuid7(), metadata.filename, metadata.size_bytes, upload.sha256)
        async with self._app.database.connection() as connection:
            await orphans.add_upload(connection, "recording", tenant(), recording.id)

        async def insert(connection: Connection) -> pb.UploadRecordingResponse:
            await detection_jobs.add_recording(connection, tenant(), recording)
            await self._app.quotas.check_stored(connection, tenant(), recording.size_bytes)
            return pb.UploadRecordingResponse(recording=recording_message(recording))

        key = object_keys.recording_source(tenant(), recording.id)
        try:
            # A cancelled put would go on for a while, and its object can be deleted only after its end.
            await uninterrupted(self._app.objects.put_async(key, upload.file))
            reply = run_once(self._app.database, metadata, pb.UploadRecordingResponse, insert)
            response = await uninterrupted(reply)
        except DatabaseUnavailableError:
            # The row may have been committed although the database's reply was lost.
            raise
        except BaseException:
            await self._delete_orphan(recording.id)
            raise
        if response.recording.id != str(recording.id):
            # The same request was sent twice at once, and the other call committed its row first.
            await self._delete_orphan(recording.id)
        return response

    async def _delete_orphan(self, recording_id: UUID) -> None:
        """Deletes an upload's object unless its row was committed."""
        with suppress(DatabaseUnavailableError, ObjectStoreError):
            async with self._app.database.connection() as connection:
                if await detection_jobs.get_recording(connection, tenant(), recording_id) is None:
                    await self._app.objects.delete_async(object_keys.recording_source(tenant(), recording_id))


def _check_unique(recording_ids: Sequence[str]) -> None:
    if len(set(map(str.lower, recording_ids))) != len(recording_ids):
        raise InvalidArgumentError([FieldViolation("recording_ids", "names a recording more than once")])


def _check_settings(job: DetectionJob, request: Any) -> None:
    check_types(request.config, job.model_id, [learned["name"] for learned in job.types], "config")


def _not_takable(error: TakenRecordingError) -> Exception:
    recording_id = str(error.recording_id)
    if not error.exists:
        return NotFoundError("recording", recording_id)
    return in_use(
        "recording", recording_id, f"recording {recording_id} belongs to another job: upload the file again"
    )


def _preview(created: pb.CreateDetectionJobResponse) -> pb.CreateDetectionJobResponse:
    """The job as it would be created, without what only a created job has."""
    for name in ("id", "created_at", "revision"):
        created.detection_job.ClearField(name)
    return created


async def _cancel(connection: Connection, job_id: UUID) -> DetectionJob:
    job = await lookup.lock_detection_job(connection, job_id)
    if job.status in ("completed", "failed"):
        message = f"detection job {job_id} is {job.status}: it cannot be cancelled"
        raise wrong_state("detection_job", str(job_id), job.status, message)
    event = event_bodies.status_changed(job.status, "cancelled", "cancelled by a user", "detection")
    if not await detection_jobs.cancel_waiting(connection, tenant(), job_id, event):
        await detection_jobs.JOBS.request_cancel(connection, tenant(), job_id)
    return await lookup.detection_job(connection, job_id)


def _filter(request: pb.ListDetectionsRequest) -> Filter:
    return Filter(
        file_ids=[UUID(file_id) for file_id in request.file_ids],
        artifact_types=frozenset(request.artifact_types),
        min_confidence=request.min_confidence,
        from_ms=request.from_ms,
        until_ms=request.until_ms if request.HasField("until_ms") else None,
    )


def _message(row: Row) -> pb.JobDetection:
    return job_detection_message(row.file, row.found)


def _event_response(entry: Entry) -> pb.WatchDetectionJobResponse:
    return pb.WatchDetectionJobResponse(event=detection_event_message(entry.event))
