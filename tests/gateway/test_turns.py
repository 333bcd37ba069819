"""Calls of a tenant that is not alone wait for each other, and never for another tenant's."""

import asyncio

import pytest
from grpc import StatusCode

from earmark.gateway import interceptors, turns
from earmark.gateway.turns import Turn, Turns
from earmark.v1.detection_service_pb2_grpc import DetectionServiceStub
from earmark.v1.model_service_pb2 import ListModelsRequest
from earmark.v1.model_service_pb2_grpc import ModelServiceStub
from tests.gateway.two_tenants import OTHER, OWN, bearer, installed

FLOOD = 400


class Calls:
    """Calls that are worked on until they are ended; `begun` has their keys, in order."""

    def __init__(self, turns: Turns, long_seconds: float = 1e9) -> None:
        self._turns = turns
        self._long_seconds = long_seconds
        self.turns: list[Turn] = []
        self.begun: list[str] = []
        self.changed = asyncio.Event()
        self.end = asyncio.Event()

    async def _work(self, key: str) -> None:
        kind, _, tenant = key.rpartition(" ")
        async with self._turns.turn(tenant, self._long_seconds, kind) as turn:
            self.turns.append(turn)
            self.begun.append(key)
            self.changed.set()
            await self.end.wait()

    async def until(self, count: int) -> None:
        """Returns when so many have begun."""
        while len(self.begun) < count:
            self.changed.clear()
            await self.changed.wait()

    async def begin(self, *keys: str) -> list[asyncio.Task[None]]:
        tasks = [asyncio.create_task(self._work(key)) for key in keys]
        await asyncio.sleep(0)
        return tasks


@pytest.fixture
def calls() -> Calls:
    return Calls(Turns(at_once=2))


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
    await calls.until(4)
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
    calls = Calls(Turns(at_once=1), long_seconds=0.01)
    tasks = await calls.begin("other", "flood", "flood")
    assert calls.begun == ["other", "flood"]
    await calls.until(3)
    calls.end.set()
    await asyncio.gather(*tasks)


async def test_calls_wait_for_no_stream_of_their_own_tenant_and_streams_for_no_call(calls) -> None:
    tasks = await calls.begin("other", *["opening flood"] * 3, *["flood"] * 3)
    assert calls.begun == ["other", *["opening flood"] * 2, *["flood"] * 2]
    calls.end.set()
    await asyncio.gather(*tasks)


async def test_a_stream_that_has_replied_makes_no_other_wait(calls) -> None:
    tasks = await calls.begin("other", *["flood"] * 4)
    calls.turns[1].leave()
    calls.turns[1].leave()
    await calls.until(4)
    assert calls.begun == ["other", "flood", "flood", "flood"]
    calls.end.set()
    await asyncio.gather(*tasks)
    assert len(calls.begun) == 5


async def test_streams_take_the_turn_of_their_opening(database_url, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(interceptors, "OPENING_SECONDS", 1e9)
    monkeypatch.setattr(turns, "PRESENT_SECONDS", 1e9)
    async with installed(database_url, tmp_path) as here:
        detection = DetectionServiceStub(here.gateway.channel)
        models = ModelServiceStub(here.gateway.channel)
        flood = [detection.Detect(metadata=bearer(here.keys[OTHER])) for _ in range(3)]
        opening = [asyncio.create_task(stream.initial_metadata()) for stream in flood]
        await asyncio.wait(opening, return_when=asyncio.FIRST_COMPLETED)
        for _ in range(5):  # the third stream would be open long before the last of these replies
            await models.ListModels(ListModelsRequest(), metadata=bearer(here.keys[OWN]))
        assert sorted(task.done() for task in opening) == [False, True, True]
        flood[[task.done() for task in opening].index(True)].cancel()
        await asyncio.gather(*opening)
        for stream in flood:
            stream.cancel()


async def test_a_call_is_answered_before_most_of_a_flood_that_arrived_before_it(
    database_url, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(turns, "PRESENT_SECONDS", 1e9)
    async with installed(database_url, tmp_path) as here:
        models, request = ModelServiceStub(here.gateway.channel), ListModelsRequest()
        await models.ListModels(request, metadata=bearer(here.keys[OWN]))
        flood = [models.ListModels(request, metadata=bearer(here.keys[OTHER])) for _ in range(FLOOD)]
        answered = [asyncio.create_task(call.code()) for call in flood]
        await asyncio.wait(answered, return_when=asyncio.FIRST_COMPLETED)
        await models.ListModels(request, metadata=bearer(here.keys[OWN]))
        assert sum(task.done() for task in answered) < FLOOD / 2
        assert set(await asyncio.gather(*answered)) == {StatusCode.OK}
