"""ModelService, with a real database."""

import asyncpg
import pytest
import pytest_asyncio
from uuid_utils.compat import uuid7

from earmark.storage.database import Database
from earmark.storage.queries import models
from earmark.v1 import metrics_pb2 as pb_metrics
from earmark.v1 import model_service_pb2 as pb
from earmark.v1.model_service_pb2_grpc import ModelServiceStub
from tests.gateway.calls import refused
from tests.gateway.model_rows import CONFIG, model, one_model


@pytest_asyncio.fixture
async def stub(gateway):
    return ModelServiceStub(gateway.channel)


async def get(stub, model_id: str) -> pb.Model:
    return (await stub.GetModel(pb.GetModelRequest(model_id=model_id))).model


async def names(stub, **arguments) -> list[str]:
    return [m.name for m in (await stub.ListModels(pb.ListModelsRequest(**arguments))).models]


async def update(stub, paths: str, etag: str = "", request_id: str = "", **fields) -> pb.Model:
    request = pb.UpdateModelRequest(model=pb.Model(etag=etag, **fields), request_id=request_id)
    request.update_mask.FromJsonString(paths)
    return (await stub.UpdateModel(request)).model


async def test_a_new_model_has_its_jobs_results_and_is_inactive(stub, database_url) -> None:
    model_id = await one_model(database_url, types=("glitch", "dropout"))
    read = await get(stub, model_id)
    assert (read.name, read.description, read.is_active) == ("glitch, dropout", "", False)
    assert list(read.artifact_types) == ["glitch", "dropout"]
    assert read.recommended_thresholds == {"glitch": 0.4}
    assert read.merge_windows_ms == {"glitch": 30, "dropout": 30}
    assert read.min_durations_ms == {"glitch": 0, "dropout": 0}
    assert (read.size_bytes, read.sha256) == (1234, "ab" * 32)
    assert (read.config.epochs, read.config.seed) == (CONFIG["epochs"], CONFIG["seed"])
    assert read.best_epoch == 2
    assert not read.HasField("deleted_at")
    assert read.created_at == read.updated_at


async def test_a_metric_without_a_value_is_unset(stub, database_url) -> None:
    metrics = (await get(stub, await one_model(database_url))).eval_metrics
    assert metrics.overall.precision == pytest.approx(0.9)
    assert not metrics.overall.HasField("f1_score")


async def test_a_job_has_at_most_one_model(database_url) -> None:
    async with Database(database_url) as database, database.connection() as connection:
        first = await models.get(connection, "default", await model(connection))
        with pytest.raises(asyncpg.UniqueViolationError, match="models_one_per_job"):
            await model(connection, training_job_id=first.training_job_id)


async def test_lists_are_newest_first_and_filtered(stub, database_url) -> None:
    async with Database(database_url) as database, database.connection() as connection:
        await model(connection, types=("glitch",), name="first")
        second = await model(connection, types=("glitch", "echo"), name="second", active=True)
        third = await model(connection, types=("echo",), name="third")
        await models.archive(connection, "default", third)
    dataset_id = (await get(stub, str(second))).dataset_id
    assert await names(stub) == ["second", "first"]
    assert await names(stub, show_deleted=True) == ["third", "second", "first"]
    assert await names(stub, is_active=True) == ["second"]
    assert await names(stub, is_active=False) == ["first"]
    assert await names(stub, artifact_types=["echo", "hum"]) == ["second"]
    assert await names(stub, artifact_types=["ech"]) == []
    assert await names(stub, dataset_ids=[dataset_id], is_active=True, artifact_types=["glitch"]) == [
        "second"
    ]
    assert await names(stub, dataset_ids=[str(uuid7())]) == []


async def test_models_are_found_by_name_and_by_its_beginning_in_any_case(stub, database_url) -> None:
    async with Database(database_url) as database, database.connection() as connection:
        for name in ("Calls v1", "calls v2", "100% calls", "Călls", "CĂLLS v2", "a_b", "axb", "a\\b"):
            await model(connection, name=name)
        await model(connection, name="calls v1", tenant="other")
    assert await names(stub, names=["CALLS V1", "axb", "calls"]) == ["axb", "Calls v1"]
    assert await names(stub, name_prefix="CALLS") == ["calls v2", "Calls v1"]
    assert await names(stub, name_prefix="călls") == ["CĂLLS v2", "Călls"]
    assert await names(stub, name_prefix="alls") == []
    for literal, found in {"a_": ["a_b"], "100%": ["100% calls"], "%": [], "a\\": ["a\\b"]}.items():
        assert await names(stub, name_prefix=literal) == found
    assert await names(stub, name_prefix="calls", names=["calls v2"], is_active=False) == ["calls v2"]


async def test_a_list_has_the_curves_only_in_the_full_view_and_200_types_fit(stub, database_url) -> None:
    curve = [{"threshold": t / 20, "precision": 0.5, "recall": 0.25} for t in range(1, 20)]
    names_of_types = [f"type {i}" for i in range(200)]
    figures = {"precision": 0.5, "support": 3, "precision_recall_curve": curve}
    metrics = {"per_type": dict.fromkeys(names_of_types, figures), "macro_f1_score": 0.5}
    async with Database(database_url) as database, database.connection() as connection:
        for _ in range(45):
            await model(connection, eval_metrics=metrics)
    sizes = {}
    for view in (pb_metrics.METRICS_VIEW_UNSPECIFIED, pb_metrics.METRICS_VIEW_FULL):
        page = await stub.ListModels(pb.ListModelsRequest(view=view))
        sizes[view] = len(page.models)
        listed = page.models[0].eval_metrics
        assert listed.per_type["type 7"].support == 3
        points = len(listed.per_type["type 7"].precision_recall_curve)
        assert points == (19 if view == pb_metrics.METRICS_VIEW_FULL else 0)
    assert sizes[pb_metrics.METRICS_VIEW_UNSPECIFIED] == 45
    assert 0 < sizes[pb_metrics.METRICS_VIEW_FULL] < 45
    full = await get(stub, page.models[0].id)
    assert full.eval_metrics == listed


async def test_pages_have_every_model_once_and_a_token_is_bound_to_the_filters(stub, database_url) -> None:
    async with Database(database_url) as database, database.connection() as connection:
        for number in range(5):
            await model(connection, name=str(number))
    seen, token = [], ""
    while True:
        page = await stub.ListModels(pb.ListModelsRequest(page_size=2, page_token=token))
        seen += [m.name for m in page.models]
        token = page.next_page_token
        if not token:
            break
        last = token
    assert seen == ["4", "3", "2", "1", "0"]
    call = stub.ListModels(pb.ListModelsRequest(show_deleted=True, page_token=last))
    await refused(call, "INVALID_ARGUMENT", "INVALID_PAGE_TOKEN")


async def test_an_update_changes_what_the_mask_names(stub, database_url) -> None:
    model_id = await one_model(database_url)
    before = await get(stub, model_id)
    after = await update(stub, "isActive,name", id=model_id, name="v1", description="no", is_active=True)
    assert (after.name, after.description, after.is_active) == ("v1", "", True)
    assert await names(stub, name_prefix="V") == ["v1"]
    assert after.etag != before.etag
    assert after == await get(stub, model_id)
    assert not (await update(stub, "isActive", id=model_id)).is_active


async def test_an_update_of_anything_else_or_of_nothing_is_refused(stub, database_url) -> None:
    model_id = await one_model(database_url)
    for paths in ("sha256", "name,artifactTypes", ""):
        call = update(stub, paths, id=model_id, name="v1")
        await refused(call, "INVALID_ARGUMENT", "INVALID_UPDATE_MASK")


async def test_an_empty_name_is_refused(stub, database_url) -> None:
    model_id = await one_model(database_url)
    refusal = await refused(update(stub, "name", id=model_id), "INVALID_ARGUMENT", "INVALID_FIELD")
    assert list(refusal.fields) == ["model.name"]


async def test_a_stale_etag_changes_nothing(stub, database_url) -> None:
    model_id = await one_model(database_url)
    stale = (await get(stub, model_id)).etag
    current = (await update(stub, "name", id=model_id, name="new", etag=stale)).etag
    call = update(stub, "name", id=model_id, name="x", etag=stale)
    assert (await refused(call, "ABORTED", "STALE_ETAG")).info.metadata["current_etag"] == current
    assert (await get(stub, model_id)).name == "new"


async def test_a_repeated_update_gives_the_first_reply(stub, database_url) -> None:
    model_id, request_id = await one_model(database_url), str(uuid7())
    first = await update(stub, "name", id=model_id, name="a", request_id=request_id)
    await update(stub, "name", id=model_id, name="b")
    assert await update(stub, "name", id=model_id, name="a", request_id=request_id) == first
    assert (await get(stub, model_id)).name == "b"


async def test_an_archived_model_is_hidden_readable_and_unchangeable(stub, database_url) -> None:
    model_id = await one_model(database_url, active=True)
    await stub.DeleteModel(pb.DeleteModelRequest(model_id=model_id))
    archived = await get(stub, model_id)
    assert archived.HasField("deleted_at")
    assert archived.is_active
    assert await names(stub) == []
    call = update(stub, "name", id=model_id, name="x")
    refusal = await refused(call, "FAILED_PRECONDITION", "WRONG_STATE")
    [(_, subject, description)] = refusal.violations
    assert (subject, refusal.info.metadata["state"]) == (f"model/{model_id}", "archived")
    assert "UndeleteModel" in description


async def test_archiving_twice_has_no_further_effect(stub, database_url) -> None:
    model_id = await one_model(database_url)
    await stub.DeleteModel(pb.DeleteModelRequest(model_id=model_id))
    once = await get(stub, model_id)
    await stub.DeleteModel(pb.DeleteModelRequest(model_id=model_id))
    assert await get(stub, model_id) == once


async def test_undelete_restores_a_model_unchanged(stub, database_url) -> None:
    model_id = await one_model(database_url, active=True)
    await stub.DeleteModel(pb.DeleteModelRequest(model_id=model_id))
    restored = (await stub.UndeleteModel(pb.UndeleteModelRequest(model_id=model_id))).model
    assert restored.is_active
    assert not restored.HasField("deleted_at")
    assert await names(stub) == ["glitch"]


async def test_a_live_model_cannot_be_undeleted(stub, database_url) -> None:
    model_id = await one_model(database_url)
    call = stub.UndeleteModel(pb.UndeleteModelRequest(model_id=model_id))
    assert (await refused(call, "ALREADY_EXISTS", "ALREADY_EXISTS")).resource == ("model", model_id)


@pytest.mark.parametrize("whose", ["nobody's", "another tenant's"])
async def test_a_model_of_another_tenant_or_of_nobody_is_not_found(stub, database_url, whose) -> None:
    model_id = str(uuid7()) if whose == "nobody's" else await one_model(database_url, tenant="other")
    for call in (
        get(stub, model_id),
        update(stub, "name", id=model_id, name="x"),
        stub.DeleteModel(pb.DeleteModelRequest(model_id=model_id)),
        stub.UndeleteModel(pb.UndeleteModelRequest(model_id=model_id)),
    ):
        assert (await refused(call, "NOT_FOUND", "NOT_FOUND")).resource == ("model", model_id)
    assert await names(stub, show_deleted=True) == []
