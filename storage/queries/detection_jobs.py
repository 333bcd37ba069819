"""Detection jobs and their files. See earmark.storage.queries.jobs for their queue, attempts and fencing."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from uuid import UUID

import asyncpg
from uuid_utils.compat import uuid7

from earmark.storage import sql
from earmark.storage.database import Connection
from earmark.storage.queries import orphans
from earmark.storage.queries.jobs import Body, Jobs
from earmark.storage.records import DetectionFile, DetectionJob, Recording

SQL = sql.load("detection_jobs")

_JOB_COLUMNS = tuple(column.name for column in fields(DetectionJob))


@dataclass(frozen=True, slots=True)
class ManifestFile:
    """A file that has no result yet. `frontend`: of its stored features. `uri`: of an object by reference.

    A recording has neither.
    """

    file_id: UUID
    frontend: str | None
    duration_ms: int
    uri: str | None


@dataclass(frozen=True, slots=True)
class FileResult:
    """What was found in a file. `scores` are packed; see earmark.scores."""

    file_id: UUID
    duration_ms: int
    detection_count: int
    scores: bytes


@dataclass(frozen=True, slots=True)
class FileFailure:
    """Why a file has no result."""

    file_id: UUID
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Report:
    """What an attempt has done since its last report."""

    started: Sequence[UUID] = ()
    results: Sequence[FileResult] = ()
    failures: Sequence[FileFailure] = field(default=())

    @property
    def has_results(self) -> bool:
        return bool(self.results or self.failures)


@dataclass(frozen=True, slots=True)
class Progress:
    """What a report adds to a job's figures."""

    completed_files: int
    failed_files: int
    detections: int
    audio_ms: int


@dataclass(frozen=True, slots=True)
class ScoredFile:
    """A completed file with its packed scores."""

    position: int
    file_id: UUID
    filename: str
    scores: bytes


@dataclass(frozen=True, slots=True)
class References:
    """Objects that are searched where they are."""

    uris: Sequence[str]


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to create. `source`: a dataset, recordings or objects. `types`: as in DetectionJob."""

    id: UUID
    model_id: UUID
    source: UUID | Sequence[UUID] | References
    config: Body
    types: Sequence[Body]
    metadata: dict[str, str]


@dataclass(frozen=True, slots=True)
class FailureCount:
    """How many files failed for a reason, with the message of one of them."""

    reason: str
    files: int
    example: str


class TakenRecordingError(Exception):
    """A recording cannot be searched. `exists`: it belongs to another job."""

    def __init__(self, recording_id: UUID, *, exists: bool) -> None:
        super().__init__(f"recording {recording_id}")
        self.recording_id = recording_id
        self.exists = exists


def _job(row: asyncpg.Record) -> DetectionJob:
    return DetectionJob(**{column: row[column] for column in _JOB_COLUMNS})


JOBS = Jobs("detection", "processing", _job)


async def create(connection: Connection, tenant_id: str, new: NewJob, event: Body) -> DetectionJob:
    """Adds a pending job, its files and its first event. Recordings become the job's.

    The caller prevents the deletion of a dataset. Raises TakenRecordingError.
    """
    dataset_id = new.source if isinstance(new.source, UUID) else None
    facts = (new.config, list(new.types), new.metadata)
    await connection.execute(SQL["create"], new.id, tenant_id, new.model_id, dataset_id, *facts)
    if isinstance(new.source, UUID):
        await connection.execute(SQL["add_audio_files"], new.id, new.source)
    elif isinstance(new.source, References):
        file_ids = [uuid7() for _ in new.source.uris]
        await connection.execute(SQL["add_references"], new.id, file_ids, new.source.uris)
    else:
        await _take(connection, tenant_id, new.id, new.source)
        await connection.execute(SQL["add_recordings"], new.id, new.source)
    row = await connection.fetchrow(SQL["count_files"], new.id)
    return await JOBS.with_event(connection, row, event)


async def _take(connection: Connection, tenant_id: str, job_id: UUID, recording_ids: Sequence[UUID]) -> None:
    taken = {
        row["id"] for row in await connection.fetch(SQL["take_recordings"], job_id, tenant_id, recording_ids)
    }
    missing = [recording_id for recording_id in recording_ids if recording_id not in taken]
    if missing:
        existing = {
            row["id"] for row in await connection.fetch(SQL["foreign_recordings"], tenant_id, missing)
        }
        raise TakenRecordingError(missing[0], exists=missing[0] in existing)


async def get(connection: Connection, tenant_id: str, job_id: UUID) -> DetectionJob | None:
    row = await connection.fetchrow(SQL["get"], tenant_id, job_id)
    return row and _job(row)


async def page(
    connection: Connection,
    tenant_id: str,
    after: UUID | None,
    limit: int,
    *,
    model_ids: Sequence[UUID],
    statuses: Sequence[str],
    metadata: dict[str, str],
) -> list[DetectionJob]:
    """A page of jobs, newest first. A filter that is empty matches every job."""
    rows = await connection.fetch(SQL["page"], tenant_id, after, limit, model_ids, statuses, metadata)
    return [_job(row) for row in rows]


async def unfinished_of_models(
    connection: Connection, tenant_id: str, model_ids: Sequence[UUID]
) -> list[UUID]:
    rows = await connection.fetch(SQL["unfinished_of_models"], tenant_id, model_ids)
    return [row["id"] for row in rows]


async def claim(
    connection: Connection,
    trainer: str,
    lease_seconds: float,
    event: Body,
    running_limit: int = 0,
    seconds_per_day: int = 0,
) -> DetectionJob | None:
    """Starts the next attempt of the job whose turn it is; returns None if no job may start.

    `running_limit`: the number of jobs that a tenant without a quota of its own may run at a time.
    `seconds_per_day`: how much audio it may search in a day. 0 stands for any number.
    """
    arguments = (lease_seconds, running_limit, seconds_per_day)
    return await JOBS.claim(connection, trainer, event, SQL["claim"], *arguments)


async def manifest(connection: Connection, job_id: UUID) -> list[ManifestFile]:
    """The files without a result, in their order."""
    return [ManifestFile(**row) for row in await connection.fetch(SQL["manifest"], job_id)]


async def start_files(connection: Connection, job_id: UUID, file_ids: Sequence[UUID]) -> None:
    """Records that a trainer works on these files."""
    await connection.execute(SQL["start_files"], job_id, file_ids)


async def store(connection: Connection, job_id: UUID, report: Report) -> Progress:
    """Stores what the locked job's attempt has done. A file that has a result keeps it."""
    done = [result.file_id for result in report.results] + [each.file_id for each in report.failures]
    await connection.execute(SQL["lock_files"], job_id, [*report.started, *done])
    if report.started:
        await start_files(connection, job_id, report.started)
    results, failures = report.results, report.failures
    row = await connection.fetchrow(
        SQL["complete_files"],
        job_id,
        [result.file_id for result in results],
        [result.duration_ms for result in results],
        [result.detection_count for result in results],
        [result.scores for result in results],
    )
    failed = await fail_files(connection, job_id, failures)
    return Progress(row["files"], failed, row["detections"], row["audio_ms"])


async def fail_files(connection: Connection, job_id: UUID, failures: Sequence[FileFailure]) -> int:
    """Stores why these files have no result. Returns the number of those that had none."""
    columns = [[getattr(failure, name) for failure in failures] for name in ("file_id", "reason", "message")]
    failed: int = await connection.fetchval(SQL["fail_files"], job_id, *columns)
    return failed


async def advance(
    connection: Connection,
    job: DetectionJob,
    lease_seconds: float,
    progress: Progress,
    event: Body,
    eta: datetime | None = None,
) -> DetectionJob | None:
    """Records the event and adds to the figures of the job, as it was read. Returns as `Jobs.advanced`."""
    figures = (progress.completed_files, progress.failed_files, progress.detections, progress.audio_ms, eta)
    row = await connection.fetchrow(
        SQL["advance"], job.id, job.attempt, lease_seconds, job.revision, *figures
    )
    return await JOBS.advanced(connection, row, job.id, job.attempt, job.revision, event)


async def unfinished_files(connection: Connection, job_id: UUID) -> int:
    number: int = await connection.fetchval(SQL["unfinished_files"], job_id)
    return number


async def release_files(connection: Connection, job_id: UUID, *, lost: bool) -> dict[UUID, int]:
    """Lets the next attempt begin anew what the last one worked on. Returns the losses of each such file."""
    await connection.execute(SQL["lock_files"], job_id, [])
    rows = await connection.fetch(SQL["release_files"], job_id, lost)
    return {row["file_id"]: row["losses"] for row in rows}


async def finish(
    connection: Connection,
    job_id: UUID,
    attempt: int,
    status: str,
    event: Body,
    *,
    error_reason: str | None = None,
    error_message: str | None = None,
) -> DetectionJob | None:
    """Ends the job; `status` is completed, failed or cancelled."""
    row = await connection.fetchrow(SQL["finish"], job_id, attempt, status, error_reason, error_message)
    return await JOBS.end_attempt(connection, row, status, error_message, event)


async def cancel_waiting(
    connection: Connection, tenant_id: str, job_id: UUID, event: Body
) -> DetectionJob | None:
    """Cancels the job. Returns None if it is not pending or queued."""
    row = await connection.fetchrow(SQL["cancel_waiting"], tenant_id, job_id)
    return None if row is None else await JOBS.with_event(connection, row, event)


async def files(
    connection: Connection, job_id: UUID, after: int, limit: int, statuses: Sequence[str]
) -> list[DetectionFile]:
    """A page of the job's files after a position, in their order. Without statuses, of every status."""
    rows = await connection.fetch(SQL["files"], job_id, after, limit, statuses)
    return [DetectionFile(**row) for row in rows]


async def status_counts(connection: Connection, job_id: UUID) -> dict[str, int]:
    """How many of the job's files have each status."""
    return {row["status"]: row["files"] for row in await connection.fetch(SQL["status_counts"], job_id)}


async def failure_counts(connection: Connection, job_id: UUID) -> list[FailureCount]:
    """Why files of the job failed, the most frequent reason first."""
    return [FailureCount(**row) for row in await connection.fetch(SQL["failure_counts"], job_id)]


async def latest_of_model(
    connection: Connection, tenant_id: str, model_id: UUID, dataset_id: UUID
) -> DetectionJob | None:
    """The newest completed job of the model over the dataset."""
    row = await connection.fetchrow(SQL["latest_of_model"], tenant_id, model_id, dataset_id)
    return row and _job(row)


async def scores(
    connection: Connection, job_id: UUID, first: int, limit: int, file_ids: Sequence[UUID] = ()
) -> list[ScoredFile]:
    """Completed files from the position `first` on, in their order. Without `file_ids`, any of them."""
    rows = await connection.fetch(SQL["scores"], job_id, first, limit, file_ids)
    return [ScoredFile(**row) for row in rows]


async def add_recording(connection: Connection, tenant_id: str, recording: Recording) -> None:
    facts = (recording.filename, recording.size_bytes, recording.sha256)
    await connection.execute(SQL["add_recording"], recording.id, tenant_id, *facts)


async def get_recording(connection: Connection, tenant_id: str, recording_id: UUID) -> Recording | None:
    row = await connection.fetchrow(SQL["get_recording"], tenant_id, recording_id)
    return row and Recording(**row)


async def delete_unused_recordings(connection: Connection, age_seconds: float) -> int:
    """Deletes up to 1,000 recordings that no job has taken for so long. Returns their number."""
    rows = await connection.fetch(SQL["delete_unused_recordings"], age_seconds)
    for tenant_id in {row["tenant_id"] for row in rows}:
        ids = [row["id"] for row in rows if row["tenant_id"] == tenant_id]
        await orphans.add_deleted(connection, "recording", tenant_id, ids)
    return len(rows)


async def delete(connection: Connection, tenant_id: str, job_id: UUID) -> dict[str, int]:
    """Deletes the locked job with its results and recordings. Returns the numbers of both resources."""
    recordings = [row["id"] for row in await connection.fetch(SQL["delete_recordings"], job_id)]
    await orphans.add_deleted(connection, "recording", tenant_id, recordings)
    await connection.execute(SQL["delete"], job_id)
    return {"detection_job": 1} | ({"recording": len(recordings)} if recordings else {})
