"""What clients see while the database is away, and that notifications work again afterwards."""

import signal
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import asyncpg
import psutil
import pytest
import pytest_asyncio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from earmark.health import DATABASE
from earmark.storage import bus, database
from earmark.storage.embedded import EmbeddedPostgres
from earmark.v1 import audio_service_pb2 as audio
from earmark.v1 import dataset_service_pb2 as pb
from tests.conftest import FAST
from tests.gateway.calls import dataset, opened, refused, upload

USER = "earmark"
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
# So long that only notifications wake a watch.
NEVER = 3600


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setattr(bus, "PING_SECONDS", 0.01)
    monkeypatch.setattr(bus, "PING_TIMEOUT_SECONDS", 2.0)
    monkeypatch.setattr(bus, "RECONNECT_SECONDS", 0.01)
    monkeypatch.setattr(database, "ACQUIRE_SECONDS", 2.0)
    monkeypatch.setattr(database, "COMMAND_SECONDS", 2.0)


@pytest_asyncio.fixture
async def server(tmp_path):
    async with EmbeddedPostgres(tmp_path / "postgres", settings=FAST) as server:
        yield server


async def execute(server: EmbeddedPostgres, *statements: str) -> None:
    connection = await asyncpg.connect(server.dsn)
    for statement in statements:
        await connection.execute(statement)
    await connection.close()


@asynccontextmanager
async def gateways(url: str, tmp_path):
    """Two gateways on one database and one object store."""
    settings = {"object_store": str(tmp_path / "objects"), "heartbeat_seconds": NEVER}
    async with (
        opened(url, tmp_path / "1", **settings) as here,
        opened(url, tmp_path / "2", **settings) as there,
    ):
        yield here, there


async def becomes(gateway, status: int, service: str = DATABASE) -> None:
    watch = health_pb2_grpc.HealthStub(gateway.channel).Watch(health_pb2.HealthCheckRequest(service=service))
    async for response in watch:
        if response.status == status:
            return


async def is_notified(here, there, dataset_id: str) -> None:
    """Returns once a watch at one gateway has received a file that was uploaded at the other."""
    watch = aiter(
        there.audio.WatchAudioFiles(audio.WatchAudioFilesRequest(dataset_ids=[dataset_id], from_start=True))
    )
    await anext(watch)
    file = await upload(here, dataset_id)
    async for response in watch:
        if response.event.audio_file_id == file.id:
            return


async def get(gateway, dataset_id: str):
    return await gateway.datasets.GetDataset(pb.GetDatasetRequest(dataset_id=dataset_id))


async def test_a_server_that_is_suspended(server, tmp_path) -> None:
    main = psutil.Process(server.pid)
    async with gateways(server.dsn, tmp_path) as (here, there):
        dataset_id = await dataset(here, "glitch")
        await upload(here, dataset_id)
        await is_notified(here, there, dataset_id)
        processes = [main, *main.children(recursive=True)]
        for process in processes:
            process.send_signal(signal.SIGSTOP)
        try:
            for gateway in (here, there):
                await becomes(gateway, NOT_SERVING)
                # All gateways have the same database: no other one would answer better.
                await becomes(gateway, SERVING, "")
            refusal = await refused(get(here, dataset_id), "UNAVAILABLE", "DATABASE_UNAVAILABLE")
            assert "google.rpc.RetryInfo" in refusal.details
        finally:
            for process in reversed(processes):
                process.send_signal(signal.SIGCONT)
        for gateway in (here, there):
            await becomes(gateway, SERVING)
        await is_notified(here, there, dataset_id)
        await is_notified(there, here, dataset_id)


async def test_a_server_that_is_restarted_with_another_password(server, tmp_path) -> None:
    rules = tmp_path / "postgres" / "data" / "pg_hba.conf"
    rules.write_text(f"local all {USER} scram-sha-256\n{rules.read_text()}")
    await execute(
        server,
        "SELECT pg_reload_conf()",
        f"CREATE ROLE {USER} LOGIN PASSWORD 'one'",
        f"CREATE DATABASE {USER} OWNER {USER}",
    )
    url = urlsplit(server.dsn)._replace(netloc=f"{USER}:one@", path=f"/{USER}").geturl()
    async with gateways(url, tmp_path) as (here, there):
        dataset_id = await dataset(here, "glitch")
        await upload(here, dataset_id)
        # With the checkpoint, the change survives the kill although this server does not sync.
        await execute(server, f"ALTER ROLE {USER} PASSWORD 'two'", "CHECKPOINT")
        psutil.Process(server.pid).kill()
        await server.wait_exited()
        await server.ready.wait()
        for gateway in (here, there):
            await becomes(gateway, NOT_SERVING)
            refusal = await refused(get(gateway, dataset_id), "UNAVAILABLE", "DATABASE_UNAVAILABLE")
            assert "google.rpc.RetryInfo" in refusal.details
            assert "two" not in refusal.message
        watch = here.audio.WatchAudioFiles(
            audio.WatchAudioFilesRequest(dataset_ids=[dataset_id], from_start=True)
        )
        await refused(anext(aiter(watch)), "UNAVAILABLE", "DATABASE_UNAVAILABLE")
        await execute(server, f"ALTER ROLE {USER} PASSWORD 'one'")
        for gateway in (here, there):
            await becomes(gateway, SERVING)
        await is_notified(here, there, dataset_id)
        await is_notified(there, here, dataset_id)
