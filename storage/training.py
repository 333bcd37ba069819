"""Training jobs: the queue, the attempts and their fencing, and each job's ordered events.

A job's revision is drawn under its row lock together with the event's insert, so that order of revision is
order of commit. What an attempt writes carries the attempt's number and changes nothing once it is no longer
the current one: such functions return None.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from storage import sql
from storage.database import Connection
from storage.records import TrainingEvent, TrainingJob

SQL = sql.load("training")

Body = dict[str, Any]
_JOB_COLUMNS = tuple(field.name for field in fields(TrainingJob))


@dataclass(frozen=True, slots=True)
class AudioFacts:
    """A dataset's audio files of one processing status."""

    status: str
    count: int
    duration_ms: int
    first_ids: Sequence[str]


@dataclass(frozen=True, slots=True)
class JobFacts:
    """What the prerequisites of a job are judged by."""

    set_dataset_id: UUID
    set_version: int
    set_status: str
    annotations_by_type: dict[str, int]
    types: Sequence[str]
    audio: Sequence[AudioFacts]


@dataclass(frozen=True, slots=True)
class ManifestFile:
    """A file of a job; `annotations` are (artifact_type, start_ms, end_ms)."""

    id: UUID
    sha256: str
    duration_ms: int
    annotations: Sequence[tuple[str, int, int]]


async def facts(
    connection: Connection, tenant_id: str, dataset_id: UUID, annotation_set_id: UUID
) -> JobFacts | None:
    """None where there is no such annotation set."""
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
) -> TrainingJob:
    """A pending job and its first event."""
    row = await connection.fetchrow(
        SQL["create"], job_id, tenant_id, dataset_id, annotation_set_id, config, metadata, config["epochs"]
    )
    return await _with_event(connection, row, event)


async def get(connection: Connection, tenant_id: str, job_id: UUID) -> TrainingJob | None:
    row = await connection.fetchrow(SQL["get"], tenant_id, job_id)
    return row and _job(row)


async def lock(connection: Connection, tenant_id: str, job_id: UUID) -> TrainingJob | None:
    row = await connection.fetchrow(SQL["lock"], tenant_id, job_id)
    return row and _job(row)


async def page(
    connection: Connection,
    tenant_id: str,
    after: UUID | None,
    dataset_id: UUID | None,
    status: str | None,
    limit: int,
) -> list[TrainingJob]:
    rows = await connection.fetch(SQL["page"], tenant_id, after, dataset_id, status, limit)
    return [_job(row) for row in rows]


async def events(connection: Connection, job_id: UUID, after: int, limit: int) -> list[TrainingEvent]:
    """Up to `limit` events behind revision `after`, in order."""
    return [TrainingEvent(**row) for row in await connection.fetch(SQL["events"], job_id, after, limit)]


async def queue_pending(connection: Connection, event: Body) -> list[TrainingJob]:
    rows = await connection.fetch(SQL["queue"])
    return [await _with_event(connection, row, event) for row in sorted(rows, key=lambda row: row["id"])]


async def claim(connection: Connection, lease_seconds: float, event: Body) -> TrainingJob | None:
    """The job that has waited longest, in its next attempt; None where none waits."""
    return await _maybe(connection, await connection.fetchrow(SQL["claim"], lease_seconds), event)


async def manifest(connection: Connection, job: TrainingJob) -> list[ManifestFile]:
    """The files that the job was created on; later ones are not among them, whatever the attempt."""
    types = job.config["artifact_types"]
    rows = await connection.fetch(
        SQL["manifest"], job.dataset_id, job.annotation_set_id, types, job.created_at
    )
    return [
        ManifestFile(
            row["id"],
            row["sha256"],
            row["duration_ms"],
            list(zip(row["artifact_types"], row["start_ms"], row["end_ms"], strict=True)),
        )
        for row in rows
    ]


async def renew(connection: Connection, job_id: UUID, attempt: int, lease_seconds: float) -> bool | None:
    """Whether the attempt was asked to stop; None where it is no longer the current one."""
    asked: bool | None = await connection.fetchval(SQL["renew"], job_id, attempt, lease_seconds)
    return asked


async def advance(
    connection: Connection,
    job_id: UUID,
    attempt: int,
    lease_seconds: float,
    event: Body,
    *,
    progress: float | None = None,
    current_epoch: int | None = None,
    best_epoch: int | None = None,
    metrics: Body | None = None,
    eta: datetime | None = None,
) -> TrainingJob | None:
    """Records an event of the current attempt, with what it says of the job."""
    row = await connection.fetchrow(
        SQL["advance"], job_id, attempt, lease_seconds, progress, current_epoch, best_epoch, metrics, eta
    )
    return await _maybe(connection, row, event)


async def set_checkpoint(connection: Connection, job_id: UUID, attempt: int, key: str) -> str | None:
    """The key of the checkpoint that this one replaces."""
    replaced: str | None = await connection.fetchval(SQL["set_checkpoint"], job_id, attempt, key)
    return replaced


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
    """Ends the job as completed, failed or cancelled."""
    row = await connection.fetchrow(
        SQL["finish"], job_id, attempt, status, model_id, error_reason, error_message, metrics, best_epoch
    )
    return await _maybe(connection, row, event)


async def requeue(
    connection: Connection, job_id: UUID, attempt: int, event: Body, *, lost: bool
) -> TrainingJob | None:
    """Ends the attempt; `lost`: it counts among those that lost their trainer."""
    row = await connection.fetchrow(SQL["requeue"], job_id, attempt, int(lost))
    return await _maybe(connection, row, event)


async def expired(connection: Connection) -> list[TrainingJob]:
    """Jobs whose lease ran out, locked until the end of the transaction."""
    return [_job(row) for row in await connection.fetch(SQL["expired"])]


async def cancel_waiting(
    connection: Connection, tenant_id: str, job_id: UUID, event: Body
) -> TrainingJob | None:
    """None where the job is not pending or queued."""
    return await _maybe(
        connection, await connection.fetchrow(SQL["cancel_waiting"], tenant_id, job_id), event
    )


async def request_cancel(connection: Connection, tenant_id: str, job_id: UUID) -> TrainingJob | None:
    """None where the job is not training."""
    row = await connection.fetchrow(SQL["request_cancel"], tenant_id, job_id)
    return row and _job(row)


async def _maybe(connection: Connection, row: asyncpg.Record | None, event: Body) -> TrainingJob | None:
    return None if row is None else await _with_event(connection, row, event)


async def _with_event(connection: Connection, row: asyncpg.Record, event: Body) -> TrainingJob:
    await connection.execute(SQL["add_event"], row["id"], row["revision"], row["attempt"], event)
    return _job(row)


def _job(row: asyncpg.Record) -> TrainingJob:
    return TrainingJob(**{column: row[column] for column in _JOB_COLUMNS})
