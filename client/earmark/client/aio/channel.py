"""The connection to a gateway, for asyncio."""

from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self

import grpc
from grpc import aio

from earmark.client.calls import DEFAULT_ADDRESS, DEFAULT_TIMEOUT, channel_options, with_defaults
from earmark.v1 import (
    admin_service_pb2_grpc,
    annotation_service_pb2_grpc,
    audio_service_pb2_grpc,
    dataset_service_pb2_grpc,
    detection_service_pb2_grpc,
    model_service_pb2_grpc,
    training_service_pb2_grpc,
)


class Client:
    """One connection to a gateway, and a generated stub for each of its services.

    As with `earmark.client.Client`, unary calls are retried under one request_id and have a deadline. The
    channel does both; one that `connect` did not make needs `channel_options` and `interceptors` for that.
    """

    def __init__(self, channel: aio.Channel) -> None:
        self.channel = channel
        self.datasets = dataset_service_pb2_grpc.DatasetServiceStub(channel)
        self.audio = audio_service_pb2_grpc.AudioServiceStub(channel)
        self.annotations = annotation_service_pb2_grpc.AnnotationServiceStub(channel)
        self.training = training_service_pb2_grpc.TrainingServiceStub(channel)
        self.models = model_service_pb2_grpc.ModelServiceStub(channel)
        self.admin = admin_service_pb2_grpc.AdminServiceStub(channel)
        self.detection = detection_service_pb2_grpc.DetectionServiceStub(channel)

    async def close(self) -> None:
        """Close the connection and cancel every call on it."""
        await self.channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def connect(
    address: str = DEFAULT_ADDRESS,
    credentials: grpc.ChannelCredentials | None = None,
    *,
    timeout: float | None = DEFAULT_TIMEOUT,
) -> Client:
    """Return a client of the gateway at `address`, which connects when the first call is made.

    The arguments are those of `earmark.client.connect`. The client belongs to the running event loop.
    """
    options, added = channel_options(), interceptors(timeout)
    if credentials is None:
        return Client(aio.insecure_channel(address, options=options, interceptors=added))
    return Client(aio.secure_channel(address, credentials, options=options, interceptors=added))


def interceptors(timeout: float | None = DEFAULT_TIMEOUT) -> list[aio.ClientInterceptor]:
    """Return the interceptors that `connect` uses, for callers who make the channel themselves."""
    return [_Defaults(timeout)]


class _Defaults(aio.UnaryUnaryClientInterceptor):
    """Gives each call what its caller left out, see `with_defaults`."""

    def __init__(self, timeout: float | None) -> None:
        self._timeout = timeout

    async def intercept_unary_unary(
        self, continuation: Callable[..., Awaitable[Any]], client_call_details: Any, request: Any
    ) -> Any:
        return await continuation(*with_defaults(client_call_details, request, self._timeout))
