"""Watches many things of a tenant: a watcher is a cursor over the tenant's log, and a filter."""

import asyncio
from collections.abc import AsyncIterator, Callable

from earmark.gateway.waits import wait_for_event
from earmark.gateway.watching.cursor import Cursor
from earmark.gateway.watching.tenant_log import BATCH, Entry, TenantLog, TenantLogs
from earmark.storage.queries import events
from earmark.storage.records import Event


class LogWatch:
    """One watcher of the events that `is_wanted` selects."""

    def __init__(self, logs: TenantLogs, tenant_id: str, is_wanted: Callable[[Event], bool]) -> None:
        self._logs = logs
        self._app = logs.app
        self._tenant_id = tenant_id
        self._is_wanted = is_wanted

    async def start(self, after_cursor: str, *, from_start: bool) -> Cursor:
        """The cursor at which a watch starts; with an empty `after_cursor`, the end of the log.

        `from_start`: before all events that are kept. Raises InvalidArgumentError and CursorOutOfRangeError.
        """
        if after_cursor:
            cursor = Cursor.parse(after_cursor)
            await self._read(cursor, 0)
            return cursor
        async with self._app.database.connection() as connection:
            end = await events.log_end(connection, self._tenant_id)
        return Cursor(0, 0, end.compacted_sequence) if from_start else Cursor.at_end(end)

    async def follow(self, cursor: Cursor) -> AsyncIterator[tuple[Entry | None, Cursor]]:
        """Yields the wanted events after `cursor` as they are recorded, each with its cursor.

        While no wanted event is recorded, yields None and the current cursor as a heartbeat. Raises
        CursorOutOfRangeError.
        """
        with self._logs.subscribe(self._tenant_id) as log:
            await log.started()
            heartbeat_at = self._next_heartbeat()
            while True:
                changed = log.changed()
                entries = await self._next(log, cursor)
                for entry in entries:
                    cursor = entry.cursor
                    if self._is_wanted(entry.event):
                        yield entry, cursor
                        heartbeat_at = self._next_heartbeat()
                if not entries:
                    await wait_for_event(changed, heartbeat_at - _now())
                if _now() >= heartbeat_at:
                    yield None, cursor
                    heartbeat_at = self._next_heartbeat()

    async def _next(self, log: TenantLog, cursor: Cursor) -> list[Entry]:
        """Some of the events after the cursor, from memory or from the table; empty if there is none."""
        if log.has_dropped(cursor.sequence):
            return await self._read(cursor, BATCH)
        entry = log.next(cursor.sequence)
        return [entry] if entry else []

    async def _read(self, cursor: Cursor, limit: int) -> list[Entry]:
        async with self._app.database.connection() as connection:
            page = await events.log(connection, self._tenant_id, cursor.sequence, limit)
        cursor.check(page)
        return [Entry(event, page.compacted_sequence) for event in page.events]

    def _next_heartbeat(self) -> float:
        return _now() + self._app.settings.heartbeat_seconds


def _now() -> float:
    return asyncio.get_running_loop().time()
