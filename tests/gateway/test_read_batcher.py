"""ReadBatcher: reads that arrive together are answered with one query."""

import asyncio
from functools import partial

import asyncpg
import pytest
import pytest_asyncio

from earmark.gateway.read_batcher import BATCH, ReadBatcher
from earmark.storage.database import Database

TENANT = "default"
SEEN = "SELECT current_setting('earmark.tenant')"


class Shares:
    """A query of 6 / key for keys below 1000. It records its keys, then waits until `let_through` is set."""

    def __init__(self) -> None:
        self.requested: list[set[int]] = []
        self.tenants: list[tuple[str, str]] = []
        self.started = asyncio.Event()
        self.let_through = asyncio.Event()

    async def __call__(self, connection, tenant, keys):
        self.tenants.append((tenant, await connection.fetchval(SEEN)))
        self.requested.append(set(keys))
        self.started.set()
        await self.let_through.wait()
        query = "SELECT key, 6 / key AS share FROM unnest($1::int[]) AS key WHERE key < 1000"
        return {row["key"]: row["share"] for row in await connection.fetch(query, list(keys))}


@pytest.fixture
def shares() -> Shares:
    return Shares()


@pytest_asyncio.fixture
async def batcher(database_url, shares):
    async with Database(database_url) as database:
        yield ReadBatcher(database, shares)


async def first_and_then(batcher, shares, *keys: int) -> list[asyncio.Task]:
    """Calls for these keys. All but the first arrive while the query of the first runs."""
    first = asyncio.create_task(batcher.get(TENANT, keys[0]))
    await shares.started.wait()
    rest = [asyncio.create_task(batcher.get(TENANT, key)) for key in keys[1:]]
    await asyncio.sleep(0)  # lets the calls start
    return [first, *rest]


async def test_calls_that_arrive_while_a_query_runs_are_answered_by_the_next(batcher, shares) -> None:
    calls = await first_and_then(batcher, shares, 1, 2, 3, 2, 1)
    shares.let_through.set()
    assert await asyncio.gather(*calls) == [6, 3, 2, 3, 6]
    assert shares.requested == [{1}, {1, 2, 3}]


async def test_a_call_after_all_others_has_its_own_query(batcher, shares) -> None:
    shares.let_through.set()
    assert [await batcher.get(TENANT, 6), await batcher.get(TENANT, 6)] == [1, 1]
    assert shares.requested == [{6}, {6}]


async def test_tenants_take_turns_and_each_query_sees_the_rows_of_its_own(batcher, shares) -> None:
    many = await first_and_then(batcher, shares, *range(1, 2 * BATCH))
    other = asyncio.create_task(batcher.get("other", 3))
    await asyncio.sleep(0)  # lets the call start
    shares.let_through.set()
    await asyncio.gather(*many, other)
    assert shares.tenants == [(name, name) for name in (TENANT, TENANT, "other", TENANT)]


async def test_a_missing_row_is_none(batcher, shares) -> None:
    shares.let_through.set()
    assert await asyncio.gather(batcher.get(TENANT, 2), batcher.get(TENANT, 1001)) == [3, None]


async def test_a_failed_query_fails_only_its_own_calls(batcher, shares) -> None:
    first, by_zero, second = await first_and_then(batcher, shares, 1, 0, 2)
    shares.let_through.set()
    assert await first == 6
    for call in (by_zero, second):
        with pytest.raises(asyncpg.DivisionByZeroError):
            await call
    assert await batcher.get(TENANT, 2) == 3


async def test_a_cancelled_call_does_not_affect_others(batcher, shares) -> None:
    first, second, third = await first_and_then(batcher, shares, 1, 2, 3)
    first.cancel()
    second.cancel()
    shares.let_through.set()
    assert await third == 2


async def test_a_query_answers_at_most_one_batch(batcher, shares) -> None:
    shares.let_through.set()
    keys = range(1, 2 * BATCH + 2)
    assert await asyncio.gather(*map(partial(batcher.get, TENANT), keys)) == [6 // key for key in keys]
    assert [len(keys) for keys in shares.requested] == [BATCH, BATCH, 1]
