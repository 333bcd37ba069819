"""Which model answers a detection: that of the id, or the one that the alias names when the call begins."""

from earmark.v1 import model_service_pb2
from earmark.v1.model_service_pb2_grpc import ModelServiceStub
from tests.gateway.calls import refused
from tests.gateway.model_rows import one_model
from tests.gateway.services.answering import detect, detecting

ALIAS = "calls@production"


async def set_alias(gateway, model_id: str) -> None:
    request = model_service_pb2.SetModelAliasRequest(alias=ALIAS, model_id=model_id)
    await ModelServiceStub(gateway.channel).SetModelAlias(request)


async def test_the_reply_says_which_model_answered_by_alias_or_by_id(database_url, tmp_path) -> None:
    models = {
        key: await one_model(database_url, active=True, weights=key)
        for key in ("default/jobs/a", "default/jobs/b")
    }
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
