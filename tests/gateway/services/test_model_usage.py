"""Who uses a model: the jobs and models that start from it, and how often it detects."""

from datetime import UTC, datetime
from uuid import UUID

import pytest

from earmark.gateway import detection_counts
from earmark.gateway.detection_counts import DetectionCounts
from earmark.storage.database import Database, DatabaseUnavailableError
from earmark.storage.queries import model_aliases, models, training
from earmark.v1 import model_service_pb2 as pb
from earmark.v1.model_service_pb2_grpc import ModelServiceStub
from tests.gateway import rows
from tests.gateway.calls import opened, refused
from tests.gateway.model_rows import CONFIG, model, one_model
from tests.gateway.services.answering import detect, detecting

ALIAS = "calls@production"


async def usage(gateway, name: str) -> pb.ModelUsage:
    request = pb.GetModelUsageRequest(model_id=name)
    return (await ModelServiceStub(gateway.channel).GetModelUsage(request)).usage


async def job(connection, base: UUID, job_id: UUID, *, tenant: str = rows.TENANT) -> str:
    built = await rows.dataset(connection, tenant=tenant)
    config = CONFIG | {"base_model_id": str(base)}
    ids = job_id, built.dataset_id, built.annotation_set_id
    return str((await training.create(connection, tenant, *ids, config, {}, {"created": {}})).id)


async def test_the_usage_names_aliases_unfinished_jobs_and_derived_models(
    gateway, database_url, monkeypatch
) -> None:
    monkeypatch.setattr("earmark.gateway.services.models.MOST_USERS", 2)
    async with gateway.database.transaction() as connection:
        base = await model(connection, active=True)
        await model_aliases.set_model(connection, rows.TENANT, ALIAS, base, "")
        from_base = CONFIG | {"base_model_id": str(base)}
        derived = [str(await model(connection, config=from_base)) for _ in range(3)]
        await models.archive(connection, rows.TENANT, await model(connection, config=from_base))
        jobs = [await job(connection, base, UUID(int=number)) for number in range(1, 4)]
        await training.cancel_waiting(connection, rows.TENANT, UUID(jobs[0]), {"created": {}})
    await one_model(database_url, config=from_base, tenant="other")
    for name in (str(base), ALIAS):
        shown = await usage(gateway, name)
        assert (shown.model_id, list(shown.aliases)) == (str(base), [ALIAS])
        assert (list(shown.training_job_ids), shown.training_job_count) == ([jobs[2], jobs[1]], 2)
        assert (list(shown.derived_model_ids), shown.derived_model_count) == ([derived[2], derived[1]], 3)
    unused = await usage(gateway, derived[0])
    assert unused == pb.ModelUsage(model_id=derived[0])


async def test_the_usage_of_no_model_is_not_found(gateway, database_url) -> None:
    for name in (await one_model(database_url, tenant="other"), ALIAS):
        await refused(usage(gateway, name), "NOT_FOUND", "NOT_FOUND")


async def test_detections_are_counted_and_written_at_the_latest_when_the_gateway_stops(
    database_url, tmp_path
) -> None:
    used, unused = [await one_model(database_url, active=True) for _ in range(2)]
    before = datetime.now(UTC).replace(microsecond=0)
    async with detecting(database_url, tmp_path) as (gateway, _):
        for _ in range(2):
            await detect(gateway, used)
        await refused(detect(gateway, ALIAS), "NOT_FOUND", "NOT_FOUND")
        assert await gateway.count("model_detections") == 0
    async with opened(database_url, tmp_path) as gateway:
        shown = await usage(gateway, used)
        assert shown.detection_count == 2
        assert before <= shown.last_detected_at.ToDatetime(UTC) <= datetime.now(UTC)
        assert not (await usage(gateway, unused)).HasField("last_detected_at")


async def test_detections_are_also_written_regularly(database_url, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(detection_counts, "WRITE_SECONDS", 0.01)
    model_id = await one_model(database_url, active=True)
    async with detecting(database_url, tmp_path) as (gateway, _):
        await detect(gateway, model_id)
        while not (await usage(gateway, model_id)).detection_count:
            pass


async def test_a_write_adds_to_what_other_gateways_wrote_and_leaves_out_deleted_models(database_url) -> None:
    first, second = [UUID(await one_model(database_url)) for _ in range(2)]
    gone = UUID(int=7)
    async with Database(database_url) as database:
        for counts in (DetectionCounts(), DetectionCounts()):
            for model_id in (second, gone, first, second):
                counts.add(model_id)
            for _ in range(2):
                await counts.write(database)
        async with database.connection() as connection:
            found = await connection.fetch("SELECT model_id, count FROM model_detections")
    assert {tuple(row) for row in found} == {(first, 2), (second, 4)}


async def test_what_cannot_be_written_is_written_later(database_url) -> None:
    model_id, counts = UUID(await one_model(database_url)), DetectionCounts()
    async with Database(database_url) as closed:
        pass
    for _ in range(2):
        counts.add(model_id)
        with pytest.raises(DatabaseUnavailableError):
            await counts.write(closed)
    async with Database(database_url) as database:
        await counts.write(database)
        async with database.connection() as connection:
            assert await connection.fetchval("SELECT count FROM model_detections") == 2
