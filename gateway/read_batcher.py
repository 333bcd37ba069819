"""Batches reads: rows that many calls request at the same time are read with one query."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Hashable, Mapping
from typing import Generic, TypeAlias, TypeVar

from earmark.storage.database import Connection, Database

Key = TypeVar("Key", bound=Hashable)
Row = TypeVar("Row")

_Batch: TypeAlias = list[tuple[Key, asyncio.Future[Row | None]]]

# Largest number of calls per query. Converting more rows at once would block the event loop for too long.
BATCH = 200
# A query is expensive compared with its rows, so after a large batch the next query waits for more calls: one
# millisecond for each call of the last batch beyond the first, at most five.
LINGER_SECONDS = 0.001
LONGEST_LINGER_SECONDS = 0.005


class ReadBatcher(Generic[Key, Row]):
    """Reads rows by key. Calls that arrive while a query runs are batched into the next query.

    There is no cache: a call's row is always read after the call arrived, as if the call ran its own query.
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
        """The row, or None if there is none. Raises what the query raises, and DatabaseUnavailableError."""
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
                    # Kept while calls arrive: to acquire a connection costs as much as the query.
                    while batch := self._take():
                        rows = await self._query(connection, {key for key, _ in batch})
                        _answer(batch, rows)
                        others = len(batch) - 1
                        await asyncio.sleep(min(others * LINGER_SECONDS, LONGEST_LINGER_SECONDS))
            except Exception as error:  # noqa: BLE001 the calls of this batch raise it; later calls go on
                _answer(batch or self._take(), error)
        self._task = None

    def _take(self) -> _Batch[Key, Row]:
        batch, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
        return batch


def _answer(batch: _Batch[Key, Row], outcome: Mapping[Key, Row] | Exception) -> None:
    for key, answer in batch:
        if answer.done():  # its call was cancelled
            continue
        if isinstance(outcome, Exception):
            answer.set_exception(outcome)
        else:
            answer.set_result(outcome.get(key))
