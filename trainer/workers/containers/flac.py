"""FLAC (RFC 9639): what its first block announces, and the number of samples by its last frame."""

from dataclasses import dataclass
from typing import BinaryIO

from earmark.trainer.workers.containers.errors import UnusableAudioError, cut_short

STREAM_INFO_AT, STREAM_INFO_BYTES = 8, 34
TAIL_BYTES = 1 << 17  # more than a frame of any usual size
SYNC = 0b111_1111_1111_1100  # the first 15 bits of a frame
HEADER_BYTES = 16  # of a frame, at most
NUMBER_BYTES, CONTINUED = 7, 0b10  # of a coded number: its length at most, how its later bytes begin
_SPECIAL_SIZES = {1: 192, **{code: 576 << code - 2 for code in range(2, 6)}}
_SIZES = {**_SPECIAL_SIZES, **{code: 256 << code - 8 for code in range(8, 16)}}


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """`samples` is per channel, 0 if unknown; `block` is the length of frames of a fixed size."""

    block: int
    channels: int
    bits: int
    samples: int


def read_stream_info(file: BinaryIO, start: int) -> StreamInfo:
    """Reads STREAMINFO, which is always the first block. Raises UnusableAudioError."""
    file.seek(start + STREAM_INFO_AT)
    data = file.read(STREAM_INFO_BYTES)
    if len(data) < STREAM_INFO_BYTES:
        raise cut_short("it ends in the middle of its header")
    fields = int.from_bytes(data[10:18])
    info = StreamInfo(
        block=int.from_bytes(data[2:4]),
        channels=(fields >> 41 & 7) + 1,
        bits=(fields >> 36 & 31) + 1,
        samples=fields & (1 << 36) - 1,
    )
    if not fields >> 44:
        raise UnusableAudioError("the FLAC header announces a sample rate of 0: export the file again")
    return info


def samples_by_last_frame(file: BinaryIO, size: int, info: StreamInfo) -> int:
    """The number of samples per channel up to the end of the last frame, 0 if none is found."""
    start = max(0, size - TAIL_BYTES)
    file.seek(start)
    tail = file.read()
    at = tail.rfind(b"\xff")
    while at >= 0:
        end = _end_of_frame(tail[at : at + HEADER_BYTES], info)
        if end is not None:
            return end
        at = tail.rfind(b"\xff", 0, at)
    return 0


def _end_of_frame(head: bytes, info: StreamInfo) -> int | None:
    """The number of samples up to the end of the frame that begins so, None if none does."""
    if int.from_bytes(head[:2]) >> 1 != SYNC or len(head) < HEADER_BYTES:
        return None
    size_code, rate_code = head[2] >> 4, head[2] & 15
    number_bytes = max(1, 8 - (head[4] ^ 0xFF).bit_length())
    number = _coded_number(head[4 : 4 + number_bytes])
    after = 4 + number_bytes
    size_bytes = {6: 1, 7: 2}.get(size_code, 0)
    rate_bytes = {12: 1, 13: 2, 14: 2}.get(rate_code, 0)
    checked = after + size_bytes + rate_bytes
    if number is None or crc8(head[:checked]) != head[checked]:
        return None
    block = int.from_bytes(head[after : after + size_bytes]) + 1 if size_bytes else _SIZES.get(size_code, 0)
    counts_samples = bool(head[1] & 1)
    return (number if counts_samples else number * info.block) + block


def _coded_number(data: bytes) -> int | None:
    """A number coded like a character in UTF-8, of up to 36 bits."""
    if len(data) == 1:
        return data[0]
    if len(data) > NUMBER_BYTES or any(byte >> 6 != CONTINUED for byte in data[1:]):
        return None
    value = data[0] & (1 << NUMBER_BYTES - len(data)) - 1
    for byte in data[1:]:
        value = value << 6 | byte & 0x3F
    return value


def crc8(data: bytes) -> int:
    """With the polynomial x^8 + x^2 + x + 1."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ (7 if crc & 0x80 else 0)) & 0xFF
    return crc
