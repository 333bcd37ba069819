"""Calls of a tenant that is not alone wait for each other, and never for another tenant's."""

import asyncio

import pytest

from earmark.gateway.turns import Turns


class Calls:
    """Calls that are worked on until they are ended; `begun` has their keys, in order."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self.begun: list[str] = []
        self.changed = asyncio.Event()
        self.end = asyncio.Event()

    async def _work(self, key: str) -> None:
        async with self._turns.turn(key):
            self.begun.append(key)
            self.changed.set()
            await self.end.wait()

    async def begin(self, *keys: str) -> list[asyncio.Task[None]]:
        tasks = [asyncio.create_task(self._work(key)) for key in keys]
        await asyncio.sleep(0)
        return tasks


@pytest.fixture
def calls() -> Calls:
    return Calls(Turns(at_once=2, long_seconds=1e9))


async def test_a_tenant_that_is_alone_has_any_number_of_calls_worked_on(calls) -> None:
    await calls.begin(*["flood"] * 50)
    assert len(calls.begun) == 50


async def test_beside_another_the_calls_of_a_flood_wait_for_each_other_only(calls) -> None:
    tasks = await calls.begin("other", *["flood"] * 9, "other")
    assert calls.begun == ["other", "flood", "flood", "other"]
    calls.end.set()
    await asyncio.gather(*tasks)
    assert calls.begun[4:] == ["flood"] * 7


async def test_a_call_that_is_cancelled_gives_its_turn_to_the_next(calls) -> None:
    tasks = await calls.begin("other", *["flood"] * 4)
    assert calls.begun == ["other", "flood", "flood"]
    tasks[3].cancel()  # it waits
    tasks[1].cancel()  # it is worked on
    while len(calls.begun) < 4:
        calls.changed.clear()
        await calls.changed.wait()
    calls.end.set()
    await asyncio.wait(tasks)
    assert calls.begun == ["other", "flood", "flood", "flood"]
    assert [task.cancelled() for task in tasks] == [False, True, False, True, False]


async def test_a_turn_given_to_a_call_that_is_cancelled_at_that_moment_is_given_on(calls) -> None:
    tasks = await calls.begin("other", *["flood"] * 4)
    calls.end.set()
    await asyncio.wait([tasks[1]])
    tasks[3].cancel()
    await asyncio.wait(tasks)
    assert calls.begun.count("flood") >= 3
    assert tasks[4].done()
    assert not tasks[4].cancelled()


async def test_a_call_that_takes_long_makes_no_other_wait() -> None:
    calls = Calls(Turns(at_once=1, long_seconds=0.01))
    tasks = await calls.begin("other", "flood", "flood")
    assert calls.begun == ["other", "flood"]
    while len(calls.begun) < 3:
        calls.changed.clear()
        await calls.changed.wait()
    calls.end.set()
    await asyncio.gather(*tasks)
