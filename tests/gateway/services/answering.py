"""A gateway with a trainer that answers detections, and a call of it."""

from contextlib import asynccontextmanager

import grpc
from grpc import aio

from earmark.v1 import detection_service_pb2 as pb
from earmark.v1.detection_service_pb2_grpc import DetectionServiceStub
from tests.client.whole_trainer import WholeTrainer
from tests.gateway.calls import opened
from tests.gateway.scripted_trainer import serving


class Trainer(WholeTrainer):
    """Records the key of each detection's weights."""

    def __init__(self) -> None:
        super().__init__()
        self.weights: list[str] = []

    async def Detect(self, requests, context):
        self.weights.append((await anext(requests)).start.weights)
        async for response in super().Detect(requests, context):
            yield response


@asynccontextmanager
async def detecting(database_url, data_dir):
    """Runs a gateway with a trainer inside the block and yields both."""
    trainer = Trainer()
    async with (
        serving(trainer) as address,
        opened(database_url, data_dir, trainers=address) as gateway,
    ):
        yield gateway, trainer


async def detect(gateway, name: str) -> list[pb.DetectResponse]:
    """The whole reply, as soon as the gateway knows its trainer."""
    requests = [pb.DetectRequest(start={"model_id": name}), pb.DetectRequest(data=b"x")]
    while True:
        try:
            call = DetectionServiceStub(gateway.channel).Detect(iter(requests))
            return [response async for response in call]
        except aio.AioRpcError as error:
            if error.code() != grpc.StatusCode.UNAVAILABLE:
                raise
