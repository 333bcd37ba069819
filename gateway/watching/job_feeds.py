"""Shares one reader among all watchers of a job, and keeps the job's latest events in memory.

Each event is read and converted once, however many watchers there are. A watcher whose next event is no
longer in memory reads the table, so nobody waits for a slow watcher and nothing is buffered for it.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar
from uuid import UUID

from gateway.app import App
from gateway.waits import wait_for_event
from gateway.watching import topics
from storage.queries import events
from storage.records import TrainingEvent, TrainingJob

BATCH = 200
# The number of events kept in memory per watched job. A watcher further behind than this reads the table.
KEPT = 64

FINAL = frozenset(
    {"TRAINING_JOB_STATUS_COMPLETED", "TRAINING_JOB_STATUS_FAILED", "TRAINING_JOB_STATUS_CANCELLED"}
)

Message = TypeVar("Message")


@dataclass(frozen=True, slots=True)
class FeedItem(Generic[Message]):
    """An event as watchers receive it. `is_last`: no event of the job follows."""

    revision: int
    message: Message
    is_last: bool


class Feed(Generic[Message]):
    """Reads one job's events after revision `after` and keeps the latest of them, without a gap."""

    def __init__(
        self, app: App, job_id: UUID, after: int, convert: Callable[[TrainingEvent], FeedItem[Message]]
    ) -> None:
        self.watchers = 0
        self._app = app
        self._job_id = job_id
        self._latest = after
        self._convert = convert
        self._kept: deque[FeedItem[Message]] = deque(maxlen=KEPT)
        self._changed = asyncio.Event()
        self._reader = asyncio.create_task(self._read())
        self._reader.add_done_callback(lambda _: self._notify())

    @property
    def has_failed(self) -> bool:
        """Whether the reader has ended, so that no further event follows."""
        return self._reader.done()

    def has_dropped(self, cursor: int) -> bool:
        """Whether the event after the cursor is no longer kept."""
        return cursor < self._latest - len(self._kept)

    def next(self, cursor: int) -> FeedItem[Message] | None:
        """The event after the cursor. Returns None if it does not exist yet or is no longer kept.

        If the reader has failed, raises its error.
        """
        if self.has_failed:
            self._reader.result()
        behind = self._latest - cursor
        return self._kept[-behind] if 0 < behind <= len(self._kept) else None

    async def wait_for_change(self, seconds: float) -> bool:
        """Waits up to `seconds` for an event or a failure. Returns False if there was none."""
        return await wait_for_event(self._changed, seconds)

    def close(self) -> None:
        if not self._reader.cancel():
            # Marks a failure that no watcher saw as retrieved, so that asyncio does not log it.
            self._reader.exception()

    async def _read(self) -> None:
        with self._app.bus.subscribe(topics.job(self._job_id)) as woken:
            while True:
                woken.clear()
                self._app.check_serving()
                if await self._read_batch() < BATCH:
                    # The timeout covers a gateway that died after recording an event, before publishing it.
                    await wait_for_event(woken, self._app.settings.heartbeat_seconds)

    async def _read_batch(self) -> int:
        async with self._app.database.connection() as connection:
            batch = await events.of_job(connection, self._job_id, self._latest, BATCH)
        for event in batch:
            if event.revision != self._latest + 1:
                # The events in between were removed for their age.
                self._kept.clear()
            self._kept.append(self._convert(event))
            self._latest = event.revision
        if batch:
            self._notify()
        return len(batch)

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


class Feeds(Generic[Message]):
    """The feeds of the jobs that are watched in this process."""

    def __init__(self, app: App, convert: Callable[[TrainingEvent], Message]) -> None:
        """`convert`: makes the message that watchers receive for an event."""
        self._app = app
        self._convert = convert
        self._feeds: dict[UUID, Feed[Message]] = {}

    @contextmanager
    def subscribe(self, job: TrainingJob, cursor: int) -> Iterator[Feed[Message]]:
        """The job's feed. The first watcher opens it at its cursor, or at most KEPT events back."""
        feed = self._feeds.get(job.id)
        if feed is None or feed.has_failed:
            feed = Feed(self._app, job.id, max(cursor, job.revision - KEPT), self.to_item)
            self._feeds[job.id] = feed
        feed.watchers += 1
        try:
            yield feed
        finally:
            feed.watchers -= 1
            if not feed.watchers:
                feed.close()
                if self._feeds.get(job.id) is feed:
                    del self._feeds[job.id]

    def to_item(self, event: TrainingEvent) -> FeedItem[Message]:
        return FeedItem(event.revision, self._convert(event), is_last(event))


def is_last(event: TrainingEvent) -> bool:
    """Whether no event of the job follows."""
    change = event.body.get("status_changed")
    return change is not None and change["to"] in FINAL
