"""Conversions that every resource needs: times, JSON forms, enums and etags."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, TypeVar

from google.protobuf import json_format, timestamp_pb2
from google.protobuf.message import Message

E = TypeVar("E", bound=int)
M = TypeVar("M", bound=Message)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECONDS_PER_DAY = 86_400


def timestamp(time: datetime | None) -> timestamp_pb2.Timestamp | None:
    """The time as a protobuf timestamp; None, an unset field, stays None."""
    if time is None:
        return None
    since = time - _EPOCH
    seconds = since.days * _SECONDS_PER_DAY + since.seconds
    return timestamp_pb2.Timestamp(seconds=seconds, nanos=since.microseconds * 1000)


def to_json(message: Message) -> dict[str, Any]:
    """The message's JSON form with the proto's field names. Configurations and events are stored in it."""
    return json_format.MessageToDict(message, preserving_proto_field_name=True)


def from_json(value: dict[str, Any], message_type: type[M]) -> M:
    """The message of a stored JSON form. Unknown fields, from older versions, are ignored."""
    try:
        # Many times faster than ParseDict. Enough if every value has the same form in JSON and in Python.
        return message_type(**value)
    except (TypeError, ValueError):
        return json_format.ParseDict(value, message_type(), ignore_unknown_fields=True)


def enum_names(enum: Any, prefix: str, numbers: Iterable[int]) -> list[str]:
    """The stored names of an enum's values: TRAINING_JOB_STATUS_QUEUED is "queued"."""
    return [str(enum.Name(number)).removeprefix(prefix).lower() for number in numbers]


def enum_number(enum: type[E], prefix: str, name: str) -> E:
    """The enum value with this stored name."""
    wrapper: Any = enum  # The stubs declare a class; at runtime it is an EnumTypeWrapper.
    number: E = wrapper.Value(prefix + name.upper())
    return number


def etag(version: int) -> str:
    """The etag of a resource's version."""
    return f"v{version}"
