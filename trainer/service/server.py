"""The trainer as a running gRPC server: starts, serves and drains it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from earmark.configuration import check_folder
from earmark.health import BACKGROUND, follow
from earmark.internal.v1 import trainer_service_pb2_grpc as pb_grpc
from earmark.reflection import enable_reflection
from earmark.storage.store_check import check_store
from earmark.trainer.service.errors import CallError, StoppingError
from earmark.trainer.service.front import ABORT_SECONDS, SERVICE, TrainerService
from earmark.trainer.service.interruptible import interruptible
from earmark.trainer.service.runtime import Runtime
from earmark.trainer.settings import TrainerSettings

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


class DecodeErrors(grpc.aio.ServerInterceptor):
    """Hands a CallError to the rpc in place of bytes that are no message, for which gRPC has UNKNOWN."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        handler = await continuation(handler_call_details)
        if handler is None or not handler_call_details.method.startswith(f"/{SERVICE}/"):
            return handler
        return handler._replace(request_deserializer=_or_error(handler.request_deserializer))


def _or_error(decode: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    def decoded(data: bytes) -> Any:
        try:
            return decode(data)
        except DecodeError:
            return CallError("INVALID_MESSAGE", "the bytes are no message of this rpc")

    return decoded


class CannotListenError(Exception):
    """The trainer cannot listen on its address."""


async def serve(settings: TrainerSettings, stop: asyncio.Event, announce: Callable[[str], None]) -> None:
    """Serves until `stop` is set, then drains.

    `announce` is called with the address, host:port, once calls are accepted. Raises SettingsError,
    ObjectStoreError or CannotListenError if it cannot start.
    """
    await asyncio.to_thread(check_folder, settings.data_dir)
    try:
        await interruptible(stop, check_store(settings.object_store_url, deletes=False))
    except StoppingError:
        return
    server = grpc.aio.server(interceptors=(DecodeErrors(),), options=SERVER_OPTIONS)
    try:
        port = server.add_insecure_port(f"{settings.host}:{settings.trainer_port}")
    except RuntimeError as error:
        raise CannotListenError(
            f"cannot listen on {settings.host}:{settings.trainer_port}: is another trainer running? Set"
            " EARMARK_TRAINER_PORT to a free port, and EARMARK_HOST to an address of this machine"
        ) from error
    async with Runtime.open(settings) as runtime:
        service, health_service = TrainerService(runtime), health.aio.HealthServicer()
        pb_grpc.add_TrainerServiceServicer_to_server(service, server)
        health_pb2_grpc.add_HealthServicer_to_server(health_service, server)
        enable_reflection(server, (SERVICE, health.SERVICE_NAME))
        for name in (SERVICE, ""):
            await health_service.set(name, health_pb2.HealthCheckResponse.SERVING)
        checks = {BACKGROUND: lambda: not runtime.background.keeps_failing()}
        following = runtime.background.start("health", lambda: follow(health_service, checks))
        await server.start()
        announce(f"{settings.host}:{port}")
        try:
            await stop.wait()
        finally:
            following.cancel()
            await health_service.enter_graceful_shutdown()
            await service.drain()
            await server.stop(ABORT_SECONDS)
