"""The connection to a gateway."""

from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import grpc

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

    Unary calls are retried while the gateway is UNAVAILABLE, for about 5 seconds. This is safe for changes
    too: a request without a request_id, the idempotency key, is sent with a fresh one. They end with
    DEADLINE_EXCEEDED after `timeout` seconds, retries included, unless the call has a timeout of its own;
    None turns this off. Streams have no deadline, and they are not retried by themselves; `watch`,
    `wait_until_ready` and `upload` retry theirs.
    """

    def __init__(self, channel: grpc.Channel, timeout: float | None = DEFAULT_TIMEOUT) -> None:
        self.channel = channel
        intercepted = grpc.intercept_channel(channel, _Defaults(timeout))
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
    address: str = DEFAULT_ADDRESS,
    credentials: grpc.ChannelCredentials | None = None,
    *,
    timeout: float | None = DEFAULT_TIMEOUT,
) -> Client:
    """Return a client of the gateway at `address`, which connects when the first call is made.

    `address` is host:port. Without `credentials` the connection is not encrypted. `timeout` is the deadline
    of unary calls in seconds, see `Client`.
    """
    options = channel_options()
    if credentials is None:
        return Client(grpc.insecure_channel(address, options=options), timeout)
    return Client(grpc.secure_channel(address, credentials, options=options), timeout)


class _Defaults(grpc.UnaryUnaryClientInterceptor):
    """Gives each call what its caller left out, see `with_defaults`."""

    def __init__(self, timeout: float | None) -> None:
        self._timeout = timeout

    def intercept_unary_unary(
        self, continuation: Callable[..., Any], client_call_details: Any, request: Any
    ) -> Any:
        return continuation(*with_defaults(client_call_details, request, self._timeout))
