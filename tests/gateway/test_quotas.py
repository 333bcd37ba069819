"""What a tenant may use: the limits, their use, and the refusals."""

import asyncio
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio

from earmark.gateway.errors import QuotaError
from earmark.gateway.quotas import Limits, Quotas
from earmark.gateway.services.detection import _Searched
from earmark.storage.database import Database, DatabaseUnavailableError
from earmark.storage.queries import quotas as stored_quotas
from earmark.v1 import admin_service_pb2 as pb
from earmark.v1 import dataset_service_pb2
from earmark.v1 import detection_service_pb2 as detection_pb
from earmark.v1 import training_service_pb2 as training_pb
from earmark.v1.audio_service_pb2 import DeleteAudioFileRequest
from earmark.v1.detection_service_pb2_grpc import DetectionServiceStub
from earmark.v1.training_service_pb2_grpc import TrainingServiceStub
from tests.gateway import model_rows, rows
from tests.gateway.calls import finish_processing, messages, opened, refused, together
from tests.gateway.two_tenants import OTHER, OWN, bearer, installed

STORED = ("storage_bytes", "audio_seconds", "files")


@pytest_asyncio.fixture
async def here(database_url, tmp_path):
    async with installed(database_url, tmp_path) as installation:
        yield installation


async def set_quota(here, tenant=OWN, **limits) -> pb.TenantQuota:
    request = pb.SetTenantQuotaRequest(tenant_id=tenant, quota=limits, update_mask={"paths": [*limits]})
    return (await here.admin.SetTenantQuota(request, metadata=bearer(here.operator))).quota


async def usage(here, tenant=OWN) -> dict[str, pb.TenantLimit]:
    request = pb.GetTenantUsageRequest(tenant_id=tenant)
    reply = await here.admin.GetTenantUsage(request, metadata=bearer(here.operator))
    return {limit.name: limit for limit in reply.limits}


async def used(here, *names) -> tuple[int, ...]:
    found = await usage(here)
    return tuple(found[name].used for name in names)


async def create_dataset(here, tenant=OWN) -> str:
    request = dataset_service_pb2.CreateDatasetRequest(name="calls", artifact_types=[{"name": "glitch"}])
    metadata = bearer(here.keys[tenant])
    return (await here.gateway.datasets.CreateDataset(request, metadata=metadata)).dataset.id


async def upload(here, dataset_id, data=b"RIFF", tenant=OWN):
    requests = iter(messages(dataset_id, data))
    return (await here.gateway.audio.UploadAudio(requests, metadata=bearer(here.keys[tenant]))).audio_file


async def exceeded(call, name, limit, use, tenant=OWN):
    """The refusal of a call that this limit does not allow."""
    refusal = await refused(call, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED")
    [violation] = refusal.details["google.rpc.QuotaFailure"].violations
    assert violation.subject == f"tenant/{tenant}/{name}"
    assert dict(refusal.info.metadata) == {"limit": str(limit), "used": str(use)}
    return refusal


async def test_limits_are_the_settings_unless_the_tenant_has_its_own(database_url, tmp_path) -> None:
    async with installed(database_url, tmp_path, max_tenant_files=7, max_tenant_storage_mb=1) as here:
        shown = await usage(here)
        assert [*shown] == [field.name for field in pb.TenantQuota.DESCRIPTOR.fields]
        assert (shown["files"].limit, shown["storage_bytes"].limit) == (7, 1 << 20)
        assert all(limit.is_default for limit in shown.values())
        assert await set_quota(here, files=0, streams=3) == pb.TenantQuota(files=0, streams=3)
        shown = await usage(here)
        assert (shown["files"].limit, shown["files"].is_default) == (0, False)
        assert (shown["streams"].limit, shown["storage_bytes"].limit) == (3, 1 << 20)
        assert (await usage(here, OTHER))["files"].limit == 7
        request = pb.SetTenantQuotaRequest(tenant_id=OWN, quota={}, update_mask={"paths": ["files"]})
        reply = await here.admin.SetTenantQuota(request, metadata=bearer(here.operator))
        assert reply.quota == pb.TenantQuota(streams=3)
        assert (await usage(here))["files"].is_default


async def test_wrong_quotas_are_refused(here) -> None:
    metadata = bearer(here.operator)
    for fields, code, reason in (
        ({"tenant_id": "nobody", "quota": {}, "update_mask": {"paths": ["files"]}}, "NOT_FOUND", "NOT_FOUND"),
        (
            {"tenant_id": OWN, "quota": {}, "update_mask": {"paths": ["x"]}},
            "INVALID_ARGUMENT",
            "INVALID_UPDATE_MASK",
        ),
        ({"tenant_id": OWN, "quota": {}}, "INVALID_ARGUMENT", "INVALID_FIELD"),
        (
            {"tenant_id": OWN, "quota": {"files": -1}, "update_mask": {"paths": ["files"]}},
            "INVALID_ARGUMENT",
            "INVALID_FIELD",
        ),
    ):
        await refused(
            here.admin.SetTenantQuota(pb.SetTenantQuotaRequest(**fields), metadata=metadata), code, reason
        )
    await refused(
        here.admin.GetTenantUsage(pb.GetTenantUsageRequest(tenant_id="nobody"), metadata=metadata),
        "NOT_FOUND",
        "NOT_FOUND",
    )


async def test_what_is_stored_is_counted_and_limited(here) -> None:
    dataset_id = await create_dataset(here)
    await set_quota(here, storage_bytes=100, files=3, audio_seconds=60)
    first = await upload(here, dataset_id, bytes(60))
    refusal = await exceeded(upload(here, dataset_id, bytes(41)), "storage_bytes", 100, 60)
    assert "google.rpc.RetryInfo" not in refusal.details
    recording = [
        detection_pb.UploadRecordingRequest(metadata={"filename": "x.wav", "size_bytes": 40}),
        detection_pb.UploadRecordingRequest(part={"data": bytes(40)}),
    ]
    detection, metadata = DetectionServiceStub(here.gateway.channel), bearer(here.keys[OWN])
    await detection.UploadRecording(iter(recording), metadata=metadata)
    await exceeded(detection.UploadRecording(iter(recording), metadata=metadata), "storage_bytes", 100, 100)
    await set_quota(here, storage_bytes=0)
    await upload(here, dataset_id)
    await exceeded(upload(here, dataset_id), "files", 3, 3)
    await set_quota(here, files=4)
    assert await used(here, *STORED) == (104, 0, 3)
    await finish_processing(here.gateway, duration_ms=30_000)
    assert await used(here, *STORED) == (104, 60, 3)
    await exceeded(upload(here, dataset_id), "audio_seconds", 60, 60)
    await upload(here, await create_dataset(here, OTHER), tenant=OTHER)
    request = DeleteAudioFileRequest(audio_file_id=first.id)
    await here.gateway.audio.DeleteAudioFile(request, metadata=metadata)
    assert await used(here, *STORED) == (44, 30, 2)
    await upload(here, dataset_id)


async def test_uploads_at_once_do_not_exceed_a_limit_together(here) -> None:
    """In two datasets, so that no other lock keeps them apart; and nothing of the others is left."""
    datasets = [await create_dataset(here) for _ in range(2)]
    await set_quota(here, storage_bytes=20, files=100)
    found = await together(*(upload(here, datasets[number % 2], bytes(7)) for number in range(10)))
    assert [isinstance(each, Exception) for each in found].count(False) == 2
    assert await used(here, "storage_bytes", "files") == (14, 2)
    assert len([key for key in here.gateway.objects() if key.startswith("support/")]) == 2


async def test_what_is_stored_is_compared_with_the_limit_by_one_transaction_at_a_time(database_url) -> None:
    """Two that both see what was there before would both find room for a last file."""
    quotas = Quotas(None, None, Limits(files=2))  # type: ignore[arg-type] # neither is used

    async def compare(database: Database, tenant: str) -> None:
        async with database.transaction() as connection:
            await connection.execute("SET LOCAL lock_timeout = '1ms'")
            await quotas.check_stored(connection, tenant, 1)

    async with Database(database_url) as database, database.transaction() as first:
        await quotas.check_stored(first, OWN, 1)
        await compare(database, OTHER)
        with pytest.raises(DatabaseUnavailableError, match="lock timeout"):
            await compare(database, OWN)


async def test_use_is_added_up_in_few_rows(here) -> None:
    dataset_id = await create_dataset(here)
    async with here.gateway.database.transaction() as connection:
        # The clean-up of a gateway that has just started sees none of them yet.
        statement = "INSERT INTO stored_usage SELECT $1, 2, 1000, 1 FROM generate_series(1, 150)"
        await connection.execute(statement, OWN)
        assert await stored_quotas.locked_stored(connection, OWN) == stored_quotas.Stored(300, 150_000, 150)
        assert await connection.fetchval("SELECT count(*) FROM stored_usage") == 1
    await upload(here, dataset_id)
    assert await used(here, *STORED) == (304, 150, 151)
    for statement in (
        "INSERT INTO detection_usage (tenant_id, audio_ms) SELECT $1, 1000 FROM generate_series(1, 150)",
        "INSERT INTO detection_usage (tenant_id, audio_ms, day) VALUES ($1, 1000, '2020-02-02')",
    ):
        await here.gateway.execute(statement, OWN)
    await stored_quotas.compact(here.gateway.database)
    assert await here.gateway.count("detection_usage") == 1
    async with here.gateway.database.connection() as connection:
        assert await stored_quotas.searched_today(connection) == {OWN: 150_000}


async def test_models_and_deleted_datasets_are_counted(here) -> None:
    async with here.gateway.database.transaction() as connection:
        built = await rows.dataset(connection, files=3, minutes=1, tenant=OWN)
        assert await stored_quotas.stored(connection, OWN) == stored_quotas.Stored(3, 180_000, 3)
        model_id = await model_rows.model(connection, tenant=OWN)
        size = await connection.fetchval("SELECT size_bytes FROM models WHERE id = $1", model_id)
        before = (await stored_quotas.stored(connection, OWN)).bytes
        await connection.execute("DELETE FROM models WHERE id = $1", model_id)
        assert (await stored_quotas.stored(connection, OWN)).bytes == before - size
    request = dataset_service_pb2.DeleteDatasetRequest(dataset_id=str(built.dataset_id), force=True)
    before = (await used(here, "files"))[0]
    await here.gateway.datasets.DeleteDataset(request, metadata=bearer(here.keys[OWN]))
    assert (await used(here, "files"))[0] == before - 3


async def test_jobs_that_wait_are_limited_by_the_tenants_own_quota(here) -> None:
    async with here.gateway.database.transaction() as connection:
        built = await rows.dataset(connection, files=3, minutes=10, tenant=OWN, annotated=())
        model_id = await model_rows.model(connection, tenant=OWN, active=True)
    await set_quota(here, waiting_detection_jobs=1, detection_seconds_per_day=10)
    detection, metadata = DetectionServiceStub(here.gateway.channel), bearer(here.keys[OWN])
    request = detection_pb.CreateDetectionJobRequest(model_id=str(model_id), dataset_id=str(built.dataset_id))
    await detection.CreateDetectionJob(request, metadata=metadata)
    refusal = await exceeded(
        detection.CreateDetectionJob(request, metadata=metadata), "waiting_detection_jobs", 1, 1
    )
    assert refusal.details["google.rpc.RetryInfo"].retry_delay.seconds == 10
    # Also the job that has trained the model counts, which waits in this test.
    jobs = ("waiting_training_jobs", "waiting_detection_jobs", "running_detection_jobs")
    assert await used(here, *jobs) == (1, 1, 0)
    await here.gateway.execute("UPDATE detection_jobs SET audio_ms = 10000")
    # So that the gateway reads it.
    await set_quota(here, waiting_detection_jobs=0)
    assert await used(here, "detection_seconds_per_day") == (10,)
    refusal = await exceeded(
        detection.CreateDetectionJob(request, metadata=metadata), "detection_seconds_per_day", 10, 10
    )
    assert 0 < refusal.details["google.rpc.RetryInfo"].retry_delay.ToTimedelta().total_seconds() <= 86_400
    call = detection.Detect(
        iter([detection_pb.DetectRequest(start={"model_id": str(model_id)})]), metadata=metadata
    )
    await exceeded(call.read(), "detection_seconds_per_day", 10, 10)


async def test_streams_are_limited_of_all_kinds_together(here) -> None:
    await set_quota(here, streams=2)
    training, metadata = TrainingServiceStub(here.gateway.channel), bearer(here.keys[OWN])
    request = training_pb.WatchTrainingJobsRequest()
    watch = training.WatchTrainingJobs(request, metadata=metadata)
    await watch.read()
    begun = here.gateway.audio.UploadAudio(metadata=metadata)
    await begun.write(messages(await create_dataset(here), bytes(1000))[0])
    while (await used(here, "streams")) < (2,):
        pass
    refusal = await exceeded(training.WatchTrainingJobs(request, metadata=metadata).read(), "streams", 2, 2)
    assert "google.rpc.RetryInfo" in refusal.details
    other = training.WatchTrainingJobs(request, metadata=bearer(here.keys[OTHER]))
    await other.read()
    begun.cancel()
    while (await used(here, "streams")) > (1,):
        pass
    watch.cancel()
    other.cancel()


async def test_requests_a_second_are_limited_and_not_those_of_others(here) -> None:
    await set_quota(here, requests_per_second=2)
    request = dataset_service_pb2.ListDatasetsRequest()
    calls = [here.gateway.datasets.ListDatasets(request, metadata=bearer(here.keys[OWN])) for _ in range(20)]
    found = [each for each in await together(*calls) if isinstance(each, Exception)]
    assert 10 <= len(found) <= 18
    await here.gateway.datasets.ListDatasets(request, metadata=bearer(here.keys[OTHER]))
    await set_quota(here, requests_per_second=0)
    await together(
        *(here.gateway.datasets.ListDatasets(request, metadata=bearer(here.keys[OWN])) for _ in range(5))
    )


@asynccontextmanager
async def alone(monkeypatch, **limits):
    """Quotas with a clock that stands still, and which the block moves."""
    loop, now = asyncio.get_running_loop(), [100.0]
    monkeypatch.setattr(loop, "time", lambda: now[0])
    yield Quotas(None, None, Limits(**limits)), now
    monkeypatch.undo()


async def test_a_bucket_has_the_requests_of_a_second_and_fills_again(monkeypatch) -> None:
    async with alone(monkeypatch, requests_per_second=4) as (quotas, now):
        for _ in range(4):
            quotas.admit("one")
        with pytest.raises(QuotaError, match="4 requests a second") as caught:
            quotas.admit("one")
        assert caught.value.retry_seconds == pytest.approx(0.25)
        quotas.admit("two")
        assert (quotas.requests("one"), quotas.requests("two"), quotas.requests("three")) == (4, 1, 0)
        now[0] += 0.25
        quotas.admit("one")
        with pytest.raises(QuotaError):
            quotas.admit("one")
        now[0] += 100
        assert quotas.requests("one") == 0
        for _ in range(4):
            quotas.admit("one")
        with pytest.raises(QuotaError):
            quotas.admit("one")


def test_a_detection_counts_how_far_it_came_and_live_audio_ends_at_the_limit() -> None:
    quotas = Quotas(None, None, Limits(detection_seconds_per_day=10))  # type: ignore[arg-type]
    searched = _Searched(quotas, "one", detection_pb.DetectRequest.Start(live={"start_ms": 60_000}))
    searched.add(detection_pb.DetectResponse(heartbeat={"judged_until_ms": 64_000}))
    searched.add(detection_pb.DetectResponse(detection={"start_ms": 61_000, "end_ms": 62_000}))
    assert quotas.searched_seconds("one") == 4
    searched.add(detection_pb.DetectResponse(summary={"duration_ms": 5_000}))
    assert quotas.searched_seconds("one") == 5
    with pytest.raises(QuotaError, match="searched 10 s"):
        searched.add(detection_pb.DetectResponse(heartbeat={"judged_until_ms": 70_000}))
    whole = _Searched(quotas, "two", detection_pb.DetectRequest.Start())
    whole.add(detection_pb.DetectResponse(summary={"duration_ms": 20_000}))
    assert quotas.searched_seconds("two") == 20


async def test_what_was_searched_is_stored_when_the_gateway_stops(database_url, tmp_path) -> None:
    async with opened(database_url, tmp_path) as gateway:
        quotas = Quotas(gateway.database, None, Limits())
        quotas.add_searched("one", 1500)
        quotas.add_searched("one", 1500)
        await quotas.write()
        assert quotas.searched_seconds("one") == 3
        await quotas.refresh()
        assert quotas.searched_seconds("one") == 3
