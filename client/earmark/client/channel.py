"""The connection to a gateway."""

import json
import uuid
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import grpc

from earmark.v1 import (
    admin_service_pb2,
    admin_service_pb2_grpc,
    annotation_service_pb2,
    annotation_service_pb2_grpc,
    audio_service_pb2,
    audio_service_pb2_grpc,
    dataset_service_pb2,
    dataset_service_pb2_grpc,
    detection_service_pb2_grpc,
    model_service_pb2,
    model_service_pb2_grpc,
    training_service_pb2,
    training_service_pb2_grpc,
)

DEFAULT_ADDRESS = "localhost:50051"
_MESSAGE_BYTES = 16 * 1024 * 1024
_FILES = (
    admin_service_pb2,
    annotation_service_pb2,
    audio_service_pb2,
    dataset_service_pb2,
    model_service_pb2,
    training_service_pb2,
)


class Client:
    """One connection to a gateway, and a generated stub for each of its services.

    Unary calls are retried while the gateway is UNAVAILABLE, for about 5 seconds. This is safe for changes
    too: a request without a request_id, the idempotency key, is sent with a fresh one. Streams are not
    retried by themselves; `watch`, `wait_until_ready` and `upload` retry theirs.
    """

    def __init__(self, channel: grpc.Channel) -> None:
        self.channel = channel
        intercepted = grpc.intercept_channel(channel, _RequestIds())
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


def connect(address: str = DEFAULT_ADDRESS, credentials: grpc.ChannelCredentials | None = None) -> Client:
    """Return a client of the gateway at `address`, which connects when the first call is made.

    `address` is host:port. Without `credentials` the connection is not encrypted.
    """
    options = channel_options()
    if credentials is None:
        return Client(grpc.insecure_channel(address, options=options))
    return Client(grpc.secure_channel(address, credentials, options=options))


def channel_options() -> list[tuple[str, str | int]]:
    """Return the channel options that `connect` uses, for callers who make the channel themselves."""
    return [
        ("grpc.service_config", json.dumps({"methodConfig": [_retries()]})),
        ("grpc.max_receive_message_length", _MESSAGE_BYTES),
        ("grpc.max_send_message_length", _MESSAGE_BYTES),
        # A watch may be idle for a long time; keepalive detects a peer that vanished within 40 seconds.
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        # By default, the pauses between tries to reconnect grow to two minutes.
        ("grpc.initial_reconnect_backoff_ms", 200),
        ("grpc.min_reconnect_backoff_ms", 200),
        ("grpc.max_reconnect_backoff_ms", 3_000),
    ]


def _retries() -> dict[str, Any]:
    """Return the service config entry that retries every unary RPC: 5 tries within about 5 seconds."""
    return {
        "name": [
            {"service": service.full_name, "method": method.name}
            for file in _FILES
            for service in file.DESCRIPTOR.services_by_name.values()
            for method in service.methods
            if not (method.client_streaming or method.server_streaming)
        ],
        "retryPolicy": {
            "maxAttempts": 5,
            "initialBackoff": "0.3s",
            "maxBackoff": "3s",
            "backoffMultiplier": 2,
            "retryableStatusCodes": ["UNAVAILABLE"],
        },
    }


class _RequestIds(grpc.UnaryUnaryClientInterceptor):
    """Gives each change a request_id, the idempotency key, so that a retry cannot make anything twice."""

    def intercept_unary_unary(
        self, continuation: Callable[..., Any], client_call_details: Any, request: Any
    ) -> Any:
        if "request_id" in request.DESCRIPTOR.fields_by_name and not request.request_id:
            sent = type(request)()
            sent.CopyFrom(request)
            sent.request_id = str(uuid.uuid4())
            request = sent
        return continuation(client_call_details, request)
