"""Trainers on real servers that say what a test tells them to, and names that lead to them."""

import asyncio
from contextlib import asynccontextmanager

import grpc
from earmark.trainer.v1 import trainer_service_pb2 as pb
from earmark.trainer.v1 import trainer_service_pb2_grpc
from grpc import aio

from gateway.fleet.trainers import Trainers


class Front(trainer_service_pb2_grpc.TrainerServiceServicer):
    """Says the capacity that a test sets, and ends a watch when told to."""

    def __init__(self, slots: int = 1) -> None:
        self.told: asyncio.Queue[int | None] = asyncio.Queue()
        self.told.put_nowait(slots)
        self.gone = asyncio.Event()

    async def WatchCapacity(self, _request, _context):
        try:
            while (slots := await self.told.get()) is not None:
                capacity = pb.Capacity(device="cpu", training_slots=4, free_training_slots=slots)
                yield pb.WatchCapacityResponse(capacity=capacity)
        finally:
            self.gone.set()

    async def Train(self, requests, context):
        await anext(requests)
        await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "no slot is free")
        yield


class Busy(Front):
    """Works until its caller is gone."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = asyncio.Event()
        self.left = asyncio.Event()

    async def Train(self, _requests, _context):
        try:
            while True:
                yield pb.TrainResponse(heartbeat=pb.TrainResponse.Heartbeat())
                await self.go_on.wait()
                self.go_on.clear()
        finally:
            self.left.set()


class Names:
    """A resolver whose answers, or errors, a test gives one after another."""

    def __init__(self) -> None:
        self._answers: asyncio.Queue[list[str] | OSError] = asyncio.Queue()
        self._given = 0

    async def __call__(self, _host: str, _port: int) -> list[str]:
        if self._given:
            self._answers.task_done()
        answer = await self._answers.get()
        self._given += 1
        if isinstance(answer, OSError):
            raise answer
        return answer

    async def say(self, *answers: list[str] | OSError) -> None:
        """Returns when the answers have been acted on."""
        for answer in answers:
            self._answers.put_nowait(answer)
        await self._answers.join()


@asynccontextmanager
async def serving(front: Front, port: int = 0, host: str = "127.0.0.1"):
    """The trainer's address."""
    server = aio.server(options=[("grpc.so_reuseport", 0)])
    trainer_service_pb2_grpc.add_TrainerServiceServicer_to_server(front, server)
    port = server.add_insecure_port(f"{host}:{port}")
    await server.start()
    try:
        yield f"{host}:{port}"
    finally:
        await server.stop(None)


def port_of(address: str) -> int:
    return int(address.rpartition(":")[2])


def addresses(trainers: Trainers) -> list[str]:
    return [trainer.address for trainer in trainers.available()]


async def until(trainers: Trainers, condition) -> None:
    with trainers.subscribe() as changed:
        while not condition():
            await changed.wait()
            changed.clear()
