"""Counts what a message has on the wire, before it is decoded.

Two bytes can stand for an object of a hundred. So the first list, map or free-form value that is larger than
the contract allows ends the check, and it takes a bounded time whatever was sent.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError

from earmark.gateway.errors import FieldViolation, InvalidArgumentError
from earmark.gateway.field_rules import limits
from earmark.gateway.waits import Turns

# A smaller message is decoded at once: it takes at most a millisecond.
SMALL_BYTES = 16 << 10
# Of a google.protobuf.Struct.
FREE_FORM_BYTES = 16 << 10
# How many fields a message may have on the wire, and how many more for each element that its lists may have.
FIELDS = 1000
FIELDS_PER_ELEMENT = 25
_FIELDS_PER_TURN = 500
_LONGEST_VARINT = 10
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_SIZES = {_FIXED64: 8, _FIXED32: 4}
_FREE_FORM = "google.protobuf.Struct"


@dataclass(slots=True)
class _Open:
    """A message whose fields are being read: its end in the bytes, and how many elements its lists have."""

    message: Descriptor
    end: int
    path: str = ""
    counts: dict[int, int] = field(default_factory=dict)


async def check(data: bytes, message: Descriptor) -> None:
    """Raises InvalidArgumentError for the first excess, and DecodeError for bytes that are no message."""
    most, turns = most_fields(message), Turns()
    opened, position, count = [_Open(message, len(data))], 0, 0
    while opened:
        current = opened[-1]
        if position == current.end:
            opened.pop()
            continue
        count += 1
        if count > most:
            problem = f"the message has more than {most} fields on the wire: send smaller parts"
            raise InvalidArgumentError([FieldViolation("", problem)], reason="INVALID_MESSAGE")
        if count % _FIELDS_PER_TURN == 0:
            await turns.next()
        tag, position = _varint(data, position)
        length, position = _length(data, position, tag & 7)
        if position + length > current.end:
            raise DecodeError("a field ends after its message")
        known = current.message.fields_by_number.get(tag >> 3)
        if known is not None:
            inner = _checked(known, length if tag & 7 == _BYTES else 0, current, position)
            if inner is not None and tag & 7 == _BYTES:
                opened.append(inner)
                continue
        position += length


@cache
def most_fields(message: Descriptor) -> int:
    """How many fields a message of this type may have on the wire, in all."""
    return FIELDS + FIELDS_PER_ELEMENT * _elements(message)


def _elements(message: Descriptor, above: Sequence[str] = ()) -> int:
    """How many elements the lists of the message, and of the single messages inside, may have."""
    if message.full_name in above:
        return 0
    inside = [f.message_type for f in message.fields if f.message_type and not f.is_repeated]
    return sum(limits(message).values()) + sum(_elements(m, (*above, message.full_name)) for m in inside)


def _checked(known: FieldDescriptor, length: int, current: _Open, position: int) -> _Open | None:
    """The message in the field, if any. Raises InvalidArgumentError if it is one too many or too large."""
    path = known.name
    if known.is_repeated:
        index = current.counts.get(known.number, 0)
        current.counts[known.number] = index + 1
        limit = limits(current.message).get(known.name)
        packed = 0 if known.message_type or known.type in _TEXTS else length
        if limit is not None and (index >= limit or packed > limit * _LONGEST_VARINT):
            raise _excess(current, path, f"must contain no more than {limit} items")
        path = f"{path}[{index}]"
    inner = known.message_type
    if inner is None:
        return None
    if inner.full_name == _FREE_FORM and length > FREE_FORM_BYTES:
        problem = f"has {length} bytes as a serialized message; at most {FREE_FORM_BYTES} are allowed"
        raise _excess(current, path, problem)
    return _Open(inner, position + length, f"{current.path}{path}.")


_TEXTS = (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES)


def _excess(current: _Open, path: str, problem: str) -> InvalidArgumentError:
    return InvalidArgumentError([FieldViolation(current.path + path, problem)])


def _length(data: bytes, position: int, kind: int) -> tuple[int, int]:
    """The number of bytes of a field's value, and their start."""
    if kind == _BYTES:
        return _varint(data, position)
    if kind == _VARINT:
        return _varint(data, position)[1] - position, position
    if kind in _SIZES:
        return _SIZES[kind], position
    raise DecodeError("a field of an unknown kind")


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """The number at the position, and the position after it."""
    value = shift = 0
    for byte in data[position : position + _LONGEST_VARINT]:
        value |= (byte & 0x7F) << shift
        shift += 7
        position += 1
        if byte < 0x80:  # noqa: PLR2004 the last byte of a number has no such bit
            return value, position
    raise DecodeError("a number has no end")
