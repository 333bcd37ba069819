"""What is done to valid messages: values that nobody expects, and bytes that are no message."""

import random
from collections.abc import Callable
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from tests.fuzz.messages import FLOATING, INTEGERS, Maker, is_map

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


def mutate(message: Message, rng: random.Random, maker: Maker) -> None:
    """Gives one field, at any depth, a value that nobody expects."""
    fields = [field for field in message.DESCRIPTOR.fields if not is_map(field)]
    if not fields:
        return
    field = rng.choice(fields)
    if field.is_repeated:
        maker.repeat(message, field, rng.choice(COUNTS))
    elif field.message_type:
        mutate(getattr(message, field.name), rng, maker)
    else:
        setattr(message, field.name, _extreme(field, rng))


def _extreme(field: FieldDescriptor, rng: random.Random) -> Any:
    if field.cpp_type in INTEGERS:
        low, high = INTEGERS[field.cpp_type]
        return rng.choice([number for number in NUMBERS if low <= number <= high])
    if field.cpp_type in FLOATING:
        return rng.choice(FLOATS)
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return rng.random() < 0.5
    text = rng.choice(TEXTS)
    return text.encode() * rng.choice((1, 10)) if field.type == FieldDescriptor.TYPE_BYTES else text


def damaged(data: bytes, rng: random.Random) -> bytes:
    """The bytes of a message, damaged in one of several ways."""
    ways: tuple[Callable[[bytes], bytes], ...] = (
        lambda data: data[: rng.randrange(len(data) + 1)],
        lambda data: flipped(data, rng),
        lambda data: spliced(data, rng),
        lambda data: data + data,
        lambda _: rng.randbytes(rng.randrange(200)),
        lambda data: data + b"\xf8\x01\x00" * rng.choice((1, 100, 5_000)),
        lambda data: data + b"\x0a\x00" * rng.choice((1, 300, 20_000, 400_000)),
        lambda data: data + b"\x12\x00" * rng.choice((1, 300, 20_000, 400_000)),
        lambda _: nested(rng.choice((10, 99, 101, 3_000)), rng.choice((1, 2, 3, 8))),
        lambda data: data + b"\x0b" * rng.choice((1, 200, 10_000)),  # groups that do not end
        lambda data: data.replace(b"-", b"\xff").replace(b"a", b"\xc0"),  # text that is not UTF-8
        lambda data: data + _padding(rng),
    )
    return rng.choice(ways)(data)


def flipped(data: bytes, rng: random.Random) -> bytes:
    """With some bits flipped."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 3, 20)) if data else 0):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def spliced(data: bytes, rng: random.Random) -> bytes:
    """With bytes put in."""
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.randbytes(rng.choice((1, 4, 40))) + data[at:]


def _padding(rng: random.Random) -> bytes:
    """An unknown field, at times larger than any message may be."""
    size = rng.choices((1 << 10, 1 << 16, 1 << 20, (8 << 20) + 1), (30, 10, 2, 1))[0]
    return bytes([0xFA, 0x01]) + varint(size) + bytes(size)


def nested(depth: int, number: int) -> bytes:
    """Messages inside one another in the same field."""
    data = b""
    for _ in range(depth):
        data = bytes([number << 3 | 2]) + varint(len(data)) + data
    return data


def varint(value: int) -> bytes:
    low, rest = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + varint(rest) if rest else bytes([low])
