"""OGG files for tests, page by page."""

import struct
from collections.abc import Iterator, Sequence

from earmark.trainer.workers.containers.ogg import checksum


def page(packets: Sequence[bytes], number: int, granule: int, *, first: bool = False) -> bytes:
    """A page of whole packets."""
    sizes = b"".join(bytes([255] * (len(packet) // 255) + [len(packet) % 255]) for packet in packets)
    head = b"OggS\0" + bytes([2 if first else 0]) + struct.pack("<qIII", granule, 1, number, 0)
    return signed(head + bytes([len(sizes)]) + sizes + b"".join(packets))


def signed(data: bytes) -> bytes:
    """The page with its right checksum."""
    return data[:22] + struct.pack("<I", checksum(data)) + data[26:]


def pages(ogg: bytes) -> Iterator[bytes]:
    """The pages of an OGG file."""
    position = 0
    while position < len(ogg):
        segments = ogg[position + 26]
        end = position + 27 + segments + sum(ogg[position + 27 : position + 27 + segments])
        yield ogg[position:end]
        position = end


def with_serial(ogg: bytes, serial: int) -> bytes:
    """The same stream under another number, with right checksums."""
    return b"".join(signed(each[:14] + struct.pack("<I", serial) + each[18:]) for each in pages(ogg))
