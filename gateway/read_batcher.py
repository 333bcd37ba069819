"""Batches reads: rows that many calls of a tenant request at the same time are read with one query."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Hashable, Mapping
from typing import Generic, TypeAlias, TypeVar

from earmark.storage.database import Connection, Database, see_rows_of

Key = TypeVar("Key", bound=Hashable)
Row = TypeVar("Row")

_Waiting: TypeAlias = deque[tuple[Key, asyncio.Future[Row | None]]]

# Largest number of calls per query. Converting more rows at once would block the event loop for too long.
BATCH = 200
# A query is expensive compared with its rows, so after a large batch the next query waits for more calls: one
# millisecond for each call of the last batch beyond the first, at most five.
LINGER_SECONDS = 0.001
LONGEST_LINGER_SECONDS = 0.005


class ReadBatcher(Generic[Key, Row]):
    """Reads rows by key. Calls that arrive while a query runs are batched into the tenant's next query.

    The tenants take turns, so that none waits for more than one batch of each other. There is no cache: a
    call's row is always read after the call arrived, as if the call ran its own query.
    """

    def __init__(
        self,
        database: Database,
        query: Callable[[Connection, str, Collection[Key]], Awaitable[Mapping[Key, Row]]],
    ) -> None:
        """`query` reads a tenant's rows by their keys, on a connection that sees this tenant's rows only."""
        self._database = database
        self._query = query
        # By tenant, in the order in which they come next.
        self._waiting: dict[str, _Waiting[Key, Row]] = {}
        self._task: asyncio.Task[None] | None = None

    async def get(self, tenant: str, key: Key) -> Row | None:
        """The row, or None if there is none. Raises what the query raises, and DatabaseUnavailableError."""
        answer: asyncio.Future[Row | None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(tenant, deque()).append((key, answer))
        if self._task is None:
            self._task = asyncio.create_task(self._answer_all())
        return await answer

    async def _answer_all(self) -> None:
        while self._waiting:
            batch: _Waiting[Key, Row] = deque()
            try:
                async with self._database.connection() as connection:
                    # Kept while calls arrive: to acquire a connection costs as much as the query.
                    while self._waiting:
                        tenant, batch = self._take()
                        await see_rows_of(connection, tenant)
                        rows = await self._query(connection, tenant, {key for key, _ in batch})
                        _answer(batch, rows)
                        if not self._waiting.keys() - {tenant}:
                            await asyncio.sleep(
                                min((len(batch) - 1) * LINGER_SECONDS, LONGEST_LINGER_SECONDS)
                            )
            except Exception as error:  # noqa: BLE001 the calls of this batch raise it; later calls go on
                _answer(batch or self._take()[1], error)
        self._task = None

    def _take(self) -> tuple[str, _Waiting[Key, Row]]:
        """The next batch, which is of the tenant whose turn it is."""
        tenant = next(iter(self._waiting))
        waiting = self._waiting.pop(tenant)
        batch = deque(waiting.popleft() for _ in range(min(BATCH, len(waiting))))
        if waiting:
            self._waiting[tenant] = waiting
        return tenant, batch


def _answer(batch: _Waiting[Key, Row], outcome: Mapping[Key, Row] | Exception) -> None:
    for key, answer in batch:
        if answer.done():  # its call was cancelled
            continue
        if isinstance(outcome, Exception):
            answer.set_exception(outcome)
        else:
            answer.set_result(outcome.get(key))
