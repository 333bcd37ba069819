"""Trainers that come, go and come back, on real servers."""

import asyncio
from contextlib import asynccontextmanager

import grpc
import pytest
from earmark.trainer.v1 import trainer_service_pb2 as pb
from earmark.trainer.v1 import trainer_service_pb2_grpc
from grpc import aio

from gateway.errors import UnavailableError
from gateway.trainers import TrainerLostError, Trainers, send


class Front(trainer_service_pb2_grpc.TrainerServiceServicer):
    """Says the capacity that a test sets, and ends a watch when told to."""

    def __init__(self, slots: int = 1) -> None:
        self.told: asyncio.Queue[int | None] = asyncio.Queue()
        self.told.put_nowait(slots)
        self.gone = asyncio.Event()

    async def WatchCapacity(self, _request, _context):
        try:
            while (slots := await self.told.get()) is not None:
                yield pb.WatchCapacityResponse(capacity=pb.Capacity(device="cpu", free_training_slots=slots))
        finally:
            self.gone.set()

    async def Train(self, requests, context):
        await anext(requests)
        await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "no slot is free")
        yield


@asynccontextmanager
async def serving(front: Front, port: int = 0):
    """The trainer's address."""
    server = aio.server(options=[("grpc.so_reuseport", 0)])
    trainer_service_pb2_grpc.add_TrainerServiceServicer_to_server(front, server)
    port = server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


async def until(trainers: Trainers, condition) -> None:
    with trainers.subscribe() as changed:
        while not condition():
            await changed.wait()
            changed.clear()


async def test_a_trainer_comes_goes_and_comes_back() -> None:
    async with serving(Front(slots=2)) as address:
        trainers = await Trainers([address]).__aenter__()
        await until(trainers, trainers.available)
        [trainer] = trainers.available()
        assert (trainer.address, trainer.capacity.free_training_slots) == (address, 2)
    await until(trainers, lambda: not trainers.available())
    assert trainer.capacity == pb.Capacity()
    async with serving(Front(slots=1), int(address.rpartition(":")[2])):
        await until(trainers, trainers.available)
        assert trainers.available() == [trainer]
        assert trainer.capacity.free_training_slots == 1
        await trainers.__aexit__(None, None, None)


async def test_a_trainer_may_come_late() -> None:
    async with serving(Front()) as address:
        pass
    async with Trainers([address]) as trainers:
        assert trainers.available() == []
        async with serving(Front(), int(address.rpartition(":")[2])):
            await until(trainers, trainers.available)


async def test_changes_of_capacity_wake_and_repetitions_do_not() -> None:
    front = Front(slots=1)
    async with serving(front) as address, Trainers([address]) as trainers:
        await until(trainers, trainers.available)
        seen = []
        with trainers.subscribe() as changed:
            for slots in (1, 1, 0):
                front.told.put_nowait(slots)
            await changed.wait()
            seen.append(trainers.available()[0].capacity.free_training_slots)
        assert seen == [0]


async def test_a_watch_that_ends_is_taken_up_again() -> None:
    front = Front()
    async with serving(front) as address, Trainers([address]) as trainers:
        await until(trainers, trainers.available)
        front.told.put_nowait(None)
        await until(trainers, lambda: not trainers.available())
        front.told.put_nowait(3)
        await until(trainers, trainers.available)


async def test_detection_takes_turns() -> None:
    async with (
        serving(Front()) as first,
        serving(Front()) as second,
        Trainers([first, second]) as trainers,
    ):
        await until(trainers, lambda: len(trainers.available()) == 2)
        picked = [trainers.pick_for_detection().address for _ in range(4)]
    assert picked == [first, second, first, second]


async def test_without_a_trainer_the_addresses_are_named() -> None:
    async with Trainers(["127.0.0.1:1", "127.0.0.1:2"]) as trainers:
        with pytest.raises(UnavailableError, match=r"tried 127\.0\.0\.1:1, 127\.0\.0\.1:2") as error:
            trainers.pick_for_detection()
    assert error.value.reason == "TRAINER_UNAVAILABLE"
    assert error.value.details()


async def test_at_the_end_the_trainers_are_left_alone() -> None:
    front = Front()
    async with serving(front) as address:
        async with Trainers([address]) as trainers:
            await until(trainers, trainers.available)
        await front.gone.wait()


async def test_a_write_to_a_call_that_is_over_says_so() -> None:
    async with serving(Front()) as address, Trainers([address]) as trainers:
        await until(trainers, trainers.available)
        call = trainers.available()[0].stub.Train()
        await send(call, pb.TrainRequest())
        await call.code()
        with pytest.raises(TrainerLostError):
            await send(call, pb.TrainRequest())
