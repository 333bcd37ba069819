"""Reads that are answered together: what many calls ask for at once is one query."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Hashable, Mapping
from typing import Generic, TypeAlias, TypeVar

from storage.database import Connection, Database

Key = TypeVar("Key", bound=Hashable)
Row = TypeVar("Row")

_Batch: TypeAlias = list[tuple[Key, asyncio.Future[Row | None]]]

# What one query answers at most, or its rows would hold the event loop for long.
BATCH = 200
# A query costs as much as many of its rows, so that one waits for more calls where the last had a crowd: a
# millisecond for each call beyond the first, at most five.
LINGER_SECONDS = 0.001
LONGEST_LINGER_SECONDS = 0.005


class ReadBatcher(Generic[Key, Row]):
    """Gives each call its row; calls that come while a query runs are answered together by the next one.

    Nothing is kept: a call's row is read after the call came, as by a query of its own.
    """

    def __init__(
        self,
        database: Database,
        query: Callable[[Connection, Collection[Key]], Awaitable[Mapping[Key, Row]]],
    ) -> None:
        self._database = database
        self._query = query
        self._waiting: _Batch[Key, Row] = []
        self._task: asyncio.Task[None] | None = None

    async def get(self, key: Key) -> Row | None:
        """None where there is no such row. Raises what the query raises, and one of UNAVAILABLE."""
        answer: asyncio.Future[Row | None] = asyncio.get_running_loop().create_future()
        self._waiting.append((key, answer))
        if self._task is None:
            self._task = asyncio.create_task(self._answer_all())
        return await answer

    async def _answer_all(self) -> None:
        while self._waiting:
            batch: _Batch[Key, Row] = []
            try:
                async with self._database.connection() as connection:
                    # Kept while calls come: taking one and giving it back costs as much as the query.
                    while batch := self._take():
                        rows = await self._query(connection, {key for key, _ in batch})
                        _settle(batch, rows)
                        crowd = len(batch) - 1
                        await asyncio.sleep(min(crowd * LINGER_SECONDS, LONGEST_LINGER_SECONDS))
            except Exception as error:  # noqa: BLE001 the next job is not to suffer for this one
                _settle(batch or self._take(), error)
        self._task = None

    def _take(self) -> _Batch[Key, Row]:
        batch, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
        return batch


def _settle(batch: _Batch[Key, Row], outcome: Mapping[Key, Row] | Exception) -> None:
    for key, answer in batch:
        if answer.done():  # its call was cancelled
            continue
        if isinstance(outcome, Exception):
            answer.set_exception(outcome)
        else:
            answer.set_result(outcome.get(key))
