"""The connection to a gateway, for asyncio."""

from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Any, Self, cast

import grpc
from grpc import aio

from earmark.client.calls import DEFAULT_TIMEOUT, channel_options, with_defaults
from earmark.client.connection import resolve
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

    def __init__(self, channel: aio.Channel, metadata: Sequence[tuple[str, str]] = ()) -> None:
        """`metadata` is that of every call, such as the API key."""
        self.channel = channel
        # All that the stubs need of a channel.
        called = cast("aio.Channel", WithMetadata(channel, tuple(metadata))) if metadata else channel
        self.datasets = dataset_service_pb2_grpc.DatasetServiceStub(called)
        self.audio = audio_service_pb2_grpc.AudioServiceStub(called)
        self.annotations = annotation_service_pb2_grpc.AnnotationServiceStub(called)
        self.training = training_service_pb2_grpc.TrainingServiceStub(called)
        self.models = model_service_pb2_grpc.ModelServiceStub(called)
        self.admin = admin_service_pb2_grpc.AdminServiceStub(called)
        self.detection = detection_service_pb2_grpc.DetectionServiceStub(called)

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
    address: str | None = None,
    credentials: grpc.ChannelCredentials | None = None,
    *,
    timeout: float | None = DEFAULT_TIMEOUT,
    api_key: str | None = None,
    ca: str | None = None,
    client_certificate: str | None = None,
    client_key: str | None = None,
    profile: str | None = None,
) -> Client:
    """Return a client of the gateway at `address`, which connects when the first call is made.

    The arguments are those of `earmark.client.connect`. The client belongs to the running event loop.
    """
    reached = resolve(
        address=address,
        api_key=api_key,
        ca=ca,
        client_certificate=client_certificate,
        client_key=client_key,
        profile=profile,
    )
    credentials = credentials or reached.credentials()
    options = channel_options()
    added, metadata = interceptors(timeout), reached.metadata()
    if credentials is None:
        channel = aio.insecure_channel(reached.address, options=options, interceptors=added)
    else:
        channel = aio.secure_channel(reached.address, credentials, options=options, interceptors=added)
    return Client(channel, metadata)


def interceptors(timeout: float | None = DEFAULT_TIMEOUT) -> list[aio.ClientInterceptor]:
    """Return the interceptors that `connect` uses, for callers who make the channel themselves."""
    return [_Defaults(timeout)]


class WithMetadata:
    """A channel whose calls carry metadata.

    Interceptors could add it, too, but calls with a stream of requests then lose what writing to them says.
    """

    def __init__(self, channel: aio.Channel, metadata: tuple[tuple[str, str], ...]) -> None:
        self._channel = channel
        self._metadata = metadata

    def unary_unary(self, *arguments: Any, **named: Any) -> Callable[..., Any]:
        return self._added(self._channel.unary_unary(*arguments, **named))

    def unary_stream(self, *arguments: Any, **named: Any) -> Callable[..., Any]:
        return self._added(self._channel.unary_stream(*arguments, **named))

    def stream_unary(self, *arguments: Any, **named: Any) -> Callable[..., Any]:
        return self._added(self._channel.stream_unary(*arguments, **named))

    def stream_stream(self, *arguments: Any, **named: Any) -> Callable[..., Any]:
        return self._added(self._channel.stream_stream(*arguments, **named))

    def _added(self, open_call: Callable[..., Any]) -> Callable[..., Any]:
        def opened(*arguments: Any, metadata: Any = None, **named: Any) -> Any:
            return open_call(*arguments, metadata=(*(metadata or ()), *self._metadata), **named)

        return opened


class _Defaults(aio.UnaryUnaryClientInterceptor):
    """Gives each call what its caller left out, see `with_defaults`."""

    def __init__(self, timeout: float | None) -> None:
        self._timeout = timeout

    async def intercept_unary_unary(
        self, continuation: Callable[..., Awaitable[Any]], client_call_details: Any, request: Any
    ) -> Any:
        return await continuation(*with_defaults(client_call_details, request, self._timeout))
