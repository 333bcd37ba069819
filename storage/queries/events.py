"""Training events: each job's events by revision, and one log of all events of a tenant.

The log is read in the order of its keys and only up to the watermark, the id of the oldest running
transaction (pg_snapshot_xmin): no transaction can still add an event below it. So an event that commits late
is never skipped, and a job's events are read in order of revision.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg

from storage import sql
from storage.database import Connection
from storage.records import TrainingEvent, TrainingJob

SQL = sql.load("events")


class LogKey(NamedTuple):
    """An event's position in its tenant's log. `xid` is a transaction id; it never decreases within a job."""

    xid: int
    training_job_id: UUID
    revision: int


# The position before every event.
START = LogKey(0, UUID(int=0), 0)


@dataclass(frozen=True, slots=True)
class LogFilter:
    """Selects events whose job has one of `statuses` after the event (empty: any) and all of `metadata`.

    `dataset_id`: None for every dataset.
    """

    dataset_id: UUID | None
    statuses: Sequence[str]
    metadata: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class LogState:
    """Decides whether a cursor is still valid.

    A cursor of another era is not valid. Neither is a cursor below `compacted`, the key of the last removed
    event, unless `compactions`, the number of removals, has not changed since the cursor was issued.
    """

    era: UUID
    compactions: int
    compacted: LogKey


@dataclass(frozen=True, slots=True)
class LogPage:
    """A part of the log, in order: each key with its event, or None if the filter excludes the event.

    `waits_for_watermark`: more committed events follow, but they are above the watermark.
    """

    state: LogState
    entries: Sequence[tuple[LogKey, TrainingEvent | None]]
    waits_for_watermark: bool


async def record(connection: Connection, job: TrainingJob, body: dict[str, Any]) -> None:
    """Adds the event for the job's revision, which this transaction has just assigned."""
    await connection.execute(
        SQL["record"], job.id, job.revision, job.attempt, job.tenant_id, job.status, body
    )


async def of_job(connection: Connection, job_id: UUID, after: int, limit: int) -> list[TrainingEvent]:
    """Up to `limit` events after revision `after`, in order."""
    return [_event(row) for row in await connection.fetch(SQL["of_job"], job_id, after, limit)]


async def log(
    connection: Connection, tenant_id: str, after: LogKey, limit: int, wanted: LogFilter
) -> LogPage:
    """Those of the next `limit` events after the key `after` that are below the watermark."""
    rows = await connection.fetch(
        SQL["log"],
        *(tenant_id, *after, limit),
        *(wanted.dataset_id, wanted.statuses, dict(wanted.metadata)),
    )
    event_rows = [row for row in rows if row["xid"] is not None]
    entries = [
        (_key(row), _event(row) if row["body"] is not None else None)
        for row in event_rows
        if row["below_watermark"]
    ]
    return LogPage(_state(rows[0]), entries, waits_for_watermark=len(entries) < len(event_rows))


async def log_end(connection: Connection, tenant_id: str) -> tuple[LogState, LogKey]:
    """The key of the last event below the watermark; every later event has a higher key."""
    row = await connection.fetchrow(SQL["log_end"], tenant_id)
    return _state(row), _key(row) if row["xid"] is not None else START


async def log_has(connection: Connection, tenant_id: str, key: LogKey) -> bool:
    has_event: bool = await connection.fetchval(SQL["log_has"], tenant_id, *key)
    return has_event


async def compact(connection: Connection, retention_days: float, jobs: int) -> int:
    """Removes all but the last event of up to `jobs` jobs that finished more than `retention_days` ago.

    Returns the number of jobs.
    """
    count: int = await connection.fetchval(SQL["compact"], retention_days, jobs)
    return count


async def restart_restored_log(connection: Connection) -> None:
    """Starts a new era if the database was restored into another cluster.

    The restored events would otherwise have transaction ids that the new cluster has not reached yet.
    """
    async with connection.transaction():
        if await connection.fetchval(SQL["is_restored"]):
            await connection.execute(SQL["reset_events"])
            await connection.execute(SQL["delete_compactions"])
            await connection.execute(SQL["start_era"])


def _state(row: asyncpg.Record) -> LogState:
    never_compacted = row["compacted_xid"] is None
    compacted = LogKey(row["compacted_xid"], row["compacted_job_id"], row["compacted_revision"])
    return LogState(row["era"], row["compactions"], START if never_compacted else compacted)


def _key(row: asyncpg.Record) -> LogKey:
    return LogKey(row["xid"], row["training_job_id"], row["revision"])


def _event(row: asyncpg.Record) -> TrainingEvent:
    return TrainingEvent(row["training_job_id"], row["revision"], row["attempt"], row["time"], row["body"])
