"""Notifies every gateway of changes: topics sent with NOTIFY, outside the transactions that write.

NOTIFY inside a write transaction takes an instance-wide lock at commit. Topics are therefore collected for
10 ms and sent on a separate connection. A topic carries no data and is never replayed: a waiter that wakes up
reads the tables, and all waiters are woken after a lost connection is restored.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Self

import structlog

from earmark.background import Background
from earmark.storage.database import Connection, Database, DatabaseUnavailableError, OwnConnection

CHANNEL = "earmark"
COALESCE_SECONDS = 0.010
# PostgreSQL rejects payloads of 8,000 bytes or more; a topic is shorter than 50.
TOPICS_PER_NOTIFY = 100
# While the database is away, topics accumulate. Beyond this number, one topic stands for all.
MOST_OUTGOING = 1000
EVERYTHING = "*"
# asyncpg may not notice a dead connection (asyncpg #519), so the listening connection is pinged this often.
PING_SECONDS = 5.0
PING_TIMEOUT_SECONDS = 5.0
RECONNECT_SECONDS = 0.5

log = structlog.get_logger(__name__)


class Bus:
    """One LISTEN connection per process and any number of waiters per topic. A topic is a short string."""

    def __init__(self, database: Database, background: Background | None = None) -> None:
        self.is_listening = False
        """Whether the notifications of other gateways arrive: the database is there."""
        # How many topics were sent to all gateways, and received, also from itself.
        self.sent = 0
        self.received = 0
        self._database = database
        self._background = background or Background()
        self._waiters: dict[str, set[asyncio.Event]] = defaultdict(set)
        self._outgoing: set[str] = set()
        self._outgoing_added = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._tasks = [
            self._background.start("listening for changes", self._listen),
            self._background.start("notifying other gateways", self._send),
        ]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def publish(self, *topics: str) -> None:
        """Wakes the topics' waiters in this process at once, and those in other gateways 10 ms later."""
        for topic in topics:
            self.wake(topic)
        self._add_outgoing(topics)

    @contextmanager
    def subscribe(self, topic: str) -> Iterator[asyncio.Event]:
        """An event that is set whenever the topic may have changed; clear it before reading the tables."""
        event = asyncio.Event()
        waiters = self._waiters[topic]
        waiters.add(event)
        try:
            yield event
        finally:
            waiters.discard(event)
            if not waiters and self._waiters.get(topic) is waiters:
                del self._waiters[topic]

    def wake(self, topic: str) -> None:
        """Wakes the topic's waiters in this process only."""
        for event in self._waiters.get(topic, ()):
            event.set()

    def wake_later(self, topic: str, seconds: float) -> None:
        """Wakes the topic's waiters in this process after a delay, for a change that no write announces."""
        asyncio.get_running_loop().call_later(seconds + COALESCE_SECONDS, self.wake, topic)

    def wake_all(self) -> None:
        """Wakes every waiter in this process."""
        for topic in list(self._waiters):
            self.wake(topic)

    async def _listen(self) -> None:
        while True:
            try:
                async with self._database.own_connection() as connection:
                    await connection.add_listener(CHANNEL, self._received)
                    # Notifications sent before LISTEN are lost, so every waiter reads the tables again.
                    self.is_listening = True
                    self.wake_all()
                    await _ping(connection)
            except DatabaseUnavailableError as error:
                log.warning("listening for changes failed; trying again", error=str(error))
            finally:
                self.is_listening = False
            await asyncio.sleep(RECONNECT_SECONDS)

    def _received(self, _connection: Connection, _pid: int, _channel: str, payload: object) -> None:
        for topic in str(payload).split():
            self.received += 1
            if topic == EVERYTHING:
                self.wake_all()
            else:
                self.wake(topic)

    async def _send(self) -> None:
        while True:
            await self._outgoing_added.wait()
            try:
                async with self._database.own_connection() as connection:
                    await self._send_on(connection)
            except DatabaseUnavailableError as error:
                log.warning("notifying other gateways of changes failed; trying again", error=str(error))
                await asyncio.sleep(RECONNECT_SECONDS)

    def _add_outgoing(self, topics: Iterable[str]) -> None:
        self._outgoing.update(topics)
        if len(self._outgoing) > MOST_OUTGOING:
            self._outgoing = {EVERYTHING}
        self._outgoing_added.set()

    async def _send_on(self, connection: OwnConnection) -> None:
        while True:
            await self._outgoing_added.wait()
            await asyncio.sleep(COALESCE_SECONDS)
            # Topics added from here on may miss this batch, so they go into the next one.
            topics, self._outgoing = self._outgoing, set()
            self._outgoing_added.clear()
            try:
                await notify(connection, sorted(topics))
            except BaseException:
                self._add_outgoing(topics)
                raise
            self.sent += len(topics)


async def notify(connection: OwnConnection, topics: Sequence[str]) -> None:
    """Wakes the topics' waiters in all processes."""
    for start in range(0, len(topics), TOPICS_PER_NOTIFY):
        batch = topics[start : start + TOPICS_PER_NOTIFY]
        await connection.execute("SELECT pg_notify($1, $2)", CHANNEL, " ".join(batch))


async def _ping(connection: OwnConnection) -> None:
    while True:
        await asyncio.sleep(PING_SECONDS)
        await connection.execute("SELECT 1", timeout=PING_TIMEOUT_SECONDS)
