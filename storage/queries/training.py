"""Training jobs: the queue, and the attempts and their fencing.

A job's revision is drawn under its row lock together with the event's insert, so that order of revision is
order of commit. What an attempt writes carries the attempt's number and changes nothing once it is no longer
the current one: such functions return None.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from storage import sql
from storage.database import Connection
from storage.queries import events
from storage.records import TrainingAttempt, TrainingJob

SQL = sql.load("training")

Body = dict[str, Any]
_JOB_COLUMNS = tuple(field.name for field in fields(TrainingJob) if field.name != "attempts")


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
class JobCounts:
    """How many jobs of a tenant are not over."""

    waiting: int
    training: int


@dataclass(frozen=True, slots=True)
class ManifestFile:
    """A file of a job; `annotations` are (artifact_type, start_ms, end_ms)."""

    id: UUID
    sha256: str
    duration_ms: int
    annotations: Sequence[tuple[str, int, int]]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a queued job is: `place` from 1 among all that wait; `turn`, how many its tenant runs with it.

    `is_due` is False until `not_before`, the pause after a lost trainer.
    """

    place: int
    turn: int
    not_before: datetime | None
    is_due: bool


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


async def count_waiting(connection: Connection, tenant_id: str) -> int:
    """The tenant's jobs that no trainer has yet; nobody else adds one until the end of the transaction."""
    await connection.execute(SQL["lock_waiting"], tenant_id)
    waiting: int = await connection.fetchval(SQL["count_waiting"], tenant_id)
    return waiting


async def get(connection: Connection, tenant_id: str, job_id: UUID) -> TrainingJob | None:
    row = await connection.fetchrow(SQL["get"], tenant_id, job_id)
    return row and _job(row)


async def get_many(
    connection: Connection, wanted: Collection[tuple[str, UUID]]
) -> dict[tuple[str, UUID], TrainingJob]:
    """The jobs that there are of these tenants and ids, by both."""
    rows = await connection.fetch(SQL["get_many"], *zip(*wanted, strict=True))
    return {(row["tenant_id"], row["id"]): _job(row) for row in rows}


async def lock_for_update(connection: Connection, tenant_id: str, job_id: UUID) -> TrainingJob | None:
    row = await connection.fetchrow(SQL["lock_for_update"], tenant_id, job_id)
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


async def place(connection: Connection, job_id: UUID) -> Place | None:
    """None where the job is not queued."""
    row = await connection.fetchrow(SQL["place"], job_id)
    return row and Place(**row)


async def counts(connection: Connection, tenant_id: str) -> JobCounts:
    return JobCounts(**await connection.fetchrow(SQL["counts"], tenant_id))


async def queue_pending(connection: Connection, event: Body) -> list[TrainingJob]:
    rows = await connection.fetch(SQL["queue"])
    return [await _with_event(connection, row, event) for row in sorted(rows, key=lambda row: row["id"])]


async def claim(
    connection: Connection, trainer: str, lease_seconds: float, event: Body, running_limit: int | None = None
) -> TrainingJob | None:
    """The job whose turn it is, in its next attempt; None where none may begin.

    `running_limit`: jobs that a tenant may have in training at a time.
    """
    await connection.execute(SQL["lock_queue"])
    row = await connection.fetchrow(SQL["claim"], lease_seconds, running_limit)
    if row is None:
        return None
    await connection.execute(SQL["begin_attempt"], row["id"], row["attempt"], trainer)
    return await _with_event(connection, row, event)


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


async def lock_attempt(connection: Connection, job_id: UUID, attempt: int) -> TrainingJob | None:
    """The job, locked until the transaction ends; None where the attempt is no longer the current one."""
    row = await connection.fetchrow(SQL["lock_attempt"], job_id, attempt)
    return row and _job(row)


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
    """Records the event behind `after_revision` of the current attempt, with what it says of the job.

    An attempt writes alone: one revision further, the event is recorded already, by a transaction whose
    success was not heard of, and is not recorded again.
    """
    figures = (progress, current_epoch, best_epoch, metrics, eta)
    row = await connection.fetchrow(
        SQL["advance"], job_id, attempt, lease_seconds, *figures, after_revision, checkpoint
    )
    if row is not None:
        return await _with_event(connection, row, event)
    job = await lock_attempt(connection, job_id, attempt)
    return job if job is not None and job.revision == after_revision + 1 else None


async def set_checkpoint(connection: Connection, job_id: UUID, attempt: int, key: str) -> bool:
    """Where the next attempt would go on; False where this one is no longer the current one."""
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
    """Ends the job as completed, failed or cancelled."""
    row = await connection.fetchrow(
        SQL["finish"], job_id, attempt, status, model_id, error_reason, error_message, metrics, best_epoch
    )
    if row is None:
        return None
    await connection.execute(SQL["end_attempt"], job_id, attempt, status, error_message)
    return await _with_event(connection, row, event)


async def requeue(
    connection: Connection,
    job_id: UUID,
    attempt: int,
    outcome: str,
    reason: str,
    event: Body,
    *,
    losses: int = 0,
    pause_seconds: float = 0,
) -> TrainingJob | None:
    """Ends the attempt, as "lost" or "handed_back". `losses`: attempts lost in a row, this one included."""
    row = await connection.fetchrow(SQL["requeue"], job_id, attempt, pause_seconds, losses)
    if row is None:
        return None
    await connection.execute(SQL["end_attempt"], job_id, attempt, outcome, reason)
    return await _with_event(connection, row, event)


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
    job = _job(row)
    await events.record(connection, job, event)
    return job


def _attempt(stored: Body) -> TrainingAttempt:
    """From its JSON form, in which times are texts."""
    times = {
        name: stored[name] and datetime.fromisoformat(stored[name]) for name in ("started_at", "ended_at")
    }
    return TrainingAttempt(**stored | times)


def _job(row: asyncpg.Record) -> TrainingJob:
    job = TrainingJob(**{column: row[column] for column in _JOB_COLUMNS})
    return replace(job, attempts=[_attempt(a) for a in row["attempts"]]) if "attempts" in row else job
