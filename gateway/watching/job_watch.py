"""Watches a job: a watcher is a cursor over the revisions of the job's events.

Revisions are assigned under the job's row lock, in order of commit and without gaps.
"""

from collections.abc import AsyncIterator, Collection
from uuid import UUID

from earmark.gateway import lookup
from earmark.gateway.app import App
from earmark.gateway.errors import revision_out_of_range
from earmark.gateway.waits import wait_for_event
from earmark.gateway.watching.tenant_log import BATCH, Entry, TenantLogs
from earmark.storage.queries import events, training
from earmark.storage.records import Event, TrainingJob

FINAL = frozenset({"completed", "failed", "cancelled"})


async def follow_job(
    logs: TenantLogs, tenant_id: str, job_id: UUID, cursor: int, kinds: Collection[str] = ()
) -> AsyncIterator[Entry | int]:
    """Yields the job's events after revision `cursor` as they are recorded, up to its last one.

    `kinds`: the kinds of events to yield; empty for all. While no event is recorded, yields the current
    revision as a heartbeat. Raises NotFoundError and
    CursorOutOfRangeError.
    """
    with logs.subscribe(tenant_id) as log:
        # The job is read once every later event is noticed.
        await log.started()
        async with logs.app.database.connection() as connection:
            job = await lookup.training_job(connection, job_id)
        if cursor > job.revision:
            raise revision_out_of_range(cursor, 1, job.revision)
        if cursor == job.revision and job.finished_at is not None:
            return
        latest = job.revision
        while True:
            changed = log.changed(job_id)
            if entry := log.next_of(job_id, cursor):
                entries = [entry]
            else:
                entries = await _read(logs.app, job, cursor) if cursor < latest else []
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


async def _read(app: App, job: TrainingJob, cursor: int) -> list[Entry]:
    """Reads the next events from the table. Raises CursorOutOfRangeError if they were removed."""
    async with app.database.connection() as connection:
        batch = await events.of_job(connection, job.id, cursor, BATCH)
        if not batch or batch[0].revision == cursor + 1:
            return [Entry(event, 0) for event in batch]
        current = await training.get(connection, job.tenant_id, job.id)
    raise revision_out_of_range(cursor, batch[0].revision, (current or job).revision)
