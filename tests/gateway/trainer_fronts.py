"""Fake trainers on real servers, controlled by the test, and a resolver for their names."""

import asyncio
from contextlib import asynccontextmanager

import grpc
from grpc import aio

from earmark.gateway.fleet.trainers import Trainers
from earmark.internal.v1 import trainer_service_pb2 as pb
from earmark.internal.v1 import trainer_service_pb2_grpc


class FakeTrainer(trainer_service_pb2_grpc.TrainerServiceServicer):
    """Reports the free slots that a test puts into `reports`; None ends the watch. Has no slot for a job."""

    def __init__(self, slots: int = 1) -> None:
        self.reports: asyncio.Queue[int | None] = asyncio.Queue()
        self.reports.put_nowait(slots)
        self.watch_ended = asyncio.Event()

    async def WatchCapacity(self, _request, _context):
        try:
            while (slots := await self.reports.get()) is not None:
                capacity = pb.Capacity(device="cpu", training_slots=4, free_training_slots=slots)
                yield pb.WatchCapacityResponse(capacity=capacity)
        finally:
            self.watch_ended.set()

    async def Train(self, requests, context):
        await anext(requests)
        await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "no slot is free")
        yield


class BusyTrainer(FakeTrainer):
    """Runs a job until the call is cancelled."""

    def __init__(self) -> None:
        super().__init__()
        self.send_heartbeat = asyncio.Event()
        self.train_ended = asyncio.Event()

    async def Train(self, _requests, _context):
        try:
            while True:
                yield pb.TrainResponse(heartbeat=pb.TrainResponse.Heartbeat())
                await self.send_heartbeat.wait()
                self.send_heartbeat.clear()
        finally:
            self.train_ended.set()


class ScriptedResolver:
    """A resolver that gives the test's answers or errors, one per call."""

    def __init__(self) -> None:
        self._answers: asyncio.Queue[list[str] | OSError] = asyncio.Queue()
        self._calls = 0

    async def __call__(self, _host: str, _port: int) -> list[str]:
        if self._calls:
            self._answers.task_done()
        answer = await self._answers.get()
        self._calls += 1
        if isinstance(answer, OSError):
            raise answer
        return answer

    async def answer(self, *answers: list[str] | OSError) -> None:
        """Gives these answers. Returns when all have been processed."""
        for answer in answers:
            self._answers.put_nowait(answer)
        await self._answers.join()


@asynccontextmanager
async def serving(trainer: FakeTrainer, port: int = 0, host: str = "127.0.0.1"):
    """Serves the trainer inside the block and yields its address."""
    server = aio.server(options=[("grpc.so_reuseport", 0)])
    trainer_service_pb2_grpc.add_TrainerServiceServicer_to_server(trainer, server)
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
    """Waits for a change of the trainers that makes the condition true."""
    with trainers.subscribe() as changed:
        while not condition():
            await changed.wait()
            changed.clear()
