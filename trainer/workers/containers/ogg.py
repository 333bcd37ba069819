"""OGG (RFC 3533): pages, and the links of a chain."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from earmark.trainer.workers.containers.errors import DAMAGED, UnusableAudioError, cut_short

HEADER_BYTES = 27
FIRST_PAGE = 0b10  # a flag of the first page of a stream
FLAGS_AT, GRANULE_AT, CRC_AT = 5, 6, 22
TAG_BYTES = 1 << 16
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))  # the bits of a byte from right to left


@dataclass(frozen=True, slots=True)
class Link:
    """Where one file of a chain lies, and how many samples it ends after, by its last page.

    They are counted from time 0, without those that the decoder needs first. None if it has several streams.
    """

    part: range
    end: int | None


@dataclass(frozen=True, slots=True)
class _Page:
    position: int
    data: bytes
    payload: bytes

    @property
    def is_first(self) -> bool:
        return bool(self.data[FLAGS_AT] & FIRST_PAGE)

    @property
    def granule(self) -> int:
        return int.from_bytes(self.data[GRANULE_AT : GRANULE_AT + 8], "little", signed=True)


def read_links(file: BinaryIO, start: int, end: int) -> list[Link]:
    """Finds the links of the chain: one begins with the first pages of all its streams.

    Raises UnusableAudioError if a page is damaged or incomplete.
    """
    links, heads, begin, granule = list[Link](), list[bytes](), start, -1
    in_first_pages, position = True, start
    for page in _read_pages(file, start, end):
        if page.is_first and not in_first_pages:
            links.append(_link(range(begin, page.position), heads, granule))
            heads, begin, granule = [], page.position, -1
        if page.is_first:
            heads.append(page.payload)
        in_first_pages = page.is_first
        granule = max(granule, page.granule)
        position = page.position + len(page.data)
    return [*links, _link(range(begin, position), heads, granule)]


def _link(part: range, heads: list[bytes], granule: int) -> Link:
    if len(heads) != 1 or granule < 0:
        return Link(part, None)
    is_opus = heads[0].startswith(b"OpusHead")
    return Link(part, granule - (int.from_bytes(heads[0][10:12], "little") if is_opus else 0))


def _read_pages(file: BinaryIO, position: int, end: int) -> Iterator[_Page]:
    while position < end:
        file.seek(position)
        head = file.read(HEADER_BYTES)
        if not head.startswith(b"OggS"):
            _check_end(file, position, end)
            return
        sizes = file.read(head[-1]) if len(head) == HEADER_BYTES else b""
        payload = file.read(sum(sizes))
        data = head + sizes + payload
        if len(head) < HEADER_BYTES or len(data) < HEADER_BYTES + head[-1] + sum(sizes):
            raise cut_short(f"it ends in the middle of an OGG page, after {end:,} bytes")
        if checksum(data) != int.from_bytes(data[CRC_AT : CRC_AT + 4], "little"):
            raise UnusableAudioError(DAMAGED)
        yield _Page(position, data, payload)
        position += len(data)


def checksum(page: bytes) -> int:
    """The CRC-32 of a page, whose own is taken as 0: zlib's with the bits of all bytes from right to left."""
    data = (page[:CRC_AT] + bytes(4) + page[CRC_AT + 4 :]).translate(_REVERSED)
    crc = zlib.crc32(data, 0xFFFF_FFFF) ^ 0xFFFF_FFFF
    return int.from_bytes(crc.to_bytes(4, "little").translate(_REVERSED))


def _check_end(file: BinaryIO, position: int, end: int) -> None:
    """Raises UnusableAudioError if the bytes that belong to no page are more than a tag at the end."""
    file.seek(position)
    if end - position > TAG_BYTES or b"OggS" in file.read():
        raise UnusableAudioError(DAMAGED)
