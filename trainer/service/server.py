"""The trainer as a running gRPC server: starts, serves and drains it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from earmark.call_counts import CallCounts
from earmark.configuration import SettingsError, check_folder
from earmark.health import BACKGROUND, TLS, follow
from earmark.internal.v1 import trainer_service_pb2_grpc as pb_grpc
from earmark.monitoring import Monitor, new_registry
from earmark.reflection import enable_reflection
from earmark.storage.store_check import check_store
from earmark.tls import ServerCertificate, ServerTls
from earmark.tracing import tracing
from earmark.trainer.service.errors import StoppingError
from earmark.trainer.service.executor import Executor
from earmark.trainer.service.front import ABORT_SECONDS, SERVICE, TrainerService
from earmark.trainer.service.guard import Guard
from earmark.trainer.service.interruptible import interruptible
from earmark.trainer.service.local import LocalExecutor
from earmark.trainer.service.monitoring import TrainerFigures
from earmark.trainer.service.runtime import Runtime
from earmark.trainer.settings import TrainerSettings
from earmark.trainer_secret import find_secrets, is_loopback, make_secret

SERVER_OPTIONS = (
    ("grpc.so_reuseport", 0),  # a second trainer on this port is a mistake
    ("grpc.max_receive_message_length", 8 << 20),
    ("grpc.max_send_message_length", 64 << 20),
    # A gateway pings this often to notice that the trainer is gone; the trainer pings for the same reason.
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
)


class CannotListenError(Exception):
    """The trainer cannot listen on its address."""


async def serve(settings: TrainerSettings, stop: asyncio.Event, announce: Callable[[str], None]) -> None:
    """Serves until `stop` is set, then drains.

    `announce` is called with the address, host:port, once calls are accepted. Raises SettingsError,
    ObjectStoreError or CannotListenError if it cannot start.
    """
    await asyncio.to_thread(check_folder, settings.data_dir)
    tls = settings.tls
    accepted = await asyncio.to_thread(_secrets, settings, tls)
    certificate = None if tls is None else await asyncio.to_thread(ServerCertificate, tls)
    try:
        await interruptible(stop, check_store(settings.object_store_url, deletes=False))
    except StoppingError:
        return
    registry, health_service = new_registry(), health.aio.HealthServicer()
    await health_service.set("", health_pb2.HealthCheckResponse.NOT_SERVING)
    monitor = Monitor(registry, health_service, (BACKGROUND, TLS))
    guard = Guard(accepted, CallCounts(registry))
    server = grpc.aio.server(interceptors=(guard,), options=SERVER_OPTIONS)
    port = _bind(server, settings, certificate)
    async with (
        tracing(settings.traces_endpoint, "earmark-trainer") as tracer,
        _working(settings) as (runtime, executor),
        monitor.serving(settings.metrics_host, settings.trainer_metrics_port, "TRAINER_METRICS_PORT"),
    ):
        registry.register(TrainerFigures(executor))
        service = TrainerService(runtime, executor, tracer)
        pb_grpc.add_TrainerServiceServicer_to_server(service, server)
        health_pb2_grpc.add_HealthServicer_to_server(health_service, server)
        if settings.reflects:
            enable_reflection(server, (SERVICE, health.SERVICE_NAME))
        for name in (SERVICE, ""):
            await health_service.set(name, health_pb2.HealthCheckResponse.SERVING)
        checks = {BACKGROUND: lambda: not runtime.background.keeps_failing()}
        tasks = {"health": lambda: follow(health_service, checks)}
        if certificate is not None:
            checks[TLS] = lambda: not certificate.problem
            tasks["watching the certificate"] = certificate.follow
        following = [runtime.background.start(name, work) for name, work in tasks.items()]
        await server.start()
        announce(f"{settings.host}:{port}")
        try:
            await stop.wait()
        finally:
            for task in following:
                task.cancel()
            await health_service.enter_graceful_shutdown()
            await service.drain()
            await server.stop(ABORT_SECONDS)


@asynccontextmanager
async def _working(settings: TrainerSettings) -> AsyncIterator[tuple[Runtime, Executor]]:
    """What works on this machine, and the executor. Raises SettingsError if Ray cannot be used."""
    if settings.executor == "local":
        async with Runtime.open(settings) as runtime:
            yield runtime, LocalExecutor(runtime)
        return
    try:
        from earmark.trainer.service.ray_executor import RayExecutor  # noqa: PLC0415 it needs an extra
    except ImportError as error:
        raise SettingsError(
            f"EARMARK_EXECUTOR is ray, which is not installed: {error}. Install earmark[ray]"
        ) from error
    async with (
        Runtime.open(RayExecutor.settings_of_front(settings), trains=False) as runtime,
        RayExecutor.open(settings, runtime) as executor,
    ):
        yield runtime, executor


def _secrets(settings: TrainerSettings, tls: ServerTls | None) -> Sequence[bytes]:
    """The secrets that may sign grants; none if gateways are known by their certificates alone.

    Raises SettingsError if anybody who reaches the port could use it.
    """
    found = find_secrets(settings.trainer_secret, settings.data_dir)
    if found or (tls is not None and tls.client_ca is not None):
        return found
    if is_loopback(settings.host):
        return make_secret(settings.data_dir)
    raise SettingsError(
        f"EARMARK_HOST is {settings.host}, and the trainer has no secret: whoever reaches it could read and "
        "write every object. Set EARMARK_TRAINER_SECRET, to what the gateways have, or "
        "EARMARK_TRAINER_TLS_CERTIFICATE, EARMARK_TRAINER_TLS_KEY and EARMARK_TRAINER_TLS_CA"
    )


def _bind(server: grpc.aio.Server, settings: TrainerSettings, certificate: ServerCertificate | None) -> int:
    address = f"{settings.host}:{settings.trainer_port}"
    try:
        if certificate is None:
            return server.add_insecure_port(address)
        return server.add_secure_port(address, certificate.credentials())
    except RuntimeError as error:
        raise CannotListenError(
            f"cannot listen on {address}: is another trainer running? Set EARMARK_TRAINER_PORT to a free "
            "port, and EARMARK_HOST to an address of this machine"
        ) from error
