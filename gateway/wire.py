"""Counts what a message has on the wire, before it is decoded.

Two bytes can stand for an object of a hundred. So the first list, map or free-form value that is larger than
the contract allows ends the check, and it takes a bounded time whatever was sent.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError

from earmark.gateway.errors import FieldViolation, InvalidArgumentError
from earmark.gateway.field_rules import limits
from earmark.gateway.pieces import Pieces

# A smaller message is decoded at once: it takes at most a millisecond.
SMALL_BYTES = 16 << 10
# Of a google.protobuf.Struct.
FREE_FORM_BYTES = 16 << 10
# How many fields a message may have on the wire, and how many more for each element that its lists may have.
FIELDS = 1000
FIELDS_PER_ELEMENT = 25
_FIELDS_PER_PIECE = 500
_LONGEST_VARINT = 10
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_SIZES = {_FIXED64: 8, _FIXED32: 4}
_FREE_FORM = "google.protobuf.Struct"


@dataclass(frozen=True, slots=True)
class _Field:
    """What is checked of a field. `most`: elements that its list may have, None for any number.

    `most_bytes`: of the field's value, None for any number.
    """

    name: str
    is_repeated: bool
    most: int | None
    most_bytes: int | None
    inner: Descriptor | None


@dataclass(slots=True)
class _Open:
    """A message whose fields are being read: its end in the bytes, and how many elements its lists have."""

    fields: Mapping[int, _Field]
    end: int
    above: "_Open | None" = None
    name: str = ""
    counts: dict[int, int] = field(default_factory=dict)

    def path(self, name: str) -> str:
        """The path of a field in it."""
        return f"{self.above.path(self.name)}.{name}" if self.above else name


async def check(data: bytes, message: Descriptor) -> None:
    """Raises InvalidArgumentError for the first excess, and DecodeError for bytes that are no message."""
    most, pieces = most_fields(message), Pieces()
    current, position, count = _Open(_fields(message), len(data)), 0, 0
    while True:
        while position == current.end:
            if current.above is None:
                return
            current = current.above
        count += 1
        if count > most:
            problem = f"the message has more than {most} fields on the wire: send smaller parts"
            raise InvalidArgumentError([FieldViolation("", problem)], reason="INVALID_MESSAGE")
        if count % _FIELDS_PER_PIECE == 0:
            await pieces.next()
        tag, position = _varint(data, position)
        kind = tag & 7
        length, position = (
            _varint(data, position) if kind == _BYTES else (_length(data, position, kind), position)
        )
        if position + length > current.end:
            raise DecodeError("a field ends after its message")
        known = current.fields.get(tag >> 3)
        if known is not None:
            index = _check(known, tag >> 3, length if kind == _BYTES else 0, current)
            if known.inner is not None and kind == _BYTES and length:
                name = f"{known.name}[{index}]" if known.is_repeated else known.name
                current = _Open(_fields(known.inner), position + length, current, name)
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


@cache
def _fields(message: Descriptor) -> Mapping[int, _Field]:
    """The fields of a message, by their numbers."""
    return {known.number: _field(known, limits(message).get(known.name)) for known in message.fields}


def _field(known: FieldDescriptor, most: int | None) -> _Field:
    inner, most_bytes = known.message_type, None
    most = most if known.is_repeated else None
    if inner is not None and inner.full_name == _FREE_FORM:
        most_bytes = FREE_FORM_BYTES
    elif inner is None and known.is_repeated and most is not None and known.type not in _TEXTS:
        most_bytes = most * _LONGEST_VARINT  # they are packed
    return _Field(known.name, bool(known.is_repeated), most, most_bytes, inner)


def _check(known: _Field, number: int, length: int, current: _Open) -> int:
    """The index of the element, 0 for no list. Raises InvalidArgumentError for one too many or too large."""
    index = 0
    if known.is_repeated:
        index = current.counts.get(number, 0)
        current.counts[number] = index + 1
    if (known.most is not None and index >= known.most) or (
        known.most_bytes is not None and length > known.most_bytes
    ):
        raise _excess(known, index, length, current)
    return index


_TEXTS = (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES)


def _excess(known: _Field, index: int, length: int, current: _Open) -> InvalidArgumentError:
    name = known.name
    if known.inner is not None and known.inner.full_name == _FREE_FORM and length > FREE_FORM_BYTES:
        problem = f"has {length} bytes as a serialized message; at most {FREE_FORM_BYTES} are allowed"
        name = f"{name}[{index}]" if known.is_repeated else name
    else:
        problem = f"must contain no more than {known.most} items"
    return InvalidArgumentError([FieldViolation(current.path(name), problem)])


def _length(data: bytes, position: int, kind: int) -> int:
    """The number of bytes of a field's value that does not say it."""
    if kind == _VARINT:
        return _varint(data, position)[1] - position
    if kind in _SIZES:
        return _SIZES[kind]
    raise DecodeError("a field of an unknown kind")


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """The number at the position, and the position after it."""
    if position < len(data) and data[position] < 0x80:  # noqa: PLR2004 the last byte of a number has no such bit
        return data[position], position + 1
    value = shift = 0
    for byte in data[position : position + _LONGEST_VARINT]:
        value |= (byte & 0x7F) << shift
        shift += 7
        position += 1
        if byte < 0x80:  # noqa: PLR2004 as above
            return value, position
    raise DecodeError("a number has no end")
