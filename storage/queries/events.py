"""What happened to training jobs: each job's events by revision, and all of a tenant's as one log.

The log is read in the order of its keys, and only as far as no running transaction can still add to it. So an
event that is committed late is never skipped, and a job's events come in order of revision.
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
    """An event's place in its tenant's log."""

    xid: int
    training_job_id: UUID
    revision: int


# Before every event.
START = LogKey(0, UUID(int=0), 0)


@dataclass(frozen=True, slots=True)
class LogFilter:
    """What an event's job is like: in one of `statuses` after it, any where empty; with all of `metadata`."""

    dataset_id: UUID | None
    statuses: Sequence[str]
    metadata: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class LogState:
    """What tells whether a key is still of use.

    Another era's is not, nor one before `compacted`, the last event that was removed, unless `compactions`,
    the number of removals, was the same when the key was given.
    """

    era: UUID
    compactions: int
    compacted: LogKey


@dataclass(frozen=True, slots=True)
class LogPage:
    """Some of the log, in order: each key with its event, None where the filter leaves it out.

    `waits_for_watermark`: committed events follow that a running transaction may still come before.
    """

    state: LogState
    entries: Sequence[tuple[LogKey, TrainingEvent | None]]
    waits_for_watermark: bool


async def record(connection: Connection, job: TrainingJob, body: dict[str, Any]) -> None:
    """Adds the event of the revision that the job's row was just given in this transaction."""
    await connection.execute(
        SQL["record"], job.id, job.revision, job.attempt, job.tenant_id, job.status, body
    )


async def of_job(connection: Connection, job_id: UUID, after: int, limit: int) -> list[TrainingEvent]:
    """Up to `limit` events behind revision `after`, in order."""
    return [_event(row) for row in await connection.fetch(SQL["of_job"], job_id, after, limit)]


async def log(
    connection: Connection, tenant_id: str, after: LogKey, limit: int, wanted: LogFilter
) -> LogPage:
    """What follows the key `after`: of up to `limit` events those that are settled."""
    rows = await connection.fetch(
        SQL["log"],
        *(tenant_id, *after, limit),
        *(wanted.dataset_id, wanted.statuses, dict(wanted.metadata)),
    )
    found = [row for row in rows if row["xid"] is not None]
    entries = [
        (_key(row), _event(row) if row["body"] is not None else None)
        for row in found
        if row["below_watermark"]
    ]
    return LogPage(_state(rows[0]), entries, waits_for_watermark=len(entries) < len(found))


async def log_end(connection: Connection, tenant_id: str) -> tuple[LogState, LogKey]:
    """The key of the last settled event: whatever is recorded from now on follows it."""
    row = await connection.fetchrow(SQL["log_end"], tenant_id)
    return _state(row), _key(row) if row["xid"] is not None else START


async def log_has(connection: Connection, tenant_id: str, key: LogKey) -> bool:
    found: bool = await connection.fetchval(SQL["log_has"], tenant_id, *key)
    return found


async def compact(connection: Connection, retention_days: float, jobs: int) -> int:
    """Removes all events but the last of up to `jobs` jobs that finished longer ago; of how many."""
    count: int = await connection.fetchval(SQL["compact"], retention_days, jobs)
    return count


async def renew_restored_log(connection: Connection) -> None:
    """Restored into another cluster, a log has keys that the transaction ids there are yet to reach."""
    async with connection.transaction():
        if await connection.fetchval(SQL["is_restored"]):
            await connection.execute(SQL["renew_events"])
            await connection.execute(SQL["renew_compactions"])
            await connection.execute(SQL["renew_era"])


def _state(row: asyncpg.Record) -> LogState:
    never = row["compacted_xid"] is None
    compacted = LogKey(row["compacted_xid"], row["compacted_job_id"], row["compacted_revision"])
    return LogState(row["era"], row["compactions"], START if never else compacted)


def _key(row: asyncpg.Record) -> LogKey:
    return LogKey(row["xid"], row["training_job_id"], row["revision"])


def _event(row: asyncpg.Record) -> TrainingEvent:
    return TrainingEvent(row["training_job_id"], row["revision"], row["attempt"], row["time"], row["body"])
