"""Following all jobs of a tenant: a watcher is a cursor over the tenant's log of events.

Nothing is buffered for a watcher, as in `gateway.watching.job_watch`. The log is read up to its watermark:
the oldest running transaction may still commit an event that precedes those above it.
"""

import asyncio
import base64
import math
import struct
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from uuid import UUID

from gateway.app import App
from gateway.errors import CursorOutOfRangeError, FieldViolation, InvalidArgumentError
from gateway.watching import topics
from storage.queries import events
from storage.queries.events import LogFilter, LogKey, LogPage, LogState
from storage.records import TrainingEvent

BATCH = 200
# Nobody tells when a transaction ends that held the log back. Waits are as long as it lasts, at the most.
HELD_SECONDS = 0.025
LONGEST_HELD_SECONDS = 1.0

_CURSOR = struct.Struct("!16sqQ16sq")


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in a tenant's log: an event's key, and the era and the number of removals when it was read."""

    era: UUID
    compactions: int
    key: LogKey

    @classmethod
    def parse(cls, text: str) -> "Cursor":
        """From what `str` gives. Raises InvalidArgumentError."""
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
    """One watcher of all jobs of one tenant, or of those that its filter lets through."""

    def __init__(self, app: App, tenant_id: str, wanted: LogFilter) -> None:
        self._app = app
        self._tenant_id = tenant_id
        self._wanted = wanted

    async def start(self, after_cursor: str, *, from_now: bool) -> Cursor:
        """Where a watch begins; before all that is kept where nothing is given.

        Raises InvalidArgumentError and CursorOutOfRangeError.
        """
        if after_cursor:
            return await self._known(Cursor.parse(after_cursor))
        async with self._app.database.connection() as connection:
            state, end = await events.log_end(connection, self._tenant_id)
        return Cursor(state.era, state.compactions, end if from_now else events.START)

    async def follow(self, cursor: Cursor) -> AsyncIterator[tuple[TrainingEvent | None, Cursor]]:
        """The events behind `cursor` as they come, each with its cursor.

        In between, a cursor alone: a heartbeat, while nothing that is wanted happens. Raises
        CursorOutOfRangeError.
        """
        beat, held_since = self._next_beat(), None
        with self._app.bus.subscribe(topics.jobs(self._tenant_id)) as woken:
            while True:
                woken.clear()
                self._app.check_serving()
                page = await self._read(cursor)
                for key, event in page.entries:
                    cursor = Cursor(page.state.era, page.state.compactions, key)
                    if event is not None:
                        yield event, cursor
                        beat = self._next_beat()
                held_since = (held_since or _now()) if page.waits_for_watermark else None
                if len(page.entries) < BATCH:
                    await _woken(woken, min(beat - _now(), _pause(held_since)))
                if _now() >= beat:
                    yield None, cursor
                    beat = self._next_beat()

    async def _known(self, cursor: Cursor) -> Cursor:
        """Raises CursorOutOfRangeError where no event of this log has had the cursor's key."""
        async with self._app.database.connection() as connection:
            known = await events.log_has(connection, self._tenant_id, cursor.key)
            # Looked at after the event, which may be removed in between.
            state, _ = await events.log_end(connection, self._tenant_id)
        _check(cursor, state)
        if not (known or cursor.key in (events.START, state.compacted)):
            raise _out_of_range("belongs to another log, or to one that this one was restored from")
        return cursor

    async def _read(self, cursor: Cursor) -> LogPage:
        async with self._app.database.connection() as connection:
            page = await events.log(connection, self._tenant_id, cursor.key, BATCH, self._wanted)
        _check(cursor, page.state)
        return page

    def _next_beat(self) -> float:
        return _now() + self._app.settings.heartbeat_seconds


def _check(cursor: Cursor, state: LogState) -> None:
    """Raises CursorOutOfRangeError where events behind the cursor may have gone since it was given."""
    if cursor.era != state.era:
        raise _out_of_range("belongs to another log, or to one that this one was restored from")
    if cursor.compactions != state.compactions and cursor.key < state.compacted:
        raise _out_of_range("is too old: events behind it were removed for their age")


def _out_of_range(why: str) -> CursorOutOfRangeError:
    return CursorOutOfRangeError(
        f"after_cursor {why}; leave it empty for all events that are kept, or set from_now and then read the "
        "jobs as they are with ListTrainingJobs"
    )


def _pause(held_since: float | None) -> float:
    """Seconds until the log is looked at again though nobody told of anything."""
    if held_since is None:
        return math.inf
    return min(max(_now() - held_since, HELD_SECONDS), LONGEST_HELD_SECONDS)


async def _woken(woken: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await woken.wait()


def _now() -> float:
    return asyncio.get_running_loop().time()
