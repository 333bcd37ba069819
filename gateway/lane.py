"""Connections of their own for calls that take long, given to the callers in turn."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from earmark.gateway.caller import current
from earmark.gateway.errors import QuotaError
from earmark.storage.database import Connection, Database

# Each waits with its request in memory.
MOST_WAITING = 200
RETRY_SECONDS = 5.0


class FairQueue:
    """Slots for work. While none is free, work waits, and the callers take turns."""

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._free = slots
        # By caller, in the order in which they come next.
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    @property
    def running(self) -> int:
        return self._slots - self._free

    @property
    def waiting(self) -> int:
        return sum(map(len, self._waiting.values()))

    @asynccontextmanager
    async def slot(self, key: str) -> AsyncIterator[None]:
        """A slot inside the block, for the caller of this key. Raises QuotaError if too much waits."""
        if self._free:
            self._free -= 1
        else:
            await self._wait(key)
        try:
            yield
        finally:
            self._release()

    async def _wait(self, key: str) -> None:
        if self.waiting >= MOST_WAITING:
            raise QuotaError(
                "gateway/long_calls",
                MOST_WAITING,
                f"{MOST_WAITING} calls that take long wait already: try again in some seconds",
                RETRY_SECONDS,
            )
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                self._release()
            raise

    def _release(self) -> None:
        while self._waiting:
            key = next(iter(self._waiting))
            queue = self._waiting.pop(key)
            turn = queue.popleft()
            if queue:
                self._waiting[key] = queue
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1


class Lane(Database):
    """The database for calls that take long: what they use is never missing to others."""

    def __init__(self, dsn: str, *, pool_size: int, tenant: Callable[[], str]) -> None:
        super().__init__(dsn, pool_size=pool_size, tenant=tenant)
        self.queue = FairQueue(pool_size)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection when it is the caller's turn. Raises QuotaError and DatabaseUnavailableError."""
        async with self.queue.slot(current().turn), super().connection() as connection:
            yield connection
