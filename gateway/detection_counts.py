"""Counts the detections of each model and writes the counts once a minute, not with each call."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from uuid import UUID

import structlog

from earmark.background import Background
from earmark.storage.database import Database, DatabaseUnavailableError
from earmark.storage.queries import model_usage

WRITE_SECONDS = 60.0
# If the database is unavailable for longer while the gateway stops, the last minute is lost.
LAST_WRITE_SECONDS = 5.0

log = structlog.get_logger("gateway")


@dataclass(slots=True)
class _Count:
    """A number of detections, and when the last ended by the event loop's clock."""

    number: int
    last: float


class DetectionCounts:
    """What was counted since the last write."""

    def __init__(self) -> None:
        self._counted: dict[UUID, _Count] = {}

    def add(self, model_id: UUID) -> None:
        """Counts a detection that ends now."""
        self._add(model_id, _Count(1, asyncio.get_running_loop().time()))

    @asynccontextmanager
    async def writing(self, database: Database, background: Background) -> AsyncIterator[None]:
        """Writes once a minute inside the block, and the rest at its end."""
        task = background.start("counting detections", lambda: self._write_regularly(database))
        try:
            yield
        finally:
            task.cancel()
            with suppress(DatabaseUnavailableError, TimeoutError):
                async with asyncio.timeout(LAST_WRITE_SECONDS):
                    await self.write(database)

    async def write(self, database: Database) -> None:
        """Adds what was counted to the database; if that fails, the next write adds it."""
        if not self._counted:
            return
        written, self._counted = self._counted, {}
        now = asyncio.get_running_loop().time()
        try:
            async with database.connection() as connection:
                counts = [count.number for count in written.values()]
                seconds = [now - count.last for count in written.values()]
                await model_usage.add_detections(connection, list(written), counts, seconds)
        except BaseException:
            for model_id, count in written.items():
                self._add(model_id, count)
            raise

    async def _write_regularly(self, database: Database) -> None:
        while True:
            await asyncio.sleep(WRITE_SECONDS)
            try:
                await self.write(database)
            except DatabaseUnavailableError as error:
                log.warning("the detections are written later", error=str(error))

    def _add(self, model_id: UUID, count: _Count) -> None:
        earlier = self._counted.get(model_id)
        if earlier is None:
            self._counted[model_id] = count
        else:
            earlier.number += count.number
            earlier.last = max(earlier.last, count.last)
