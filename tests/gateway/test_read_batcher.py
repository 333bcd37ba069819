"""Reads that are answered together."""

import asyncio

import asyncpg
import pytest
import pytest_asyncio

from gateway.read_batcher import BATCH, ReadBatcher
from storage.database import Database


class Shares:
    """Sixths by key, below 1000: a query that waits to be let through, and what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[set[int]] = []
        self.started = asyncio.Event()
        self.let_through = asyncio.Event()

    async def __call__(self, connection, keys):
        self.asked.append(set(keys))
        self.started.set()
        await self.let_through.wait()
        query = "SELECT key, 6 / key AS share FROM unnest($1::int[]) AS key WHERE key < 1000"
        return {row["key"]: row["share"] for row in await connection.fetch(query, list(keys))}


@pytest.fixture
def shares() -> Shares:
    return Shares()


@pytest_asyncio.fixture
async def loader(database_url, shares):
    async with Database(database_url) as database:
        yield ReadBatcher(database, shares)


async def first_and_then(loader, shares, *keys: int) -> list[asyncio.Task]:
    """Calls for these keys, all but the first of which came while its query ran."""
    first = asyncio.create_task(loader.get(keys[0]))
    await shares.started.wait()
    rest = [asyncio.create_task(loader.get(key)) for key in keys[1:]]
    await asyncio.sleep(0)  # they have asked
    return [first, *rest]


async def test_calls_that_come_while_a_query_runs_are_answered_by_the_next(loader, shares) -> None:
    calls = await first_and_then(loader, shares, 1, 2, 3, 2, 1)
    shares.let_through.set()
    assert await asyncio.gather(*calls) == [6, 3, 2, 3, 6]
    assert shares.asked == [{1}, {1, 2, 3}]


async def test_a_call_after_all_others_has_a_query_of_its_own(loader, shares) -> None:
    shares.let_through.set()
    assert [await loader.get(6), await loader.get(6)] == [1, 1]
    assert shares.asked == [{6}, {6}]


async def test_what_there_is_not_is_none(loader, shares) -> None:
    shares.let_through.set()
    assert await asyncio.gather(loader.get(2), loader.get(1001)) == [3, None]


async def test_a_query_that_fails_fails_for_its_own_calls_only(loader, shares) -> None:
    first, divided, beside = await first_and_then(loader, shares, 1, 0, 2)
    shares.let_through.set()
    assert await first == 6
    for call in (divided, beside):
        with pytest.raises(asyncpg.DivisionByZeroError):
            await call
    assert await loader.get(2) == 3


async def test_a_call_that_is_cancelled_takes_nobody_with_it(loader, shares) -> None:
    first, second, third = await first_and_then(loader, shares, 1, 2, 3)
    first.cancel()
    second.cancel()
    shares.let_through.set()
    assert await third == 2


async def test_one_query_answers_so_many_at_most(loader, shares) -> None:
    shares.let_through.set()
    keys = range(1, 2 * BATCH + 2)
    assert await asyncio.gather(*map(loader.get, keys)) == [6 // key for key in keys]
    assert [len(asked) for asked in shares.asked] == [BATCH, BATCH, 1]
