"""The port for monitors: health over HTTP, and what is refused."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from grpc_health.v1 import health, health_pb2
from structlog.testing import capture_logs

from earmark.configuration import SettingsError
from earmark.monitoring import CONNECTIONS, Monitor, new_registry
from tests.monitors import page

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


@asynccontextmanager
async def monitor(states: health.aio.HealthServicer):
    """Yields the address of a monitor of these states."""
    checks = ("earmark.database", "earmark.tls")
    with capture_logs() as logs:
        async with Monitor(new_registry(), states, checks).serving("127.0.0.1", 0, "METRICS_PORT"):
            yield logs[0]["address"]


async def test_readiness_is_that_of_the_server_and_liveness_is_not() -> None:
    states = health.aio.HealthServicer()
    await states.set("earmark.database", NOT_SERVING)
    async with monitor(states) as address:
        # The gateway answers without its database, with errors that say to try again.
        assert await asyncio.to_thread(page, address, "/readyz") == (200, "ready: ok\ndatabase: failing\n")
        await states.enter_graceful_shutdown()
        assert await asyncio.to_thread(page, address, "/readyz") == (
            503,
            "ready: failing\ndatabase: failing\n",
        )
        assert await asyncio.to_thread(page, address, "/healthz") == (200, "alive\n")
        _, metrics = await asyncio.to_thread(page, address, "/metrics")
        assert 'earmark_healthy{check="database"} 0.0' in metrics
        assert (await asyncio.to_thread(page, address, "/"))[0] == 404


async def exchanged(address: str, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(*address.split(":"))
    try:
        writer.write(request)
        return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def test_what_is_no_request_ends_its_connection_only() -> None:
    async with monitor(health.aio.HealthServicer()) as address:
        assert (await exchanged(address, b"POST /metrics HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 405 ")
        assert await exchanged(address, b"x" * 100_000) == b""
        silent = [await asyncio.open_connection(*address.split(":")) for _ in range(CONNECTIONS)]
        assert await exchanged(address, b"GET /healthz HTTP/1.1\r\n\r\n") == b""
        reader, writer = silent[0]
        writer.write(b"HEAD /healthz HTTP/1.1\r\n\r\n")
        reply = await reader.read()
        assert reply.startswith(b"HTTP/1.1 200 OK\r\n")
        assert reply.endswith(b"\r\n\r\n")
        for _, writer in silent:
            writer.close()


async def test_a_port_in_use_is_named() -> None:
    states = health.aio.HealthServicer()
    async with monitor(states) as address:
        second = Monitor(new_registry(), states, ())
        with pytest.raises(SettingsError, match="EARMARK_METRICS_PORT: cannot listen on"):
            async with second.serving("127.0.0.1", int(address.split(":")[1]), "METRICS_PORT"):
                pass


async def test_connections_that_are_open_at_its_end_are_closed_and_nothing_is_reported() -> None:
    problems = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(context))
    async with monitor(health.aio.HealthServicer()) as address:
        reader, writer = await asyncio.open_connection(*address.split(":"))
        # Its connection was accepted after the one before.
        assert (await exchanged(address, b"GET /healthz HTTP/1.1\r\n\r\n")).endswith(b"alive\n")
    assert await reader.read() == b""
    writer.close()
    assert problems == []
