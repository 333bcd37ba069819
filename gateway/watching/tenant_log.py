"""Shares one reader of a tenant's log among all watchers, and keeps the latest events in memory.

Each event is read once, and converted once for each kind of watch, however many watchers there are. A watcher
whose next event is no longer in memory reads the table, so nobody waits for a slow watcher and nothing is
buffered for it.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar
from uuid import UUID
from weakref import WeakValueDictionary

from earmark.gateway.app import App
from earmark.gateway.waits import wait_for_event
from earmark.gateway.watching import topics
from earmark.gateway.watching.cursor import Cursor
from earmark.storage.queries import events
from earmark.storage.records import Event

BATCH = 200
# The number of events kept in memory per tenant. A watcher further behind than this reads the table.
KEPT = 1000

Message = TypeVar("Message")


class Entry:
    """An event of the log, with the cursor after it and the messages that watchers receive for it."""

    __slots__ = ("_messages", "cursor", "event")

    def __init__(self, event: Event, compacted: int) -> None:
        """`compacted`: how far the log was compacted when the event was read."""
        self.event = event
        self.cursor = Cursor.at(event, compacted)
        self._messages: dict[Any, Any] = {}

    def message(self, convert: Callable[["Entry"], Message]) -> Message:
        """The result of `convert`, which is called once."""
        if convert not in self._messages:
            self._messages[convert] = convert(self)
        message: Message = self._messages[convert]
        return message


class TenantLog:
    """Reads a tenant's log as it grows and keeps the latest events, without a gap."""

    def __init__(self, app: App, tenant_id: str) -> None:
        self.watchers = 0
        self._app = app
        self._tenant_id = tenant_id
        # The reader outlives the call that starts it.
        self._database = app.database.seen_by(lambda: tenant_id)
        self._end = Cursor(0, 0, 0)
        self._kept: deque[Entry] = deque()
        self._kept_by_resource: dict[UUID, deque[Entry]] = {}
        # What to set at the next event of a resource; None: of any resource.
        self._changes: WeakValueDictionary[UUID | None, asyncio.Event] = WeakValueDictionary()
        self._has_started = asyncio.Event()
        self._reader = asyncio.create_task(self._read())
        self._reader.add_done_callback(lambda _: self._stop_waiting())

    @property
    def has_failed(self) -> bool:
        """Whether the reader has ended, so that no further event follows."""
        return self._reader.done()

    @property
    def last_sequence(self) -> int:
        """The number of the last event that was read."""
        return self._end.sequence

    async def started(self) -> None:
        """Returns once every later commit is noticed. If the reader has failed, raises its error."""
        await self._has_started.wait()
        self._check()

    def changed(self, resource_id: UUID | None = None) -> asyncio.Event:
        """Is set at the next event, of the resource if one is given, and if the reader fails."""
        self._check()
        return self._changes.setdefault(resource_id, asyncio.Event())

    def has_dropped(self, sequence: int) -> bool:
        """Whether the event after this number is no longer kept."""
        return sequence < self._end.sequence - len(self._kept)

    def next(self, sequence: int) -> Entry | None:
        """The event after this number; None if it does not exist yet or is no longer kept."""
        behind = self._end.sequence - sequence
        return self._kept[-behind] if 0 < behind <= len(self._kept) else None

    def next_of(self, resource_id: UUID, revision: int) -> Entry | None:
        """The resource's event after this revision; None if it does not exist yet or is no longer kept."""
        kept = self._kept_by_resource.get(resource_id, ())
        behind = kept[-1].event.revision - revision if kept else 0
        return kept[-behind] if 0 < behind <= len(kept) else None

    def latest_of(self, resource_id: UUID) -> int | None:
        """The revision of the resource's last event; None if it is not kept."""
        kept = self._kept_by_resource.get(resource_id)
        return kept[-1].event.revision if kept else None

    def close(self) -> None:
        if not self._reader.cancel():
            # Marks a failure that no watcher saw as retrieved, so that asyncio does not log it.
            self._reader.exception()

    def _check(self) -> None:
        if self.has_failed:
            self._reader.result()

    async def _read(self) -> None:
        with self._app.bus.subscribe(topics.events(self._tenant_id)) as woken:
            async with self._database.connection() as connection:
                end = await events.log_end(connection, self._tenant_id)
                page = await events.log(connection, self._tenant_id, max(0, end.last_sequence - KEPT), KEPT)
            self._end = Cursor.at_end(end)
            self._add(page)
            while True:
                woken.clear()
                self._app.check_serving()
                if await self._read_batch() < BATCH:
                    self._has_started.set()
                    # The timeout covers a gateway that died after recording an event, before publishing it.
                    await wait_for_event(woken, self._app.settings.heartbeat_seconds)

    async def _read_batch(self) -> int:
        async with self._database.connection() as connection:
            page = await events.log(connection, self._tenant_id, self._end.sequence, BATCH)
        self._end.check(page)
        self._add(page)
        return len(page.events)

    def _add(self, page: events.LogPage) -> None:
        for event in page.events:
            entry = Entry(event, page.compacted_sequence)
            if event.sequence != self._end.sequence + 1:
                # The events in between were removed for their age.
                self._kept.clear()
                self._kept_by_resource.clear()
            self._keep(entry)
            self._end = entry.cursor
        if page.events:
            for resource_id in {None, *(event.resource_id for event in page.events)}:
                if changed := self._changes.pop(resource_id, None):
                    changed.set()

    def _keep(self, entry: Entry) -> None:
        self._kept.append(entry)
        self._kept_by_resource.setdefault(entry.event.resource_id, deque()).append(entry)
        if len(self._kept) > KEPT:
            dropped = self._kept.popleft().event.resource_id
            of_resource = self._kept_by_resource[dropped]
            of_resource.popleft()
            if not of_resource:
                del self._kept_by_resource[dropped]

    def _stop_waiting(self) -> None:
        self._has_started.set()
        for changed in list(self._changes.values()):
            changed.set()


class TenantLogs:
    """The logs that are watched in this process."""

    def __init__(self, app: App) -> None:
        self.app = app
        self._logs: dict[str, TenantLog] = {}

    @contextmanager
    def subscribe(self, tenant_id: str) -> Iterator[TenantLog]:
        """The tenant's log. The first watcher opens it, and the last one closes it."""
        log = self._logs.get(tenant_id)
        if log is None or log.has_failed:
            log = self._logs[tenant_id] = TenantLog(self.app, tenant_id)
        log.watchers += 1
        try:
            yield log
        finally:
            log.watchers -= 1
            if not log.watchers:
                log.close()
                if self._logs.get(tenant_id) is log:
                    del self._logs[tenant_id]
