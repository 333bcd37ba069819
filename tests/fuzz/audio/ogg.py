"""Pages of OGG (RFC 3533), whose checksums hide damage from decoders until they are made anew."""

import struct
from functools import cache

HEADER = struct.Struct("<4sBBqIIIB")  # with the number of segments


def with_checksums(data: bytes) -> bytes:
    """With the right checksum in each page that can be found."""
    fixed = bytearray(data)
    start = fixed.find(b"OggS")
    while start >= 0 and start + HEADER.size <= len(fixed):
        segments = fixed[start + HEADER.size - 1]
        body = start + HEADER.size + segments
        end = body + sum(fixed[start + HEADER.size : body])
        fixed[start + 22 : start + 26] = bytes(4)
        fixed[start + 22 : start + 26] = _checksum(fixed[start:end]).to_bytes(4, "little")
        start = fixed.find(b"OggS", start + 4)
    return bytes(fixed)


def _checksum(data: bytes) -> int:
    value = 0
    for byte in data:
        value = (value << 8) & 0xFFFF_FFFF ^ _table()[value >> 24 ^ byte]
    return value


@cache
def _table() -> tuple[int, ...]:
    values = []
    for byte in range(256):
        value = byte << 24
        for _ in range(8):
            value = (value << 1 ^ (0x04C1_1DB7 if value >> 31 else 0)) & 0xFFFF_FFFF
        values.append(value)
    return tuple(values)
