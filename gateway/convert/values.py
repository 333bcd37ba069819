"""Between records and messages: what every service needs."""

from datetime import UTC, datetime
from typing import Any, TypeVar

from google.protobuf import json_format, timestamp_pb2
from google.protobuf.message import Message

M = TypeVar("M", bound=Message)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECONDS_PER_DAY = 86_400


def timestamp(time: datetime | None) -> timestamp_pb2.Timestamp | None:
    """None stays None: an unset field."""
    if time is None:
        return None
    since = time - _EPOCH
    seconds = since.days * _SECONDS_PER_DAY + since.seconds
    return timestamp_pb2.Timestamp(seconds=seconds, nanos=since.microseconds * 1000)


def to_json(message: Message) -> dict[str, Any]:
    """The message's JSON form, with the proto's field names: how configurations and events are stored."""
    return json_format.MessageToDict(message, preserving_proto_field_name=True)


def from_json(value: dict[str, Any], message_type: type[M]) -> M:
    """The message of a stored JSON form. Fields that are no longer known are left out."""
    try:
        # Many times faster, and enough for what JSON writes as Python does.
        return message_type(**value)
    except (TypeError, ValueError):
        return json_format.ParseDict(value, message_type(), ignore_unknown_fields=True)


def enum_name(enum: Any, prefix: str, number: int) -> str | None:
    """A state as it is stored: TRAINING_JOB_STATUS_QUEUED is "queued". None for UNSPECIFIED."""
    name: str = enum.Name(number)
    return None if number == 0 else name.removeprefix(prefix).lower()


def enum_number(enum: Any, prefix: str, text: str) -> int:
    """The enum's number of a stored state."""
    number: int = enum.Value(prefix + text.upper())
    return number


def etag(version: int) -> str:
    """A resource's version, as callers see it."""
    return f"v{version}"
