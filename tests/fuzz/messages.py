"""Messages made from their descriptors: valid ones, and what is done to them."""

import random
import uuid
from collections.abc import Callable
from typing import Any

from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from tests.fuzz.known import Known, kind_of

TYPES = ("glitch", "dropout")
NESTED = 4  # valid messages are no deeper
TEXTS = (
    "",
    "\0",
    "a" * 300,
    "\u202e\U0001f507" * 50,
    "x" * 100_000,
    "%s%n{}",
    "'; DROP TABLE datasets; --",
    "../../etc/passwd",
)
LARGE = (2**31 - 1, 2**31, 2**53, 2**63 - 1)
NUMBERS = (-1, 0, 1, *LARGE, *(-value for value in LARGE), -(2**63), 2**64 - 1)
FLOATS = (float("nan"), float("inf"), float("-inf"), -0.0, 5e-324, 1.7e308, -1.0, 2.0)
COUNTS = (2, 101, 300, 10_001)
_INTEGERS = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
    FieldDescriptor.CPPTYPE_ENUM: (-(2**31), 2**31 - 1),
}
_FLOATS = (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT)


def is_map(field: FieldDescriptor) -> bool:
    return bool(field.message_type and field.message_type.GetOptions().map_entry)


class Maker:
    """Makes the messages of one call."""

    def __init__(self, rng: random.Random, known: Known) -> None:
        self._rng = rng
        self._known = known

    def valid(self, descriptor: Descriptor, oneof: str = "", depth: int = 0) -> Message:
        """A message that the rules allow more often than not. `oneof`: which of its alternatives it has."""
        message = message_factory.GetMessageClass(descriptor)()
        if descriptor.full_name.startswith("google.protobuf."):
            return self._well_known(message)
        for field in descriptor.fields:
            alternatives = field.containing_oneof and field.containing_oneof.fields
            if alternatives and len(alternatives) > 1:
                chosen = oneof or self._rng.choice(alternatives).name
                if field.name != chosen:
                    continue
            elif depth > NESTED or self._rng.random() < 0.1:
                continue
            self._fill(message, field, depth)
        return message

    def mutate(self, message: Message) -> None:
        """Gives one field, at any depth, a value that nobody expects."""
        fields = [field for field in message.DESCRIPTOR.fields if not is_map(field)]
        if not fields:
            return
        field = self._rng.choice(fields)
        if field.is_repeated:
            self._repeat(message, field)
        elif field.message_type:
            self.mutate(getattr(message, field.name))
        else:
            setattr(message, field.name, self._extreme(field))

    def damaged(self, data: bytes) -> bytes:
        """The bytes of a message, damaged in one of several ways."""
        ways: tuple[Callable[[bytes], bytes], ...] = (
            self._truncated,
            self._flipped,
            self._spliced,
            lambda data: data + data,
            lambda _: self._rng.randbytes(self._rng.randrange(200)),
            lambda data: data + b"\xf8\x01\x00" * self._rng.choice((1, 100, 5_000)),
            lambda data: data + b"\x0a\x00" * self._rng.choice((1, 300, 20_000, 400_000)),
            lambda data: data + b"\x12\x00" * self._rng.choice((1, 300, 20_000, 400_000)),
            lambda _: nested(self._rng.choice((10, 99, 101, 3_000)), self._rng.choice((1, 2, 3, 8))),
            lambda data: data + b"\x0b" * self._rng.choice((1, 200, 10_000)),  # groups that do not end
            lambda data: data.replace(b"-", b"\xff").replace(b"a", b"\xc0"),  # text that is not UTF-8
            lambda data: data + self._padding(),
        )
        return self._rng.choice(ways)(data)

    def _padding(self) -> bytes:
        """An unknown field, at times larger than any message may be."""
        size = self._rng.choices((1 << 10, 1 << 16, 1 << 20, (8 << 20) + 1), (30, 10, 2, 1))[0]
        return bytes([0xFA, 0x01]) + varint(size) + bytes(size)

    def _truncated(self, data: bytes) -> bytes:
        return data[: self._rng.randrange(len(data) + 1)]

    def _flipped(self, data: bytes) -> bytes:
        flipped = bytearray(data)
        for _ in range(self._rng.choice((1, 3, 20)) if data else 0):
            flipped[self._rng.randrange(len(flipped))] ^= 1 << self._rng.randrange(8)
        return bytes(flipped)

    def _spliced(self, data: bytes) -> bytes:
        at = self._rng.randrange(len(data) + 1)
        return data[:at] + self._rng.randbytes(self._rng.choice((1, 4, 40))) + data[at:]

    def _fill(self, message: Message, field: FieldDescriptor, depth: int) -> None:
        count = self._rng.choice((0, 1, 1, 2, 3))
        if is_map(field):
            value = field.message_type.fields_by_name["value"]
            for _ in range(count):
                name = self._rng.choice(TYPES)
                if value.message_type:
                    getattr(message, field.name)[name].CopyFrom(
                        self.valid(value.message_type, depth=depth + 1)
                    )
                else:
                    getattr(message, field.name)[name] = self._scalar(message, value)
        elif field.message_type:
            for _ in range(count if field.is_repeated else 1):
                inner = self.valid(field.message_type, depth=depth + 1)
                target = getattr(message, field.name)
                (target.add() if field.is_repeated else target).CopyFrom(inner)
                if not field.is_repeated:
                    target.SetInParent()
        elif field.is_repeated:
            values = {self._scalar(message, field) for _ in range(count)}
            getattr(message, field.name).extend(sorted(values))
        else:
            setattr(message, field.name, self._scalar(message, field))

    def _scalar(self, message: Message, field: FieldDescriptor) -> Any:  # noqa: PLR0911 a case each
        rng = self._rng
        if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
            return rng.random() < 0.3
        if field.cpp_type == FieldDescriptor.CPPTYPE_ENUM:
            return rng.choice(field.enum_type.values[1:]).number
        if field.cpp_type in _FLOATS:
            return round(rng.uniform(0.0001, 0.5), 4)
        if field.type == FieldDescriptor.TYPE_BYTES:
            return rng.randbytes(rng.choice((0, 10, 3_000)))
        if field.type == FieldDescriptor.TYPE_STRING:
            return self._text(message.DESCRIPTOR.name, field.name)
        if field.name == "end_ms":
            return int(getattr(message, "start_ms", 0)) + rng.choice((1, 100, 5_000))
        return rng.choice((0, 1, 8, 100, 500, 1_000))

    def _text(self, message: str, field: str) -> str:  # noqa: PLR0911 a case each
        rng = self._rng
        kind = kind_of(message, field)
        if kind == "request_id":
            return str(uuid.UUID(int=rng.getrandbits(128 if rng.random() < 0.8 else 3), version=4))
        if kind in ("token", "cursor", "etag"):
            known, choice = self._known.pick(kind, rng), rng.random()
            return known if choice < 0.3 else self._flipped_text(known) if choice < 0.5 else ""
        if kind is not None:
            return self._known.pick(kind, rng)
        if "type" in field:
            return rng.choice(TYPES)
        if field == "sha256":
            return ""
        if field in ("source", "audio", "features", "prefix", "resume_from", "weights", "base_weights"):
            return self._known.pick("key", rng)
        return rng.choice(("calls", "name", "a b c", "\u00fc\u4e16", f"n{rng.randrange(1000)}"))

    def _flipped_text(self, text: str) -> str:
        if not text:
            return text
        at = self._rng.randrange(len(text))
        return text[:at] + self._rng.choice("AQgw_9-~") + text[at + 1 :]

    def _well_known(self, message: Any) -> Message:
        match message.DESCRIPTOR.name:
            case "FieldMask":
                names = (
                    "name",
                    "description",
                    "is_active",
                    "artifact_types",
                    "start_ms",
                    "extra_data",
                    "x.y",
                    "*",
                )
                message.paths.extend(sorted(self._rng.sample(names, self._rng.randrange(1, 4))))
            case "Struct":
                values = [1.5, "text", True, None, {"inner": [1, "two"]}, list(range(50))]
                message.update({f"k{n}": self._rng.choice(values) for n in range(self._rng.randrange(4))})
            case "Timestamp":
                message.seconds = self._rng.choice((0, 1_700_000_000))
        return message

    def _repeat(self, message: Message, field: FieldDescriptor) -> None:
        """A list that is too long, or has the same element many times."""
        count, target = self._rng.choice(COUNTS), getattr(message, field.name)
        if field.message_type:
            element = self.valid(field.message_type, depth=NESTED)
            target.extend([element] * count)
        else:
            target.extend([self._scalar(message, field)] * count)

    def _extreme(self, field: FieldDescriptor) -> Any:
        rng = self._rng
        if field.cpp_type in _INTEGERS:
            low, high = _INTEGERS[field.cpp_type]
            return rng.choice([number for number in NUMBERS if low <= number <= high])
        if field.cpp_type in _FLOATS:
            return rng.choice(FLOATS)
        if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
            return rng.random() < 0.5
        text = rng.choice(TEXTS)
        return text.encode() * rng.choice((1, 10)) if field.type == FieldDescriptor.TYPE_BYTES else text


def nested(depth: int, number: int) -> bytes:
    """Messages inside one another in the same field."""
    data = b""
    for _ in range(depth):
        data = bytes([number << 3 | 2]) + varint(len(data)) + data
    return data


def varint(value: int) -> bytes:
    low, rest = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + varint(rest) if rest else bytes([low])
