"""The aliases of models: they move at once, always name a model that can detect, and keep every move."""

import asyncio
from uuid import uuid4

import pytest
import pytest_asyncio

from earmark.gateway.rules.models import MOST_ALIASES
from earmark.storage.database import Connection
from earmark.v1 import model_service_pb2 as pb
from earmark.v1 import training_service_pb2
from earmark.v1.model_service_pb2_grpc import ModelServiceStub
from earmark.v1.training_service_pb2_grpc import TrainingServiceStub
from tests.gateway import rows
from tests.gateway.calls import refused, together
from tests.gateway.model_rows import model, one_model

ALIAS = "calls@production"


class Models:
    """The calls of one gateway's ModelService."""

    def __init__(self, gateway, database_url: str) -> None:
        self.gateway = gateway
        self.stub = ModelServiceStub(gateway.channel)
        self._database_url = database_url

    async def active(self, **columns) -> str:
        return await one_model(self._database_url, active=True, **columns)

    async def get(self, name: str) -> pb.Model:
        return (await self.stub.GetModel(pb.GetModelRequest(model_id=name))).model

    async def set(self, alias: str, name: str, **fields) -> pb.ModelAlias:
        request = pb.SetModelAliasRequest(alias=alias, model_id=name, **fields)
        return (await self.stub.SetModelAlias(request)).model_alias

    async def remove(self, alias: str, **fields) -> None:
        await self.stub.DeleteModelAlias(pb.DeleteModelAliasRequest(alias=alias, **fields))

    async def aliases(self, **fields) -> list[str]:
        return [each.alias for each in (await self._page(**fields)).model_aliases]

    async def moves(self, alias: str = ALIAS) -> list[pb.ModelAliasMove]:
        request = pb.ListModelAliasMovesRequest(alias=alias)
        return list((await self.stub.ListModelAliasMoves(request)).moves)

    async def deactivate(self, model_id: str) -> None:
        request = pb.UpdateModelRequest(model={"id": model_id}, update_mask={"paths": ["is_active"]})
        await self.stub.UpdateModel(request)

    async def _page(self, **fields) -> pb.ListModelAliasesResponse:
        return await self.stub.ListModelAliases(pb.ListModelAliasesRequest(**fields))


@pytest_asyncio.fixture
async def models(gateway, database_url):
    return Models(gateway, database_url)


async def test_an_alias_names_its_model_until_it_moves(models) -> None:
    first, second = await models.active(name="first"), await models.active(name="second")
    made = await models.set(ALIAS, first)
    assert (made.alias, made.model_id) == (ALIAS, first)
    assert (await models.get(ALIAS)).name == "first"
    assert list((await models.get(first)).aliases) == [ALIAS]
    moved = await models.set(ALIAS, second)
    assert moved.etag != made.etag
    assert (await models.get(ALIAS)).name == "second"
    assert list((await models.get(first)).aliases) == []
    [listed, _] = (await models.stub.ListModels(pb.ListModelsRequest())).models
    assert (listed.name, list(listed.aliases)) == ("second", [ALIAS])


async def test_an_alias_can_move_to_what_another_one_names(models) -> None:
    model_id = await models.active()
    await models.set("calls@staging", model_id)
    assert (await models.set(ALIAS, "calls@staging")).model_id == model_id
    assert list((await models.get(ALIAS)).aliases) == [ALIAS, "calls@staging"]


async def test_every_move_is_kept_also_the_removal_and_after_the_models_are_gone(models) -> None:
    first, second = await models.active(), await models.active()
    etags = [(await models.set(ALIAS, name)).etag for name in (first, second)]
    await models.remove(ALIAS)
    etags.append((await models.set(ALIAS, first)).etag)
    for model_id in (first, second):
        await models.stub.DeleteModel(pb.DeleteModelRequest(model_id=model_id, force=True))
    moves = await models.moves()
    assert [(move.from_model_id, move.to_model_id) for move in reversed(moves)] == [
        ("", first),
        (first, second),
        (second, ""),
        ("", first),
        (first, ""),
    ]
    assert {move.moved_by for move in moves} == {"ipv4:127.0.0.1"}
    assert [moves[4].etag, moves[3].etag, moves[1].etag] == etags
    assert len({move.etag for move in moves}) == 5
    times = [move.moved_at.ToDatetime() for move in moves]
    assert times == sorted(times, reverse=True)


async def test_to_set_an_alias_again_is_no_move(models) -> None:
    model_id = await models.active()
    assert await models.set(ALIAS, model_id) == await models.set(ALIAS, model_id)
    assert len(await models.moves()) == 1


async def test_a_stale_etag_moves_and_removes_nothing(models) -> None:
    first, second = await models.active(), await models.active()
    stale = (await models.set(ALIAS, first)).etag
    current = (await models.set(ALIAS, second, etag=stale)).etag
    for call in (models.set(ALIAS, first, etag=stale), models.remove(ALIAS, etag=stale)):
        assert (await refused(call, "ABORTED", "STALE_ETAG")).info.metadata["current_etag"] == current
    assert (await models.get(ALIAS)).id == second
    await models.remove(ALIAS, etag=current)
    # A new alias of the same name has none of the earlier etags.
    assert (await models.set(ALIAS, first)).etag not in (stale, current)


async def test_of_two_moves_with_one_etag_one_is_refused(models) -> None:
    etag = (await models.set(ALIAS, await models.active())).etag
    others = [await models.active() for _ in range(2)]
    results = await together(*(models.set(ALIAS, other, etag=etag) for other in others))
    [won] = [result for result in results if isinstance(result, pb.ModelAlias)]
    assert (await models.get(ALIAS)).id == won.model_id
    assert len(await models.moves()) == 2


async def test_moves_at_the_same_time_come_one_after_the_other(models) -> None:
    chosen = [await models.active() for _ in range(6)]
    await asyncio.gather(*(models.set(ALIAS, model_id) for model_id in chosen))
    moves = (await models.moves())[::-1]
    assert [move.from_model_id for move in moves] == ["", *(move.to_model_id for move in moves[:-1])]
    assert {move.to_model_id for move in moves} == set(chosen)
    assert (await models.get(ALIAS)).id == moves[-1].to_model_id


async def test_a_repeated_move_gives_the_first_reply(models) -> None:
    first, second = await models.active(), await models.active()
    key = {"request_id": str(uuid4())}
    made = await models.set(ALIAS, first, **key)
    await models.set(ALIAS, second)
    assert await models.set(ALIAS, first, **key) == made
    assert (await models.get(ALIAS)).id == second


@pytest.mark.parametrize("state", ["inactive", "archived"])
async def test_an_alias_names_only_what_can_detect(models, database_url, state) -> None:
    model_id = await one_model(database_url, active=state == "archived")
    if state == "archived":
        await models.stub.DeleteModel(pb.DeleteModelRequest(model_id=model_id))
    refusal = await refused(models.set(ALIAS, model_id), "FAILED_PRECONDITION", "WRONG_STATE")
    assert refusal.info.metadata["state"] == state
    assert await models.aliases() == []


async def test_a_model_with_aliases_is_neither_deactivated_nor_archived(models) -> None:
    model_id = await models.active()
    for alias in (ALIAS, "calls@staging"):
        await models.set(alias, model_id)
    archive = pb.DeleteModelRequest(model_id=model_id)
    for call in (models.deactivate(model_id), models.stub.DeleteModel(archive)):
        refusal = await refused(call, "FAILED_PRECONDITION", "IN_USE")
        assert [violation[:2] for violation in refusal.violations] == [
            ("IN_USE", f"model_alias/{alias}") for alias in (ALIAS, "calls@staging")
        ]
        assert "SetModelAlias" in refusal.message
    assert (await models.get(ALIAS)).is_active
    # Any other change is allowed.
    rename = pb.UpdateModelRequest(model={"id": model_id, "name": "x"}, update_mask={"paths": ["name"]})
    assert (await models.stub.UpdateModel(rename)).model.name == "x"
    for alias in (ALIAS, "calls@staging"):
        await models.remove(alias)
    await models.deactivate(model_id)
    await models.stub.DeleteModel(archive)


async def test_a_model_is_not_deactivated_while_it_gets_an_alias(models) -> None:
    model_id = await models.active()
    async with models.gateway.database.transaction() as connection:
        await connection.execute("SELECT FROM models FOR UPDATE")
        naming = asyncio.ensure_future(models.set(ALIAS, model_id))
        await _until_waiting(connection, 1)
        deactivation = asyncio.ensure_future(models.deactivate(model_id))
        await _until_waiting(connection, 2)
    assert (await naming).model_id == model_id
    await refused(deactivation, "FAILED_PRECONDITION", "IN_USE")


async def _until_waiting(connection: Connection, count: int) -> None:
    """Returns when so many transactions wait for a row."""
    query = "SELECT count(DISTINCT pid) FROM pg_locks WHERE NOT granted"
    while await connection.fetchval(query) < count:
        pass


async def test_an_unknown_alias_is_not_found_and_the_error_names_its_neighbours(models) -> None:
    model_id = await models.active()
    await models.set(ALIAS, model_id)
    await models.set("callsxyz@production", model_id)
    await models.set("calls@old", model_id)
    await models.remove("calls@old")
    refusal = await refused(models.get("calls@prod"), "NOT_FOUND", "NOT_FOUND")
    assert refusal.resource == ("model_alias", "calls@prod")
    assert refusal.message == (
        "there is no model alias calls@prod: there are calls@production; ListModelAliases lists all"
    )
    for call in (
        models.get("other@prod"),
        models.get("calls_@old"),
        models.set(ALIAS, "other@prod"),
        models.set("other@prod", model_id, etag="v1"),
        models.remove("other@prod"),
        models.moves("other@prod"),
    ):
        assert "ListModelAliases" in (await refused(call, "NOT_FOUND", "NOT_FOUND")).message
    await refused(models.get("calls@old"), "NOT_FOUND", "NOT_FOUND")
    await refused(models.remove("calls@old"), "NOT_FOUND", "NOT_FOUND")


MODEL_ID = "019a9f50-77c3-7e81-bb02-1a2b3c4d5e66"
NO_ALIASES = [
    *(
        "production",
        "@production",
        "calls@",
        "Calls@production",
        "calls@pro duction",
        "calls@a@b",
        "calls@b\n",
    ),
    *("x" * 64 + "@production", "calls@" + "x" * 64, "żółw@production", MODEL_ID, ""),
]


@pytest.mark.parametrize("alias", NO_ALIASES)
async def test_what_is_no_alias_is_refused_with_an_example(models, alias) -> None:
    model_id = await models.active()
    for call in (models.set(alias, model_id), models.remove(alias), models.moves(alias)):
        refusal = await refused(call, "INVALID_ARGUMENT", "INVALID_FIELD")
        assert list(refusal.fields) == ["alias"]
        assert "calls@production" in refusal.message


async def test_the_longest_alias_and_every_allowed_character_are_accepted(models) -> None:
    model_id = await models.active()
    for alias in ("a-z_0.9@" + "x" * 63, "y" * 63 + "@v1.2_rc-3"):
        await models.set(alias, model_id)
        assert (await models.get(alias)).id == model_id


@pytest.mark.parametrize("name", ["production", "019a9f50", "A@b", MODEL_ID + "\n"])
async def test_what_is_neither_an_id_nor_an_alias_is_refused(models, name) -> None:
    refusal = await refused(models.get(name), "INVALID_ARGUMENT", "INVALID_FIELD")
    assert list(refusal.fields) == ["model_id"]
    assert "calls@production" in refusal.message


async def test_a_model_has_no_more_aliases_than_its_message_may_have(models) -> None:
    model_id = await models.active()
    for number in range(MOST_ALIASES):
        await models.set(f"calls@{number}", model_id)
    refusal = await refused(models.set(ALIAS, model_id), "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED")
    assert (refusal.info.metadata["limit"], await models.aliases(aliases=[ALIAS])) == ("100", [])
    await models.set("calls@0", model_id)
    await models.set(ALIAS, await models.active())
    assert len((await models.get(model_id)).aliases) == MOST_ALIASES


async def test_a_list_is_alphabetical_paged_and_filtered(models) -> None:
    first, second = await models.active(), await models.active()
    named = {"b@x": first, "a.c@x": second, "a-b@x": first, "a@z": second, "a@b": first}
    for alias, model_id in named.items():
        await models.set(alias, model_id)
    await models.set("c@x", first)
    await models.remove("c@x")
    seen, token = [], ""
    while True:
        page = await models._page(page_size=2, page_token=token)
        seen += [each.alias for each in page.model_aliases]
        if not (token := page.next_page_token):
            break
        last = token
    assert seen == sorted(named)
    assert await models.aliases(model_ids=[second]) == ["a.c@x", "a@z"]
    assert await models.aliases(aliases=["b@x", "a@z", "c@x"]) == ["a@z", "b@x"]
    assert await models.aliases(model_ids=[first], aliases=["b@x", "a@z"]) == ["b@x"]
    await refused(models._page(model_ids=[first], page_token=last), "INVALID_ARGUMENT", "INVALID_PAGE_TOKEN")


async def test_the_moves_are_paged(models) -> None:
    chosen = [await models.active() for _ in range(2)]
    for number in range(5):
        await models.set(ALIAS, chosen[number % 2])
    seen, token = [], ""
    while True:
        request = pb.ListModelAliasMovesRequest(alias=ALIAS, page_size=2, page_token=token)
        page = await models.stub.ListModelAliasMoves(request)
        seen += page.moves
        if not (token := page.next_page_token):
            break
    assert seen == await models.moves()
    assert len(seen) == 5


async def test_nobody_sees_the_aliases_of_another_tenant(models) -> None:
    theirs = "INSERT INTO model_aliases (tenant_id, alias, model_id, moved_by) VALUES ('other', $1, $2, '')"
    async with models.gateway.database.transaction() as connection:
        model_id = await model(connection, tenant="other", active=True)
        await connection.execute(theirs, ALIAS, model_id)
    for call in (models.get(ALIAS), models.moves(), models.remove(ALIAS)):
        assert (await refused(call, "NOT_FOUND", "NOT_FOUND")).resource == ("model_alias", ALIAS)
    refusal = await refused(models.set(ALIAS, str(model_id)), "NOT_FOUND", "NOT_FOUND")
    assert refusal.resource == ("model", str(model_id))
    assert await models.aliases() == []
    await models.set(ALIAS, await models.active())
    assert len(await models.moves()) == 1


@pytest.mark.parametrize("validate_only", [False, True])
async def test_a_job_can_start_from_an_alias_and_shows_the_models_id(models, validate_only) -> None:
    async with models.gateway.database.transaction() as connection:
        built = await rows.dataset(connection)
    model_id = await models.active()
    await models.set(ALIAS, model_id)

    async def create(base: str) -> training_service_pb2.TrainingJob:
        request = training_service_pb2.CreateTrainingJobRequest(
            dataset_id=str(built.dataset_id),
            annotation_set_id=str(built.annotation_set_id),
            config={"artifact_types": ["glitch"], "base_model_id": base},
            validate_only=validate_only,
        )
        return (await TrainingServiceStub(models.gateway.channel).CreateTrainingJob(request)).training_job

    for base in (ALIAS, model_id.upper()):
        assert (await create(base)).config.base_model_id == model_id
    assert (await refused(create("calls@none"), "NOT_FOUND", "NOT_FOUND")).resource[0] == "model_alias"
    refusal = await refused(create("calls"), "INVALID_ARGUMENT", "INVALID_FIELD")
    assert list(refusal.fields) == ["config.base_model_id"]
