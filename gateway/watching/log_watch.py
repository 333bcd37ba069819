"""Watches all jobs of a tenant: a watcher is a cursor over the tenant's log of events.

Nothing is buffered for a watcher, as in `gateway.watching.job_watch`. The log is read up to its watermark,
the oldest running transaction, which may still commit an event that precedes those above the watermark.
"""

import asyncio
import base64
import math
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass
from uuid import UUID

from gateway.app import App
from gateway.errors import CursorOutOfRangeError, FieldViolation, InvalidArgumentError
from gateway.waits import wait_for_event
from gateway.watching import topics
from storage.queries import events
from storage.queries.events import LogFilter, LogKey, LogPage, LogState
from storage.records import TrainingEvent

BATCH = 200
# Nothing wakes a watcher when the watermark rises, so it polls while events are above the watermark. Each
# pause is as long as the wait has lasted so far, within these limits.
FIRST_POLL_SECONDS = 0.025
LONGEST_POLL_SECONDS = 1.0

_CURSOR = struct.Struct("!16sqQ16sq")


@dataclass(frozen=True, slots=True)
class Cursor:
    """A position in a tenant's log: an event's key, and the log's era and number of removals at that time."""

    era: UUID
    compactions: int
    key: LogKey

    @classmethod
    def parse(cls, text: str) -> "Cursor":
        """Parses the output of `str`. Raises InvalidArgumentError."""
        try:
            packed = base64.b64decode(text, altchars=b"-_", validate=True)
            era, compactions, xid, job_id, revision = _CURSOR.unpack(packed)
        except (ValueError, struct.error):
            violation = FieldViolation(
                "after_cursor",
                "not a cursor; pass that of the last response, or nothing for all events that are kept",
            )
            raise InvalidArgumentError([violation]) from None
        return cls(UUID(bytes=era), compactions, LogKey(xid, UUID(bytes=job_id), revision))

    def __str__(self) -> str:
        xid, job_id, revision = self.key
        packed = _CURSOR.pack(self.era.bytes, self.compactions, xid, job_id.bytes, revision)
        return base64.urlsafe_b64encode(packed).decode()


class LogWatch:
    """One watcher of a tenant's jobs. `wanted` selects the events."""

    def __init__(self, app: App, tenant_id: str, wanted: LogFilter) -> None:
        self._app = app
        self._tenant_id = tenant_id
        self._wanted = wanted

    async def start(self, after_cursor: str, *, from_now: bool) -> Cursor:
        """The cursor at which a watch starts; with an empty `after_cursor`, before all events that are kept.

        `from_now`: the end of the log. Raises InvalidArgumentError and CursorOutOfRangeError.
        """
        if after_cursor:
            return await self._checked(Cursor.parse(after_cursor))
        async with self._app.database.connection() as connection:
            state, end = await events.log_end(connection, self._tenant_id)
        return Cursor(state.era, state.compactions, end if from_now else events.START)

    async def follow(self, cursor: Cursor) -> AsyncIterator[tuple[TrainingEvent | None, Cursor]]:
        """Yields the events after `cursor` as they are recorded, each with its cursor.

        While no wanted event is recorded, yields None and the current cursor as a heartbeat. Raises
        CursorOutOfRangeError.
        """
        heartbeat_at, waiting_since = self._next_heartbeat(), None
        with self._app.bus.subscribe(topics.jobs(self._tenant_id)) as woken:
            while True:
                woken.clear()
                self._app.check_serving()
                page = await self._read(cursor)
                for key, event in page.entries:
                    cursor = Cursor(page.state.era, page.state.compactions, key)
                    if event is not None:
                        yield event, cursor
                        heartbeat_at = self._next_heartbeat()
                waiting_since = (waiting_since or _now()) if page.waits_for_watermark else None
                if len(page.entries) < BATCH:
                    await wait_for_event(woken, min(heartbeat_at - _now(), _poll_seconds(waiting_since)))
                if _now() >= heartbeat_at:
                    yield None, cursor
                    heartbeat_at = self._next_heartbeat()

    async def _checked(self, cursor: Cursor) -> Cursor:
        """Returns the cursor. Raises CursorOutOfRangeError unless it was issued for this log."""
        async with self._app.database.connection() as connection:
            has_event = await events.log_has(connection, self._tenant_id, cursor.key)
            # Read after the event, which may be removed in between.
            state, _ = await events.log_end(connection, self._tenant_id)
        _check(cursor, state)
        if not (has_event or cursor.key in (events.START, state.compacted)):
            raise _out_of_range("belongs to another log, or to one that this one was restored from")
        return cursor

    async def _read(self, cursor: Cursor) -> LogPage:
        async with self._app.database.connection() as connection:
            page = await events.log(connection, self._tenant_id, cursor.key, BATCH, self._wanted)
        _check(cursor, page.state)
        return page

    def _next_heartbeat(self) -> float:
        return _now() + self._app.settings.heartbeat_seconds


def _check(cursor: Cursor, state: LogState) -> None:
    """Raises CursorOutOfRangeError if events after the cursor may have been removed since it was issued."""
    if cursor.era != state.era:
        raise _out_of_range("belongs to another log, or to one that this one was restored from")
    if cursor.compactions != state.compactions and cursor.key < state.compacted:
        raise _out_of_range("is too old: events after it were removed for their age")


def _out_of_range(why: str) -> CursorOutOfRangeError:
    return CursorOutOfRangeError(
        f"after_cursor {why}; leave it empty for all events that are kept, or set from_now and then read the "
        "jobs as they are with ListTrainingJobs"
    )


def _poll_seconds(waiting_since: float | None) -> float:
    """Seconds until the log is read again even if nothing wakes the watcher."""
    if waiting_since is None:
        return math.inf
    return min(max(_now() - waiting_since, FIRST_POLL_SECONDS), LONGEST_POLL_SECONDS)


def _now() -> float:
    return asyncio.get_running_loop().time()
