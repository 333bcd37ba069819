"""Training jobs. See earmark.storage.queries.jobs for their queue, attempts and fencing."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from uuid import UUID

import asyncpg

from earmark.storage import sql
from earmark.storage.database import Connection
from earmark.storage.queries.jobs import Body, Jobs
from earmark.storage.records import QueuePlace, TrainingAttempt, TrainingJob

SQL = sql.load("training")

_JOB_COLUMNS = tuple(
    field.name
    for field in fields(TrainingJob)
    if field.name not in ("attempts", "queue_place", "traceparent")
)
_PLACE_COLUMNS = tuple(field.name for field in fields(QueuePlace))


@dataclass(frozen=True, slots=True)
class AudioFacts:
    """A summary of a dataset's audio files with one processing status. `first_ids` has at most five ids."""

    status: str
    count: int
    duration_ms: int
    first_ids: Sequence[str]


@dataclass(frozen=True, slots=True)
class JobFacts:
    """The facts that a job's prerequisites are checked against."""

    set_dataset_id: UUID
    set_version: int
    set_status: str
    annotations_by_type: dict[str, int]
    types: Sequence[str]
    audio: Sequence[AudioFacts]


@dataclass(frozen=True, slots=True)
class ManifestFile:
    """A file that a job trains on.

    `annotations` are records of TrainRequest.File.
    """

    id: UUID
    sha256: str
    duration_ms: int
    group: str
    annotations: bytes


def _attempt(stored: Body) -> TrainingAttempt:
    """Parses an attempt from its JSON form, in which times are strings."""
    times = {
        name: stored[name] and datetime.fromisoformat(stored[name]) for name in ("started_at", "ended_at")
    }
    return TrainingAttempt(**stored | times)


def _job(row: asyncpg.Record) -> TrainingJob:
    job = TrainingJob(**{column: row[column] for column in _JOB_COLUMNS})
    if "attempts" in row:
        return replace(job, attempts=[_attempt(a) for a in row["attempts"]])
    return replace(job, traceparent=row["traceparent"])


JOBS = Jobs("training", "training", _job)


async def facts(
    connection: Connection, tenant_id: str, dataset_id: UUID, annotation_set_id: UUID
) -> JobFacts | None:
    """The facts in one snapshot. Returns None if no such annotation set exists."""
    row = await connection.fetchrow(SQL["facts"], tenant_id, dataset_id, annotation_set_id)
    if row is None:
        return None
    audio = [AudioFacts(**a) for a in row["audio"]]
    return JobFacts(
        row["dataset_id"], row["version"], row["status"], row["annotations_by_type"], row["types"], audio
    )


async def create(
    connection: Connection,
    tenant_id: str,
    job_id: UUID,
    dataset_id: UUID,
    annotation_set_id: UUID,
    config: Body,
    metadata: dict[str, str],
    event: Body,
    *,
    traceparent: str | None = None,
) -> TrainingJob:
    """Adds a pending job and its first event. `traceparent`: the span of the call that does so."""
    values = (dataset_id, annotation_set_id, config, metadata, config["epochs"], traceparent)
    row = await connection.fetchrow(SQL["create"], job_id, tenant_id, *values)
    return await JOBS.with_event(connection, row, event)


async def get(connection: Connection, tenant_id: str, job_id: UUID) -> TrainingJob | None:
    row = await connection.fetchrow(SQL["get"], tenant_id, job_id)
    return row and _job(row)


async def get_many(
    connection: Connection, tenant_id: str, job_ids: Collection[UUID]
) -> dict[UUID, TrainingJob]:
    """The tenant's existing jobs among these, by id, without their places in the queue."""
    return {row["id"]: _job(row) for row in await connection.fetch(SQL["get_many"], tenant_id, job_ids)}


async def page(
    connection: Connection,
    tenant_id: str,
    after: UUID | None,
    limit: int,
    *,
    dataset_ids: Sequence[UUID],
    statuses: Sequence[str],
    metadata: dict[str, str],
) -> list[TrainingJob]:
    """A page of jobs, newest first. A filter that is empty matches every job."""
    filters = (dataset_ids, statuses, metadata)
    rows = await connection.fetch(SQL["page"], tenant_id, after, limit, *filters)
    return [_job(row) for row in rows]


async def places(connection: Connection, job_ids: Collection[UUID]) -> dict[UUID, QueuePlace]:
    """The positions of those of the jobs that are queued. The connection must see all tenants' jobs."""
    rows = await connection.fetch(SQL["places"], job_ids)
    return {row["id"]: QueuePlace(**{name: row[name] for name in _PLACE_COLUMNS}) for row in rows}


async def claim(
    connection: Connection,
    trainer: str,
    lease_seconds: float,
    event: Body,
    running_limit: int = 0,
    *,
    frontend: str,
) -> TrainingJob | None:
    """Starts the next attempt of the job whose turn it is; returns None if no job may start.

    `running_limit`: the number of jobs that a tenant without a quota of its own may have in training at a
    time; 0 for any number. `frontend`: the version
    of the trainer's front end, of which the features of all the job's files must be.
    """
    arguments = (lease_seconds, running_limit, frontend)
    return await JOBS.claim(connection, trainer, event, SQL["claim"], *arguments)


async def manifest(connection: Connection, job: TrainingJob) -> list[ManifestFile]:
    """The files that were ready when the job was created; every attempt gets the same files."""
    rows = await connection.fetch(SQL["manifest"], job.id, job.config["artifact_types"])
    return [ManifestFile(**row) for row in rows]


async def advance(
    connection: Connection,
    job_id: UUID,
    attempt: int,
    after_revision: int,
    lease_seconds: float,
    event: Body,
    *,
    progress: float | None = None,
    current_epoch: int | None = None,
    best_epoch: int | None = None,
    metrics: Body | None = None,
    eta: datetime | None = None,
    checkpoint: str | None = None,
) -> TrainingJob | None:
    """Records the current attempt's event and updates the job's figures. Returns as `Jobs.advanced`."""
    figures = (progress, current_epoch, best_epoch, metrics, eta)
    row = await connection.fetchrow(
        SQL["advance"], job_id, attempt, lease_seconds, *figures, after_revision, checkpoint
    )
    return await JOBS.advanced(connection, row, job_id, attempt, after_revision, event)


async def set_checkpoint(connection: Connection, job_id: UUID, attempt: int, key: str) -> bool:
    """Stores the checkpoint from which the next attempt would resume.

    Returns False if the attempt is no longer the current one.
    """
    return bool(await connection.fetchval(SQL["set_checkpoint"], job_id, attempt, key))


async def finish(
    connection: Connection,
    job_id: UUID,
    attempt: int,
    status: str,
    event: Body,
    *,
    model_id: UUID | None = None,
    error_reason: str | None = None,
    error_message: str | None = None,
    metrics: Body | None = None,
    best_epoch: int | None = None,
) -> TrainingJob | None:
    """Ends the job; `status` is completed, failed or cancelled."""
    row = await connection.fetchrow(
        SQL["finish"], job_id, attempt, status, model_id, error_reason, error_message, metrics, best_epoch
    )
    return await JOBS.end_attempt(connection, row, status, error_message, event)


async def cancel_waiting(
    connection: Connection, tenant_id: str, job_id: UUID, event: Body
) -> TrainingJob | None:
    """Cancels the job. Returns None if it is not pending or queued."""
    row = await connection.fetchrow(SQL["cancel_waiting"], tenant_id, job_id)
    return None if row is None else await JOBS.with_event(connection, row, event)
