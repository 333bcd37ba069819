"""A port for monitors: Prometheus metrics, and over HTTP the states of the gRPC health service.

The event loop that serves the calls answers here, too. So a probe sees what callers see: a process whose loop
is stuck answers neither, and its process manager restarts it.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress

import structlog
from grpc_health.v1 import health, health_pb2
from prometheus_client import (
    CONTENT_TYPE_PLAIN_0_0_4,
    CollectorRegistry,
    Gauge,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from earmark.configuration import PREFIX, SettingsError

REQUEST_BYTES = 8192
# For a request and its reply; Prometheus waits for 10 s.
REQUEST_SECONDS = 10.0
# More than a few monitors at a time are a mistake, and are turned away.
CONNECTIONS = 20
TEXT = "text/plain; charset=utf-8"
_SERVING = health_pb2.HealthCheckResponse.SERVING

log = structlog.get_logger(__name__)


def new_registry() -> CollectorRegistry:
    """A registry with the memory, the CPU time and the open files of the process."""
    # Each counter would have a second series with the time at which it began.
    disable_created_metrics()  # type: ignore[no-untyped-call]  # has no types
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    return registry


async def nothing() -> None:
    """Reads nothing."""


class Monitor:
    """Answers GET /metrics, /healthz and /readyz."""

    def __init__(
        self,
        registry: CollectorRegistry,
        states: health.aio.HealthServicer,
        checks: Sequence[str],
        read: Callable[[], Awaitable[None]] = nothing,
    ) -> None:
        """`checks`: names of the health service. `read` is awaited before the metrics are collected."""
        self._registry = registry
        self._states = states
        self._checks = checks
        self._read = read
        self._open: set[asyncio.Task[None]] = set()
        self._healthy = Gauge(
            "earmark_healthy",
            "1 while the health service says SERVING, by its name; ready: that of the whole server.",
            ("check",),
            registry=registry,
        )

    @asynccontextmanager
    async def serving(self, host: str, port: int | None, setting: str) -> AsyncIterator[None]:
        """Serves inside the block, if there is a port. Raises SettingsError, which names the setting."""
        if port is None:
            yield
            return
        try:
            server = await asyncio.start_server(self._accept, host, port, limit=REQUEST_BYTES)
        except OSError as error:
            raise SettingsError(
                f"{PREFIX}{setting}: cannot listen on {host}:{port}: {error.strerror or error}. Set it to"
                f" a free port, and {PREFIX}METRICS_HOST to an address of this machine"
            ) from error
        log.info("serving metrics", address=f"{host}:{server.sockets[0].getsockname()[1]}")
        try:
            yield
        finally:
            server.close()
            for task in self._open:
                task.cancel()
            await asyncio.gather(*self._open, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A coroutine here would be a task of asyncio's, which Python 3.11 reports when it is cancelled."""
        if len(self._open) >= CONNECTIONS:
            writer.close()
            return
        task = asyncio.create_task(self._answer(reader, writer))
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                async with asyncio.timeout(REQUEST_SECONDS):
                    request = await reader.readuntil(b"\r\n\r\n")
                    writer.write(await self._reply(request.decode("latin-1")))
                    await writer.drain()
        except Exception:  # a fault of ours, which no caller waits for
            log.exception("a monitor got no answer")
        finally:
            writer.close()

    async def _reply(self, request: str) -> bytes:
        method, _, rest = request.partition(" ")
        status, kind, body = await self._page(method, rest.partition(" ")[0].partition("?")[0])
        head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
        return f"{head}Connection: close\r\n\r\n".encode() + (b"" if method == "HEAD" else body)

    async def _page(self, method: str, path: str) -> tuple[str, str, bytes]:
        if method not in ("GET", "HEAD"):
            return "405 Method Not Allowed", TEXT, b"only GET and HEAD\n"
        if path == "/metrics":
            await self._read()
            for name, serves in (await self._health()).items():
                self._healthy.labels(name).set(serves)
            return "200 OK", CONTENT_TYPE_PLAIN_0_0_4, generate_latest(self._registry)
        if path == "/healthz":
            return "200 OK", TEXT, b"alive\n"
        if path == "/readyz":
            found = await self._health()
            body = "".join(f"{name}: {'ok' if serves else 'failing'}\n" for name, serves in found.items())
            return "200 OK" if found["ready"] else "503 Service Unavailable", TEXT, body.encode()
        return "404 Not Found", TEXT, b"here are /metrics, /healthz and /readyz\n"

    async def _health(self) -> dict[str, bool]:
        """Whether the health service says SERVING: of the server, as `ready`, and of each check."""
        found = {}
        for name in ("", *self._checks):
            request = health_pb2.HealthCheckRequest(service=name)
            with suppress(LookupError):
                reply = await self._states.Check(request, _Unknown())
                found[name.removeprefix("earmark.") or "ready"] = reply.status == _SERVING
        return found


class _Unknown:
    """The context of a check by name: a name without a state has no line."""

    async def abort(self, *_: object) -> None:
        raise LookupError
