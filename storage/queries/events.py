"""The log of a tenant's events, and the events of one job.

The sequence numbers of a log have no gap and follow the order of the commits (see the migration that creates
the table): a reader that sees an event sees all events before it. So a reader needs no more than the number
of the last event that it has read.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg

from earmark.storage import sql
from earmark.storage.database import Connection, Database
from earmark.storage.records import Event, Job

SQL = sql.load("events")

# Events that one transaction of a compaction walks over.
COMPACTION_BATCH = 500


class LogEnd(NamedTuple):
    """The last event's number and time, 0 and None in an empty log, and how far the log is compacted."""

    last_sequence: int
    time: datetime | None
    compacted_sequence: int


@dataclass(frozen=True, slots=True)
class LogPage:
    """A part of a log: the event with the number that was asked for, if it is kept, and those after it.

    Of the events up to `compacted_sequence`, only the last of each resource is kept.
    """

    last_sequence: int
    compacted_sequence: int
    first: Event | None
    events: Sequence[Event]


async def record(connection: Connection, job: Job, body: dict[str, Any]) -> None:
    """Adds the event for the job's revision, which this transaction has just assigned.

    `body`: the event's kind, and the JSON form of its field.
    """
    (kind,) = body
    owner = (job.tenant_id, job.resource, job.id, job.dataset_id)
    await connection.execute(
        SQL["record"], *owner, kind, job.status, job.attempt, job.revision, job.metadata, body
    )


async def of_job(connection: Connection, job_id: UUID, after: int, limit: int) -> list[Event]:
    """Up to `limit` events after revision `after`, in order."""
    return [Event(**row) for row in await connection.fetch(SQL["of_job"], job_id, after, limit)]


async def of_kind(connection: Connection, job_id: UUID, kind: str) -> list[Event]:
    """A job's events of one kind that are kept, in order."""
    return [Event(**row) for row in await connection.fetch(SQL["of_kind"], job_id, kind)]


async def log(connection: Connection, tenant_id: str, after: int, limit: int) -> LogPage:
    """The event with the number `after`, and up to `limit` events after it."""
    rows = await connection.fetch(SQL["log"], tenant_id, after, limit + 1)
    events = [_event(row) for row in rows if row["sequence"] is not None]
    first = events.pop(0) if events and events[0].sequence == after else None
    return LogPage(rows[0]["last_sequence"], rows[0]["compacted_sequence"], first, events[:limit])


async def log_end(connection: Connection, tenant_id: str) -> LogEnd:
    row = await connection.fetchrow(SQL["log_end"], tenant_id)
    return LogEnd(0, None, 0) if row is None else LogEnd(**row)


async def compact(database: Database, retention_days: float) -> None:
    """Removes the events that a later event of the same resource has superseded for `retention_days`."""
    async with database.connection() as connection:
        tenants = [row["tenant_id"] for row in await connection.fetch(SQL["tenants"])]
    for tenant_id in tenants:
        while await _compact_batch(database, tenant_id, retention_days):
            pass


async def _compact_batch(database: Database, tenant_id: str, retention_days: float) -> bool:
    """Returns whether more events may be old enough."""
    async with database.transaction() as connection:
        if not await connection.fetchval(SQL["lock_compaction"]):
            return False
        compacted = await connection.fetchval(
            SQL["remove_superseded"], tenant_id, retention_days, COMPACTION_BATCH
        )
        if compacted is None:
            return False
        await connection.execute(SQL["set_compacted"], tenant_id, compacted)
        return True


def _event(row: asyncpg.Record) -> Event:
    columns = dict(row)
    del columns["last_sequence"], columns["compacted_sequence"]
    return Event(**columns)
