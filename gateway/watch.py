"""Following a job: a watcher is a cursor over its table of events.

Nothing is buffered for a watcher, so that a slow one costs nobody anything: it reads what it has not seen
when it has sent what it has. Revisions are drawn under the job's row lock: read in order, they have no gap.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from uuid import UUID

from gateway import topics
from gateway.app import App
from gateway.errors import CursorOutOfRangeError
from storage import training
from storage.records import TrainingEvent

BATCH = 200
FINAL = frozenset(
    {"TRAINING_JOB_STATUS_COMPLETED", "TRAINING_JOB_STATUS_FAILED", "TRAINING_JOB_STATUS_CANCELLED"}
)


class JobWatch:
    """One watcher of one job."""

    def __init__(self, app: App, tenant_id: str, job_id: UUID) -> None:
        self._app = app
        self._tenant_id = tenant_id
        self._job_id = job_id

    async def follow(self, cursor: int) -> AsyncIterator[TrainingEvent | int]:
        """The events behind `cursor` as they come, to the job's last one.

        In between, a revision alone: a heartbeat, while nothing happens. Raises CursorOutOfRangeError.
        """
        with self._app.bus.subscribe(topics.job(self._job_id)) as changed:
            if await self._is_past_the_end(cursor):
                return
            while True:
                changed.clear()
                events = await self._read(cursor)
                for event in events:
                    yield event
                    cursor = event.revision
                    if is_final(event):
                        return
                if len(events) < BATCH and not await self._woken(changed):
                    yield cursor

    async def _is_past_the_end(self, cursor: int) -> bool:
        """Whether the cursor is that of a finished job's last event."""
        async with self._app.database.connection() as connection:
            job = await training.get(connection, self._tenant_id, self._job_id)
        if job is None or cursor > job.revision:
            raise CursorOutOfRangeError(cursor, 1, job.revision if job else 0)
        return cursor == job.revision and job.finished_at is not None

    async def _read(self, cursor: int) -> list[TrainingEvent]:
        async with self._app.database.connection() as connection:
            return await training.events(connection, self._job_id, cursor, BATCH)

    async def _woken(self, changed: asyncio.Event) -> bool:
        """False where nothing happened for the time of a heartbeat."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._app.settings.heartbeat_seconds):
                await changed.wait()
        return changed.is_set()


def is_final(event: TrainingEvent) -> bool:
    """Whether no event of the job follows."""
    change = event.body.get("status_changed")
    return change is not None and change["to"] in FINAL
