"""The connection to a gateway."""

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

import grpc

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

    Unary calls are retried while the gateway is UNAVAILABLE, for about 5 seconds. This is safe for changes
    too: a request without a request_id, the idempotency key, is sent with a fresh one. They end with
    DEADLINE_EXCEEDED after `timeout` seconds, retries included, unless the call has a timeout of its own;
    None turns this off. Streams have no deadline, and they are not retried by themselves; `watch`,
    `wait_until_ready` and `upload` retry theirs.
    """

    def __init__(
        self,
        channel: grpc.Channel,
        timeout: float | None = DEFAULT_TIMEOUT,
        metadata: Sequence[tuple[str, str]] = (),
    ) -> None:
        """`metadata` is that of every call, such as the API key."""
        self.channel = channel
        added = [_Added(metadata)] if metadata else []
        intercepted = grpc.intercept_channel(channel, _Defaults(timeout), *added)
        self.datasets = dataset_service_pb2_grpc.DatasetServiceStub(intercepted)
        self.audio = audio_service_pb2_grpc.AudioServiceStub(intercepted)
        self.annotations = annotation_service_pb2_grpc.AnnotationServiceStub(intercepted)
        self.training = training_service_pb2_grpc.TrainingServiceStub(intercepted)
        self.models = model_service_pb2_grpc.ModelServiceStub(intercepted)
        self.admin = admin_service_pb2_grpc.AdminServiceStub(intercepted)
        self.detection = detection_service_pb2_grpc.DetectionServiceStub(intercepted)

    def close(self) -> None:
        """Close the connection and cancel every call on it."""
        self.channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


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

    `address` is host:port. `timeout` is the deadline of unary calls in seconds, see `Client`. `api_key` is
    sent with every call. `ca` is the path of a PEM file with the authorities of the gateway's certificate, or
    "system" for those of public sites; without it, and without `credentials`, nothing is encrypted.
    `client_certificate` and `client_key` are PEM files, too, for a gateway that asks for them.

    What is not given is read from EARMARK_ADDRESS, EARMARK_API_KEY, EARMARK_CA, EARMARK_CLIENT_CERTIFICATE
    and EARMARK_CLIENT_KEY, and then from the `profile` in ~/.config/earmark/profiles.toml, which
    EARMARK_PROFILE names if the argument does not. Raises ConnectionSettingsError if one is of no use.
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
    options, metadata = channel_options(), reached.metadata()
    if credentials is None:
        return Client(grpc.insecure_channel(reached.address, options=options), timeout, metadata)
    return Client(grpc.secure_channel(reached.address, credentials, options=options), timeout, metadata)


class _Defaults(grpc.UnaryUnaryClientInterceptor):
    """Gives each call what its caller left out, see `with_defaults`."""

    def __init__(self, timeout: float | None) -> None:
        self._timeout = timeout

    def intercept_unary_unary(
        self, continuation: Callable[..., Any], client_call_details: Any, request: Any
    ) -> Any:
        return continuation(*with_defaults(client_call_details, request, self._timeout))


class _Added(
    grpc.UnaryUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
    grpc.StreamUnaryClientInterceptor,
    grpc.StreamStreamClientInterceptor,
):
    """Adds metadata to each call."""

    def __init__(self, metadata: Sequence[tuple[str, str]]) -> None:
        self._metadata = tuple(metadata)

    def _call(self, continuation: Callable[..., Any], details: Any, request: Any) -> Any:
        details = details._replace(metadata=(*(details.metadata or ()), *self._metadata))
        return continuation(details, request)

    intercept_unary_unary: Any = _call
    intercept_unary_stream: Any = _call
    intercept_stream_unary: Any = _call
    intercept_stream_stream: Any = _call
