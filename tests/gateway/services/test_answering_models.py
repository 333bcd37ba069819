"""Which model answers a detection: that of the id, or the one that the alias names when the call begins."""

from contextlib import asynccontextmanager

import grpc
from grpc import aio

from earmark.v1 import detection_service_pb2 as pb
from earmark.v1 import model_service_pb2
from earmark.v1.detection_service_pb2_grpc import DetectionServiceStub
from earmark.v1.model_service_pb2_grpc import ModelServiceStub
from tests.client.whole_trainer import WholeTrainer
from tests.gateway.calls import opened, refused
from tests.gateway.model_rows import one_model
from tests.gateway.scripted_trainer import serving

ALIAS = "calls@production"


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


async def set_alias(gateway, model_id: str) -> None:
    request = model_service_pb2.SetModelAliasRequest(alias=ALIAS, model_id=model_id)
    await ModelServiceStub(gateway.channel).SetModelAlias(request)


async def test_the_reply_says_which_model_answered_by_alias_or_by_id(database_url, tmp_path) -> None:
    models = {key: await one_model(database_url, active=True, weights=key) for key in ("jobs/a", "jobs/b")}
    async with detecting(database_url, tmp_path) as (gateway, trainer):
        for model_id in models.values():
            await set_alias(gateway, model_id)
            *_, last = await detect(gateway, ALIAS)
            assert last.summary.model_id == model_id
            *_, last = await detect(gateway, model_id.upper())
            assert last.summary.model_id == model_id
        assert trainer.weights == [key for key in models for _ in range(2)]


async def test_an_unknown_alias_is_refused_with_its_neighbours(database_url, tmp_path) -> None:
    async with detecting(database_url, tmp_path) as (gateway, _):
        await set_alias(gateway, await one_model(database_url, active=True))
        refusal = await refused(detect(gateway, "calls@prod"), "NOT_FOUND", "NOT_FOUND")
        assert refusal.resource == ("model_alias", "calls@prod")
        assert ALIAS in refusal.message
        refusal = await refused(detect(gateway, "calls"), "INVALID_ARGUMENT", "INVALID_FIELD")
        assert list(refusal.fields) == ["start.model_id"]
