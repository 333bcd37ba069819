"""What the watchers of a job share: one reader of its events, and the latest of them in memory.

An event is read and converted once, however many watch. A watcher that the feed has run ahead of reads the
table, so that nobody waits for it and nothing is kept for it.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Generic, TypeVar
from uuid import UUID

from gateway.app import App
from gateway.watching import topics
from storage.queries import events
from storage.records import TrainingEvent, TrainingJob

BATCH = 200
# A watcher may be this many events behind before it reads the table; a watched job holds as many messages.
KEPT = 64

FINAL = frozenset(
    {"TRAINING_JOB_STATUS_COMPLETED", "TRAINING_JOB_STATUS_FAILED", "TRAINING_JOB_STATUS_CANCELLED"}
)

Message = TypeVar("Message")


@dataclass(frozen=True, slots=True)
class Told(Generic[Message]):
    """An event as it is told; `is_last`: none of the job's follows."""

    revision: int
    message: Message
    is_last: bool


class Feed(Generic[Message]):
    """One job's events behind revision `after`, of which the latest are kept, without a gap."""

    def __init__(
        self, app: App, job_id: UUID, after: int, convert: Callable[[TrainingEvent], Told[Message]]
    ) -> None:
        self.watchers = 0
        self._app = app
        self._job_id = job_id
        self._latest = after
        self._convert = convert
        self._kept: deque[Told[Message]] = deque(maxlen=KEPT)
        self._news = asyncio.Event()
        self._reading = asyncio.create_task(self._read())
        self._reading.add_done_callback(lambda _: self._tell())

    @property
    def has_failed(self) -> bool:
        """Whether it tells nothing any more."""
        return self._reading.done()

    def is_ahead_of(self, cursor: int) -> bool:
        """Whether the event behind the cursor is no longer kept."""
        return cursor < self._latest - len(self._kept)

    def next(self, cursor: int) -> Told[Message] | None:
        """The event behind the cursor; None where it has not come, or is no longer kept.

        Raises what the reader has failed with.
        """
        if self.has_failed:
            self._reading.result()
        behind = self._latest - cursor
        return self._kept[-behind] if 0 < behind <= len(self._kept) else None

    async def news(self, seconds: float) -> bool:
        """Returns when there is something new; False where there was nothing for so long."""
        news = self._news
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await news.wait()
        return news.is_set()

    def close(self) -> None:
        if not self._reading.cancel():
            # A failure that no watcher was left to hear of is none of asyncio's either.
            self._reading.exception()

    async def _read(self) -> None:
        with self._app.bus.subscribe(topics.job(self._job_id)) as changed:
            while True:
                changed.clear()
                self._app.check_serving()
                if await self._read_batch() < BATCH:
                    await self._woken(changed)

    async def _read_batch(self) -> int:
        async with self._app.database.connection() as connection:
            batch = await events.of_job(connection, self._job_id, self._latest, BATCH)
        for event in batch:
            if event.revision != self._latest + 1:
                # Those between were removed for their age.
                self._kept.clear()
            self._kept.append(self._convert(event))
            self._latest = event.revision
        if batch:
            self._tell()
        return len(batch)

    async def _woken(self, changed: asyncio.Event) -> None:
        """Or looks again after a while: who recorded an event may have died before telling of it."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._app.settings.heartbeat_seconds):
                await changed.wait()

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()


class Feeds(Generic[Message]):
    """The feeds of the jobs that are watched in this process."""

    def __init__(self, app: App, convert: Callable[[TrainingEvent], Message]) -> None:
        """`convert`: an event as watchers are told it."""
        self._app = app
        self._convert = convert
        self._feeds: dict[UUID, Feed[Message]] = {}

    @contextmanager
    def joined(self, job: TrainingJob, cursor: int) -> Iterator[Feed[Message]]:
        """The job's feed, that begins at the first watcher's cursor as far as so much is kept."""
        feed = self._feeds.get(job.id)
        if feed is None or feed.has_failed:
            feed = Feed(self._app, job.id, max(cursor, job.revision - KEPT), self.told)
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

    def told(self, event: TrainingEvent) -> Told[Message]:
        return Told(event.revision, self._convert(event), is_last(event))


def is_last(event: TrainingEvent) -> bool:
    """Whether no event of the job follows."""
    change = event.body.get("status_changed")
    return change is not None and change["to"] in FINAL
