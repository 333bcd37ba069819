"""Watches a job: a watcher is a cursor over the revisions of the job's events.

Revisions are assigned under the job's row lock, in order of commit and without gaps.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import suppress
from uuid import UUID

from earmark.gateway.errors import NotFoundError, revision_out_of_range
from earmark.gateway.waits import wait_for_event
from earmark.gateway.watching.tenant_log import BATCH, Entry, TenantLogs
from earmark.storage.database import Connection
from earmark.storage.queries import events
from earmark.storage.records import Event, Job

FINAL = frozenset({"completed", "failed", "cancelled"})

Find = Callable[[Connection, UUID], Awaitable[Job]]


async def follow_job(
    logs: TenantLogs, tenant_id: str, job_id: UUID, cursor: int, find: Find, kinds: Collection[str] = ()
) -> AsyncIterator[Entry | int]:
    """Yields the job's events after revision `cursor` as they are recorded, up to its last one.

    `find` reads the job, by its id. `kinds`: the kinds of events to yield; empty for all. While no event is
    recorded, yields the current revision as a heartbeat. Raises what `find` raises, and
    CursorOutOfRangeError.
    """
    with logs.subscribe(tenant_id) as log:
        # The job is read once every later event is noticed.
        await log.started()
        async with logs.app.database.connection() as connection:
            job = await find(connection, job_id)
        if cursor > job.revision:
            raise revision_out_of_range(cursor, 1, job.revision)
        if cursor == job.revision and job.status in FINAL:
            return
        latest = job.revision
        while True:
            changed = log.changed(job_id)
            if entry := log.next_of(job_id, cursor):
                entries = [entry]
            else:
                entries = await _read(logs, job, cursor, find) if cursor < latest else []
            for entry in entries:
                if not kinds or entry.event.kind in kinds:
                    yield entry
                cursor = entry.event.revision
                if is_last(entry.event):
                    return
            if entries:
                continue
            if await wait_for_event(changed, logs.app.settings.heartbeat_seconds):
                # The event may have been dropped from memory already.
                latest = log.latest_of(job_id) or cursor + 1
            else:
                latest = cursor
                yield cursor


def is_last(event: Event) -> bool:
    """Whether no event of the job follows that a watcher waits for."""
    return event.kind == "deleted" or (event.kind == "status_changed" and event.status in FINAL)


async def _read(logs: TenantLogs, job: Job, cursor: int, find: Find) -> list[Entry]:
    """Reads the next events from the table. Raises CursorOutOfRangeError if they were removed."""
    async with logs.app.database.connection() as connection:
        batch = await events.of_job(connection, job.id, cursor, BATCH)
        if not batch or batch[0].revision == cursor + 1:
            return [Entry(event, 0) for event in batch]
        with suppress(NotFoundError):
            job = await find(connection, job.id)
    raise revision_out_of_range(cursor, batch[0].revision, job.revision)
