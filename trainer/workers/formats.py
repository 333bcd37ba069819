"""Recognises the format of a file by its bytes, never by its name, and checks that the file is complete."""

import os
import struct
from typing import BinaryIO

SUPPORTED = "WAV, FLAC, MP3 and OGG (Vorbis, Opus)"
CONVERT = "convert it, for example: ffmpeg -i INPUT -c:a flac OUTPUT.flac"

HEAD_BYTES = 4096
MPEG_SYNC = 0b1110_0000  # in the second byte of a frame of MPEG audio; the first is 0xff
ID3_BYTES = 10
OGG_HEADER_BYTES = 27
OGG_PAGE_BYTES = 65_307  # the longest page, RFC 3533
UNKNOWN_LENGTHS = range(0x7FFF_0000, 0x1_0000_0000)  # written in place of a stream's length
TAG_SLACK_BYTES = 1 << 16  # tags at the end of an MP3 file
TAG_SLACK_SHARE = 0.05


class UnusableAudioError(Exception):
    """The file cannot be used. The message says what is wrong with it and what to do."""


# Common containers that libsndfile does not read, or that are not supported: (offset, magic, name).
_UNSUPPORTED = (
    (4, b"ftyp", "MP4/M4A"),
    (0, b"\x1aE\xdf\xa3", "WebM/Matroska"),
    (0, b"0&\xb2u", "WMA"),
    (0, b"FORM", "AIFF"),
    (0, b"#!AMR", "AMR"),
    (0, b"caff", "CAF"),
    (0, b".snd", "AU"),
)


def sniff(source: BinaryIO) -> str:
    """Returns the format: WAV, FLAC, OGG or MP3. Raises UnusableAudioError for any other."""
    size = _size(source)
    if size == 0:
        raise UnusableAudioError("the file is empty (0 bytes): upload it again")
    source.seek(0)
    head = source.read(HEAD_BYTES)
    has_id3 = head[:3] == b"ID3"
    if has_id3:
        source.seek(_after_id3(head))
        head = source.read(HEAD_BYTES)
    container = _container(head)
    if container is None and has_id3:
        return "MP3"  # padding may follow the tag; the decoder searches further
    if container is None:
        start = head[:8].hex(" ")
        raise UnusableAudioError(
            f"this is not audio in a known format (its {size:,} bytes begin with {start}): upload {SUPPORTED}"
        )
    return container


def _container(head: bytes) -> str | None:
    if head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE":
        return "WAV"
    if head[:4] == b"fLaC":
        return "FLAC"
    if head[:4] == b"OggS":
        return "OGG"
    for offset, magic, name in _UNSUPPORTED:
        if head[offset : offset + len(magic)] == magic:
            raise UnusableAudioError(f"{name} is not yet supported, only {SUPPORTED}: {CONVERT}")
    if head[:1] == b"\xff" and len(head) > 1 and head[1] >= MPEG_SYNC:
        if head[1] & 0x06 == 0:  # layer 0: ADTS
            raise UnusableAudioError(f"AAC is not yet supported, only {SUPPORTED}: {CONVERT}")
        return "MP3"
    return None


def _after_id3(head: bytes) -> int:
    """Returns the end of an ID3v2 tag. Its size has four times seven bits (id3.org, id3v2.4.0-structure)."""
    a, b, c, d = head[6:10].ljust(4, b"\0")
    return ID3_BYTES + (a << 21 | b << 14 | c << 7 | d)


def check_whole(source: BinaryIO, container: str) -> None:
    """Raises UnusableAudioError if libsndfile would decode only a part of the file without an error."""
    checks = {"WAV": _check_wav, "OGG": _check_ogg, "MP3": _check_mp3}
    if container in checks:
        source.seek(0)
        checks[container](source, _size(source))


def _size(source: BinaryIO) -> int:
    return os.fstat(source.fileno()).st_size


def _check_wav(file: BinaryIO, size: int) -> None:
    """Compares the length in the data chunk's header with the bytes that follow."""
    position = 12
    while position + 8 <= size:
        file.seek(position)
        name, length = struct.unpack("<4sI", file.read(8))
        rest = size - position - 8
        if name == b"data":
            if length == 0 and rest > 0:
                raise UnusableAudioError(
                    f"the WAV header announces no audio but {rest:,} bytes follow: its writer was cut off; "
                    f"{CONVERT}"
                )
            if rest < length and length not in UNKNOWN_LENGTHS:
                raise UnusableAudioError(
                    f"the file is cut short: its header announces {length:,} bytes of audio, {rest:,} are "
                    "there; upload the whole file"
                )
            return
        position += 8 + length + length % 2
    raise UnusableAudioError("the WAV file ends before its audio begins: upload the whole file")


def _check_ogg(file: BinaryIO, size: int) -> None:
    """Compares the length of the last page with the bytes that follow its start."""
    file.seek(max(0, size - OGG_PAGE_BYTES))
    tail = file.read()
    page = tail[tail.rfind(b"OggS") :]
    segments = page[OGG_HEADER_BYTES - 1] if len(page) >= OGG_HEADER_BYTES else 255
    sizes = page[OGG_HEADER_BYTES : OGG_HEADER_BYTES + segments]
    if len(page) < OGG_HEADER_BYTES + segments + sum(sizes):
        raise UnusableAudioError(
            f"the file is cut short: it ends in the middle of an OGG page, after {size:,} bytes; "
            "upload the whole file"
        )


def _check_mp3(file: BinaryIO, size: int) -> None:
    """Compares the Xing header's byte count with the file: decoders ignore all bytes beyond it."""
    head = file.read(HEAD_BYTES)
    start = _after_id3(head) if head[:3] == b"ID3" else 0
    file.seek(start)
    head = file.read(HEAD_BYTES)
    tag = max(head.find(b"Xing"), head.find(b"Info"))
    if tag < 0 or len(head) < tag + 16:
        return
    flags = int.from_bytes(head[tag + 4 : tag + 8])
    announced = int.from_bytes(head[tag + 8 + 4 * (flags & 1) :][:4])
    if flags & 2 and size - start > announced * (1 + TAG_SLACK_SHARE) + TAG_SLACK_BYTES:
        raise UnusableAudioError(
            f"several MP3 streams are joined in this file: the first announces {announced:,} bytes, "
            f"{size - start:,} are there; {CONVERT}, one file for each stream"
        )
