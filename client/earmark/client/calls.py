"""What both clients, sync and asyncio, give their calls: channel options, retries, request ids, deadlines."""

import json
import uuid
from typing import Any

from earmark.v1 import (
    admin_service_pb2,
    annotation_service_pb2,
    audio_service_pb2,
    dataset_service_pb2,
    model_service_pb2,
    training_service_pb2,
)

DEFAULT_ADDRESS = "localhost:50051"
DEFAULT_TIMEOUT = 60.0
"""Seconds that a unary call may take, retries included, if neither the call nor `connect` says otherwise.

Streams have no deadline: a watch lasts as long as its job, and an upload as long as its file takes. Keepalive
and the heartbeats of watches show that the gateway is alive.
"""
_MESSAGE_BYTES = 16 * 1024 * 1024
_FILES = (
    admin_service_pb2,
    annotation_service_pb2,
    audio_service_pb2,
    dataset_service_pb2,
    model_service_pb2,
    training_service_pb2,
)


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
        # Despite its name, this is how long trying to connect may take at least: both sides may be busy.
        ("grpc.min_reconnect_backoff_ms", 5_000),
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


def with_defaults(details: Any, request: Any, timeout: float | None) -> tuple[Any, Any]:
    """Return the details and the request of a unary call with what the caller left out.

    A change gets a request_id, the idempotency key, so that a retry cannot make anything twice. The caller's
    message is not touched. A call without a deadline gets one, after `timeout` seconds. (A timeout in the
    service config would be simpler, but it also cuts the longer ones of callers.)
    """
    if details.timeout is None:
        details = details._replace(timeout=timeout)
    if "request_id" in request.DESCRIPTOR.fields_by_name and not request.request_id:
        sent = type(request)()
        sent.CopyFrom(request)
        sent.request_id = str(uuid.uuid4())
        request = sent
    return details, request
