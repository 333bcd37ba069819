"""Watches many things of a tenant: a watcher is a cursor over the tenant's log, and a filter."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeAlias

from earmark.gateway import lookup
from earmark.gateway.waits import wait_for_event
from earmark.gateway.watching.cursor import Cursor
from earmark.gateway.watching.event_filter import EventFilter
from earmark.gateway.watching.tenant_log import BATCH, Entry, TenantLog, TenantLogs
from earmark.storage.queries import events

# Returns the number of the event after which a watch ends, or None if it is not time to end yet.
FindEnd: TypeAlias = Callable[[], Awaitable[int | None]]


class LogWatch:
    """One watcher of the events that `wanted` selects."""

    def __init__(self, logs: TenantLogs, tenant_id: str, wanted: EventFilter) -> None:
        self._logs = logs
        self._app = logs.app
        self._tenant_id = tenant_id
        self._wanted = wanted

    async def start(self, after_cursor: str, *, from_start: bool) -> Cursor:
        """The cursor at which a watch starts; with an empty `after_cursor`, the end of the log.

        `from_start`: before all events that are kept. Raises InvalidArgumentError and CursorOutOfRangeError,
        and NotFoundError if it starts at the end of the log and a dataset of the filter does not exist.
        """
        if after_cursor:
            cursor = Cursor.parse(after_cursor)
            await self._read(cursor, 0)
            return cursor
        async with self._app.database.connection() as connection:
            end = await events.log_end(connection, self._tenant_id)
            if from_start:
                return Cursor(0, 0, end.compacted_sequence)
            await lookup.check_datasets(connection, self._wanted.dataset_ids)
        return Cursor.at_end(end)

    async def follow(
        self, cursor: Cursor, find_end: FindEnd | None = None
    ) -> AsyncIterator[tuple[Entry | None, Cursor]]:
        """Yields the wanted events after `cursor` as they are recorded, each with its cursor.

        While no wanted event is recorded, yields None and the current cursor as a heartbeat. `find_end` is
        called once all events are read, and again after each event that may change its result. Raises
        CursorOutOfRangeError.
        """
        with self._logs.subscribe(self._tenant_id) as log:
            await log.started()
            heartbeat_at = self._next_heartbeat()
            last: int | None = None
            may_end = find_end is not None
            while True:
                changed, latest = log.changed(), log.last_sequence
                entries = await self._next(log, cursor)
                for entry in entries:
                    cursor = entry.cursor
                    may_end = may_end or self._wanted.covers(entry.event)
                    if self._wanted.selects(entry.event):
                        yield entry, cursor
                        heartbeat_at = self._next_heartbeat()
                    if last is not None and cursor.sequence >= last:
                        return
                if not entries:
                    if find_end and last is None and may_end:
                        last, may_end = await find_end(), False
                    # After `cursor` there may be numbers whose events were removed for their age.
                    if last is not None and max(latest, cursor.sequence) >= last:
                        return
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
