"""Training jobs: the queue, the attempts and their fencing.

A job's next revision and its event are written together under the lock on the job's row, so events commit in
the order of their revisions.

The attempt number is the fencing token: every write of an attempt carries it and changes nothing once the
attempt is no longer the current one. The lease is the time for which an attempt owns its job. The gateway
renews it; after it expires, another gateway ends the attempt and queues the job again.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from earmark.storage import sql
from earmark.storage.database import Connection
from earmark.storage.queries import events
from earmark.storage.records import QueuePlace, TrainingAttempt, TrainingJob

SQL = sql.load("training")

Body = dict[str, Any]
_JOB_COLUMNS = tuple(
    field.name for field in fields(TrainingJob) if field.name not in ("attempts", "queue_place")
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
class JobCounts:
    """The numbers of all tenants' unfinished jobs. `waiting` counts pending and queued ones."""

    waiting: int
    training: int


@dataclass(frozen=True, slots=True)
class ManifestFile:
    """A file that a job trains on.

    `annotations` are (artifact_type, start_ms, end_ms, confidence, channel).
    """

    id: UUID
    sha256: str
    duration_ms: int
    group: str
    annotations: Sequence[tuple[str, int, int, float, int | None]]


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
) -> TrainingJob:
    """Adds a pending job and its first event."""
    row = await connection.fetchrow(
        SQL["create"], job_id, tenant_id, dataset_id, annotation_set_id, config, metadata, config["epochs"]
    )
    return await _with_event(connection, row, event)


async def count_waiting(connection: Connection, tenant_id: str) -> int:
    """The number of the tenant's pending and queued jobs. Nobody else adds one until the transaction ends."""
    await connection.execute(SQL["lock_waiting"], tenant_id)
    waiting: int = await connection.fetchval(SQL["count_waiting"], tenant_id)
    return waiting


async def get(connection: Connection, tenant_id: str, job_id: UUID) -> TrainingJob | None:
    row = await connection.fetchrow(SQL["get"], tenant_id, job_id)
    return row and _job(row)


async def get_many(
    connection: Connection, wanted: Collection[tuple[str, UUID]]
) -> dict[tuple[str, UUID], TrainingJob]:
    """The existing jobs among these pairs of tenant and id, by pair; queued ones with their places."""
    rows = await connection.fetch(SQL["get_many"], *zip(*wanted, strict=True))
    queued = [row["id"] for row in rows if row["status"] == "queued"]
    found = await places(connection, queued) if queued else {}
    return {
        (row["tenant_id"], row["id"]): replace(_job(row), queue_place=found.get(row["id"])) for row in rows
    }


async def lock_for_update(connection: Connection, tenant_id: str, job_id: UUID) -> TrainingJob | None:
    row = await connection.fetchrow(SQL["lock_for_update"], tenant_id, job_id)
    return row and _job(row)


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
    """The positions of those of the jobs that are queued."""
    rows = await connection.fetch(SQL["places"], job_ids)
    return {row["id"]: QueuePlace(**{name: row[name] for name in _PLACE_COLUMNS}) for row in rows}


async def counts(connection: Connection) -> JobCounts:
    return JobCounts(**await connection.fetchrow(SQL["counts"]))


async def queue_pending(connection: Connection, event: Body) -> list[TrainingJob]:
    """Queues up to 100 pending jobs of one tenant: a transaction records events of one tenant only."""
    rows = await connection.fetch(SQL["queue"])
    return [await _with_event(connection, row, event) for row in sorted(rows, key=lambda row: row["id"])]


async def claim(
    connection: Connection,
    trainer: str,
    lease_seconds: float,
    event: Body,
    running_limit: int | None = None,
    *,
    frontend: str,
) -> TrainingJob | None:
    """Starts the next attempt of the job whose turn it is; returns None if no job may start.

    `running_limit`: the number of jobs that a tenant may have in training at a time. `frontend`: the version
    of the trainer's front end, of which the features of all the job's files must be.
    """
    await connection.execute(SQL["lock_queue"])
    row = await connection.fetchrow(SQL["claim"], lease_seconds, running_limit, frontend)
    if row is None:
        return None
    await connection.execute(SQL["begin_attempt"], row["id"], row["attempt"], trainer)
    return await _with_event(connection, row, event)


async def manifest(connection: Connection, job: TrainingJob) -> list[ManifestFile]:
    """The files that were ready when the job was created; every attempt gets the same files."""
    rows = await connection.fetch(SQL["manifest"], job.id, job.config["artifact_types"])
    columns = ("artifact_types", "start_ms", "end_ms", "confidences", "channels")
    return [
        ManifestFile(
            row["id"],
            row["sha256"],
            row["duration_ms"],
            row["group"],
            list(zip(*(row[column] for column in columns), strict=True)),
        )
        for row in rows
    ]


async def renew(connection: Connection, job_id: UUID, attempt: int, lease_seconds: float) -> bool | None:
    """Extends the lease and returns whether a cancellation was requested.

    Returns None if the attempt is no longer the current one.
    """
    cancel_requested: bool | None = await connection.fetchval(SQL["renew"], job_id, attempt, lease_seconds)
    return cancel_requested


async def lock_attempt(connection: Connection, job_id: UUID, attempt: int) -> TrainingJob | None:
    """Locks the job until the transaction ends. Returns None if the attempt is no longer the current one."""
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
    """Records the current attempt's event after `after_revision` and updates the job's figures.

    Only the current attempt adds events. So if the job is already at `after_revision + 1`, an earlier call
    committed but its reply was lost, and the event is not recorded again. Returns None if the attempt is no
    longer the current one, or the job is at any other revision.
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
    """Ends the attempt and queues the job again. `outcome`: "lost" or "handed_back".

    `losses`: attempts lost in a row, including this one. `pause_seconds`: the wait before the next attempt.
    """
    row = await connection.fetchrow(SQL["requeue"], job_id, attempt, pause_seconds, losses)
    if row is None:
        return None
    await connection.execute(SQL["end_attempt"], job_id, attempt, outcome, reason)
    return await _with_event(connection, row, event)


async def a_trainer_is_well(connection: Connection, job_id: UUID, losses: int) -> bool:
    """Whether a trainer of the job's last `losses` attempts has begun and completed another job since."""
    found: bool = await connection.fetchval(SQL["a_trainer_is_well"], job_id, losses)
    return found


async def expired(connection: Connection) -> list[TrainingJob]:
    """Up to 100 jobs of one tenant whose lease has expired, locked until the transaction ends."""
    return [_job(row) for row in await connection.fetch(SQL["expired"])]


async def cancel_waiting(
    connection: Connection, tenant_id: str, job_id: UUID, event: Body
) -> TrainingJob | None:
    """Cancels the job. Returns None if it is not pending or queued."""
    return await _with_event_if_changed(
        connection, await connection.fetchrow(SQL["cancel_waiting"], tenant_id, job_id), event
    )


async def request_cancel(connection: Connection, tenant_id: str, job_id: UUID) -> TrainingJob | None:
    """Asks the current attempt to stop. Returns None if the job is not training."""
    row = await connection.fetchrow(SQL["request_cancel"], tenant_id, job_id)
    return row and _job(row)


async def _with_event_if_changed(
    connection: Connection, row: asyncpg.Record | None, event: Body
) -> TrainingJob | None:
    return None if row is None else await _with_event(connection, row, event)


async def _with_event(connection: Connection, row: asyncpg.Record, event: Body) -> TrainingJob:
    job = _job(row)
    await events.record(connection, job, event)
    return job


def _attempt(stored: Body) -> TrainingAttempt:
    """Parses an attempt from its JSON form, in which times are strings."""
    times = {
        name: stored[name] and datetime.fromisoformat(stored[name]) for name in ("started_at", "ended_at")
    }
    return TrainingAttempt(**stored | times)


def _job(row: asyncpg.Record) -> TrainingJob:
    job = TrainingJob(**{column: row[column] for column in _JOB_COLUMNS})
    return replace(job, attempts=[_attempt(a) for a in row["attempts"]]) if "attempts" in row else job
