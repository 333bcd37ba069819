"""The gateway's Prometheus metrics."""

import asyncio
from contextlib import asynccontextmanager, suppress

from grpc import StatusCode, aio
from structlog.testing import capture_logs
from uuid_utils.compat import uuid4, uuid7

from earmark.gateway import monitoring
from earmark.gateway.audit import Audit
from earmark.gateway.caller import Caller
from earmark.storage.queries import queues
from earmark.storage.queries.queues import Queue
from earmark.v1 import training_service_pb2 as pb
from earmark.v1.training_service_pb2_grpc import TrainingServiceStub
from tests.gateway.calls import NOWHERE, dataset, opened, refused, upload
from tests.gateway.jobs import build_one, create
from tests.monitors import Metrics, documented

SERVICE = "earmark.v1.TrainingService"
# None of them has values that grow with tenants, jobs or files.
LABELS = {
    *("grpc_type", "grpc_service", "grpc_method", "grpc_code", "le"),
    *("check", "kind", "queue", "state"),
}


@asynccontextmanager
async def monitored(database_url, tmp_path):
    """Runs a gateway and yields it with a function that reads its metrics."""
    with capture_logs() as logs:
        async with opened(database_url, tmp_path, metrics_port=0) as gateway:
            (address,) = [entry["address"] for entry in logs if entry["event"] == "serving metrics"]

            async def read() -> Metrics:
                return await asyncio.to_thread(Metrics, address)

            yield gateway, read


async def test_calls_queues_and_streams_are_counted(database_url, tmp_path) -> None:
    built = await build_one(database_url)
    async with monitored(database_url, tmp_path) as (gateway, read):
        stub = TrainingServiceStub(gateway.channel)
        job = await create(gateway.channel, built)
        await refused(
            stub.GetTrainingJob(pb.GetTrainingJobRequest(training_job_id=NOWHERE)),
            "NOT_FOUND",
            "NOT_FOUND",
        )
        watch = stub.WatchTrainingJob(pb.WatchTrainingJobRequest(training_job_id=job.id))
        assert await watch.read() is not aio.EOF
        metrics = await read()
        watch.cancel()
    get = {"grpc_type": "unary", "grpc_service": SERVICE, "grpc_method": "GetTrainingJob"}
    assert metrics.value("grpc_server_started_total", **get) == 1
    assert metrics.value("grpc_server_handled_total", **get, grpc_code=StatusCode.NOT_FOUND.name) == 1
    assert metrics.value("grpc_server_handling_seconds_count", **get) == 1
    assert metrics.value("earmark_streams_open", kind="watches") == 1
    assert metrics.value("earmark_queue_waiting", queue="training") == 1
    assert metrics.value("earmark_database_connections_limit") == 10
    assert metrics.value("earmark_healthy", check="ready") == 1
    assert metrics.labels <= LABELS
    assert metrics.names == documented("gateway", "both")


async def test_the_queues_are_of_all_tenants_and_know_leases_and_ages(gateway) -> None:
    dataset_id = await dataset(gateway, "glitch")
    for _ in range(3):
        await upload(gateway, dataset_id)
    await gateway.execute("UPDATE audio_files SET created_at = now() - interval '1 hour'")
    lease = """
        UPDATE audio_files SET lease_until = now() + make_interval(mins => $1)
        WHERE id = (SELECT id FROM audio_files WHERE lease_until IS NULL LIMIT 1)
    """
    # One has a gateway, and one has lost it.
    await gateway.execute(lease, 1)
    await gateway.execute(lease, -1)
    async with gateway.database.connection() as connection:
        training, detection, audio = await queues.read(connection)
    assert (training, detection) == (Queue("training"), Queue("detection"))
    assert (audio.kind, audio.waiting, audio.running, audio.leases) == ("audio", 2, 1, 1)
    assert 3600 <= audio.oldest_seconds < 4000


async def test_without_a_database_there_are_no_queues_and_all_other_figures(
    database_url, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(monitoring, "QUEUE_SECONDS", 0.0)
    async with monitored(database_url, tmp_path) as (_, read):
        assert "earmark_queue_waiting" in (await read()).names
        monkeypatch.setattr(monitoring, "READ_SECONDS", 0.0)
        metrics = await read()
    assert documented("gateway", "both") - metrics.names == {
        "earmark_queue_leases",
        "earmark_queue_oldest_waiting_seconds",
        "earmark_queue_running",
        "earmark_queue_waiting",
        # There was no call.
        "grpc_server_handled_total",
        "grpc_server_handling_seconds",
        "grpc_server_started_total",
    }


async def test_a_watch_that_is_cancelled_counts_as_such_though_its_key_was_recorded_before() -> None:
    ended = []
    call = Audit().call(
        "/earmark.v1.TrainingService/WatchTrainingJob",
        str(uuid7()),
        "ipv4:127.0.0.1",
        lambda call, _: ended.append(call.code),
        is_read=True,
    )
    with suppress(asyncio.CancelledError), call:
        call.caller = Caller("default", "ipv4:127.0.0.1", "ours", key_id=uuid4())
        call.let_in()
        raise asyncio.CancelledError
    assert ended == ["CANCELLED"]
