"""WAV, RF64, W64, AIFF and AU: containers whose audio is one chunk with a size in front.

Recorders that crash, stream or count wrongly leave a wrong size there while all the audio follows.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from earmark.trainer.workers.containers.errors import UnusableAudioError, cut_short
from earmark.trainer.workers.containers.spliced import Part

SLACK_BYTES = 64  # recorders count their own header, or padding, as audio
UNKNOWN_LENGTHS = range(0x7FFF_0000, 0x1_0000_0000)  # written in place of a stream's length
MAX_FORMAT_BYTES = 1 << 12
RIFF_HEADER_BYTES = 12
W64_HEADER_BYTES = 40
W64_CHUNK = struct.Struct("<16sQ")
AU_HEADER = struct.Struct(">4sII")


@dataclass(frozen=True, slots=True)
class Wave:
    """The `fmt ` chunk of a WAV file, and where its audio lies. `is_sound`: its sizes are right."""

    format: bytes
    audio: range
    is_sound: bool

    @property
    def code(self) -> int:
        """The registered number of the codec (mmreg.h)."""
        return int.from_bytes(self.format[:2], "little")

    def mended(self) -> list[Part]:
        """The parts of a WAV file with the same audio and the right sizes."""
        size = min(len(self.audio), UNKNOWN_LENGTHS[-1])
        format_chunk = struct.pack("<4sI", b"fmt ", len(self.format)) + self.format
        head = b"WAVE" + format_chunk + bytes(len(self.format) % 2) + struct.pack("<4sI", b"data", size)
        total = min(len(head) + size, UNKNOWN_LENGTHS[-1])
        return [struct.pack("<4sI", b"RIFF", total) + head, self.audio]


def read_wave(file: BinaryIO, size: int) -> Wave:
    """Finds the audio of a WAV or RF64 file of `size` bytes. Raises UnusableAudioError if it is cut short."""
    format_, is_sound, long_length = b"", True, None
    for name, start, length, is_aligned in _riff_chunks(file, size):
        is_sound &= is_aligned
        if name == b"ds64":  # the 64-bit sizes of an RF64 file: of the whole, then of the audio
            long_length = struct.unpack("<8xQ", file.read(16).ljust(16, b"\0"))[0]
        elif name == b"fmt ":
            format_ = file.read(min(length, MAX_FORMAT_BYTES))
        elif name == b"data":
            announced = long_length if long_length is not None and length in UNKNOWN_LENGTHS else length
            return _wave(format_, range(start, size), announced, is_sound=is_sound)
    raise UnusableAudioError("the WAV file ends before its audio begins: upload the whole file")


def _wave(format_: bytes, rest: range, announced: int, *, is_sound: bool) -> Wave:
    if announced == 0 and len(rest) > SLACK_BYTES:  # its writer was cut off before it wrote the size
        return Wave(format_, rest, is_sound=False)
    if announced not in UNKNOWN_LENGTHS:
        check_length(len(rest), announced)
    return Wave(format_, rest[:announced], is_sound)


def _riff_chunks(file: BinaryIO, size: int) -> Iterator[tuple[bytes, int, int, bool]]:
    """Yields the name, the start and the length of each chunk, and whether it begins where it should.

    A chunk of odd length has a byte of padding behind it, which some writers forget.
    """
    position, is_aligned = RIFF_HEADER_BYTES, True
    while position + 8 <= size:
        file.seek(position)
        name, length = struct.unpack("<4sI", file.read(8))
        yield name, position + 8, length, is_aligned
        position += 8 + length
        if length % 2:
            file.seek(position)
            following = file.read(4)
            is_aligned = not (following.isascii() and following.decode("ascii").isprintable())
            position += is_aligned


def check_length(there: int, announced: int) -> None:
    """Raises UnusableAudioError if so many bytes of audio are fewer than announced."""
    if there + SLACK_BYTES < announced:
        raise cut_short(f"its header announces {announced:,} bytes of audio, {there:,} are there")


def check_aiff(file: BinaryIO, size: int) -> None:
    """Raises UnusableAudioError if bytes of the audio of an AIFF file are missing."""
    position = RIFF_HEADER_BYTES
    while position + 8 <= size:
        file.seek(position)
        name, length = struct.unpack(">4sI", file.read(8))
        if name == b"SSND":
            check_length(size - position - 8, length)
            return
        position += 8 + length + length % 2


def check_w64(file: BinaryIO, size: int) -> None:
    """Raises UnusableAudioError if bytes of the audio of a Sony Wave64 file are missing."""
    position = W64_HEADER_BYTES
    while position + W64_CHUNK.size <= size:
        file.seek(position)
        name, length = W64_CHUNK.unpack(file.read(W64_CHUNK.size))
        if name[:4] == b"data":
            check_length(size - position, length)
            return
        position += max(W64_CHUNK.size, length + -length % 8)


def check_au(file: BinaryIO, size: int) -> None:
    """Raises UnusableAudioError if bytes of the audio of an AU file are missing."""
    file.seek(0)
    _, start, length = AU_HEADER.unpack(file.read(AU_HEADER.size).ljust(AU_HEADER.size, b"\0"))
    if length not in UNKNOWN_LENGTHS:
        check_length(size - start, length)
