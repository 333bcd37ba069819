"""MPEG audio (ISO 11172-3, 13818-3 and "MPEG 2.5"): frames one after the other, tags between them.

The tags are left out, since decoders take those between joined streams for damage. The number of frames is
compared with the one in the header frame of an encoder ("Xing", "Info"), if there is one.
"""

from dataclasses import dataclass
from typing import BinaryIO

from earmark.trainer.workers.containers.errors import DAMAGED, UnusableAudioError, cut_short, unreadable

ID3_BYTES, ID3V1_BYTES, APE_BYTES = 10, 128, 32
TAG_BYTES = 1 << 16  # that may precede the first frame, or follow the last, and are no frames
HEADER_FRAME_BYTES = 192  # within which the mark of a header frame begins

# By the two bits of a header: kbit/s for the first version and for the others, by layer.
_FIRST = {
    1: (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    2: (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    3: (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
}
_LATER = {
    1: (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    2: (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    3: (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES = (44_100, 48_000, 32_000)
_RATE_DIVISORS = {0b11: 1, 0b10: 2, 0b00: 4}  # versions 1, 2 and 2.5


@dataclass(frozen=True, slots=True)
class Header:
    """The first four bytes of a frame. `length` is None if only the distance to the next frame gives it."""

    layer: int
    sample_rate: int
    samples: int
    length: int | None


@dataclass(frozen=True, slots=True)
class Frames:
    """Where the frames lie, the first of their headers, and the most samples per channel that they have."""

    parts: list[range]
    first: Header
    samples: int


def parse_header(data: bytes) -> Header | None:
    """The header that these four bytes are, if they are one."""
    bits = int.from_bytes(data)
    version, layer = bits >> 19 & 3, 4 - (bits >> 17 & 3)
    rate, bitrate = bits >> 10 & 3, bits >> 12 & 15
    is_header = len(data) == 4 and bits >> 21 == 0x7FF and version != 1 and layer != 4  # noqa: PLR2004 of 11 ones
    if not is_header or rate == 3 or bitrate == 15:  # noqa: PLR2004 reserved values
        return None
    divisor = _RATE_DIVISORS[version]
    sample_rate = _RATES[rate] // divisor
    samples = {1: 384, 2: 1152, 3: 1152 if divisor == 1 else 576}[layer]
    if bitrate == 0:
        return Header(layer, sample_rate, samples, None)
    kbits = (_FIRST if divisor == 1 else _LATER)[layer][bitrate - 1]
    slot = 4 if layer == 1 else 1
    slots = samples // 8 * kbits * 1000 // sample_rate // slot + (bits >> 9 & 1)
    return Header(layer, sample_rate, samples, slots * slot)


def read_frames(file: BinaryIO, start: int, end: int) -> Frames:
    """Finds the frames between two positions of the file.

    Raises UnusableAudioError if there are none, or if some are missing or damaged.
    """
    position = first_at = _first_frame(file, start, end)
    first = _header_at(file, position)
    if first.length is None:
        return Frames([range(start, end)], first, 0)
    parts, part, count = [], position, 0
    while position + 4 <= end:
        file.seek(position)
        head = file.read(4)
        header = parse_header(head)
        if header is not None and header.length is not None:
            position += header.length
            count += 1
            continue
        parts.append(range(part, position))
        position = part = _after_tag(file, position, end)
    parts.append(range(part, min(position, end)))
    if position > end:
        raise cut_short(f"it ends in the middle of an MP3 frame, after {end:,} bytes")
    _check_count(file, first_at, first, count)
    return Frames(parts, first, count * first.samples)


def after_id3(head: bytes) -> int:
    """The length of the ID3v2 tag here: its size has four times seven bits (id3v2.4.0-structure)."""
    a, b, c, d = head[6:10].ljust(4, b"\0")
    return ID3_BYTES + (a << 21 | b << 14 | c << 7 | d)


def _first_frame(file: BinaryIO, start: int, end: int) -> int:
    position = _find_frame(file, start, end)
    if position is None:
        raise unreadable("MP3")
    return position


def _find_frame(file: BinaryIO, start: int, end: int) -> int | None:
    """Where two frames follow each other, or one ends the file: padding, and tags, may precede them."""
    file.seek(start)
    head = file.read(min(TAG_BYTES, end - start))
    offset = head.find(b"\xff")
    while offset >= 0:
        header = parse_header(head[offset : offset + 4])
        if header is not None and _is_followed(file, start + offset, header, end):
            return start + offset
        offset = head.find(b"\xff", offset + 1)
    return None


def _is_followed(file: BinaryIO, position: int, header: Header, end: int) -> bool:
    if header.length is None:
        return True
    following = position + header.length
    file.seek(following)
    return following == end or parse_header(file.read(4)) is not None


def _header_at(file: BinaryIO, position: int) -> Header:
    file.seek(position)
    header = parse_header(file.read(4))
    assert header is not None
    return header


def _after_tag(file: BinaryIO, position: int, end: int) -> int:
    """The end of a tag, or of the file if no frame follows. Raises UnusableAudioError for other bytes."""
    file.seek(position)
    head = file.read(APE_BYTES)
    if head.startswith(b"ID3"):
        return position + after_id3(head)
    if head.startswith(b"TAG"):
        return position + ID3V1_BYTES
    if head.startswith(b"APETAGEX"):
        return position + APE_BYTES + int.from_bytes(head[12:16], "little")
    file.seek(position)
    rest = file.read(min(TAG_BYTES, end - position))
    padding = len(rest) - len(rest.lstrip(b"\0"))
    if padding:
        return position + padding
    if end - position > TAG_BYTES or _find_frame(file, position, end) is not None:
        raise UnusableAudioError(DAMAGED)
    return end


def _check_count(file: BinaryIO, position: int, first: Header, count: int) -> None:
    """Compares the frames with the number in the header frame, which does not count itself."""
    file.seek(position)
    head = file.read(HEADER_FRAME_BYTES)
    mark = max(head.find(b"Xing"), head.find(b"Info"))
    if mark < 0 or not head[mark + 7] & 1:
        return
    announced = int.from_bytes(head[mark + 8 : mark + 12])
    if count < announced:
        seconds = first.samples / first.sample_rate
        raise cut_short(
            f"its header announces {announced * seconds:.2f} s of audio, {count * seconds:.2f} s are there"
        )
