"""Recognises the format of a file by its bytes, never by its name."""

import os
from dataclasses import dataclass
from typing import BinaryIO

from earmark.trainer.workers.containers.errors import CONVERT, UnusableAudioError
from earmark.trainer.workers.containers.mpeg import after_id3, parse_header

SUPPORTED = "WAV, AIFF, AU, CAF, FLAC, MP3, AAC, OGG, MP4/M4A/MOV, WebM/Matroska, WMA or AMR"

HEAD_BYTES = 4096
MAX_TAGS = 8  # in front of the audio

# Of each: where its mark is, the mark, its name.
_SUPPORTED = (
    (0, b"RF64", "WAV"),
    (0, b"riff\x2e\x91\xcf\x11", "W64"),
    (0, b"caff", "CAF"),
    (0, b".snd", "AU"),
    (0, b"fLaC", "FLAC"),
    (0, b"OggS", "OGG"),
    (0, b"\x1aE\xdf\xa3", "WebM/Matroska"),
    (0, bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c"), "WMA"),
    (0, b"#!AMR\n", "AMR"),
    (0, b"#!AMR-WB\n", "AMR"),
    *((4, box, "MP4") for box in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")),
)
_UNSUPPORTED = (
    (0, b"ADIF", "AAC in ADIF"),
    (0, b"#!AMR_MC", "AMR of several channels"),
    (0, b"#!AMR-WB_MC", "AMR of several channels"),
    (0, b"#EXTM3U", "a playlist"),
    (0, b"BW64", "BW64"),
    (0, b"wvpk", "WavPack"),
    (0, b"MAC ", "Monkey's Audio"),
    (0, b"TTA1", "TTA"),
    (0, b"MPCK", "Musepack"),
    (0, b"MP+", "Musepack"),
    (0, b"DSD ", "DSD"),
    (0, b"FRM8", "DSD"),
    (0, b"MThd", "MIDI"),
    (0, b".RMF", "RealMedia"),
    (0, b"FLV\x01", "Flash video"),
    (0, b"\x00\x00\x01\xba", "MPEG video"),
    (0, b"\x0b\x77", "AC-3"),
    (0, b"\x7f\xfe\x80\x01", "DTS"),
    (0, b"\x56\xe0", "AAC in LOAS"),
)
# Both of a form that has its name at byte 8.
_FORMS = {
    (b"RIFF", b"WAVE"): "WAV",
    (b"FORM", b"AIFF"): "AIFF",
    (b"FORM", b"AIFC"): "AIFF",
}
_UNSUPPORTED_FORMS = {(b"RIFF", b"AVI "): "AVI", (b"FORM", b"8SVX"): "8SVX", (b"RIFF", b"RMID"): "MIDI"}
TS_PACKET_BYTES = 188
ADTS_SYNC = 0xFFF0  # with the bits of the layer, which are 0


@dataclass(frozen=True, slots=True)
class Sniffed:
    """The container, and where it lies in the file: behind a tag, if there is one."""

    container: str
    start: int
    end: int


def sniff(source: BinaryIO) -> Sniffed:
    """Recognises the container. Raises UnusableAudioError for any that is not supported."""
    size = os.fstat(source.fileno()).st_size
    if size == 0:
        raise UnusableAudioError("the file is empty (0 bytes): upload it again")
    start, head = 0, _read(source, 0)
    for _ in range(MAX_TAGS):
        if head.startswith(b"ID3"):
            start += after_id3(head)
            head = _read(source, start)
    container = _container(head)
    if container is None and start > 0:
        container = "MP3"  # padding may follow the tag
    if container is None:
        raise UnusableAudioError(
            f"this is not audio in a known format (its {size:,} bytes begin with {head[:8].hex(' ')}): "
            f"upload {SUPPORTED}"
        )
    return Sniffed(container, min(start, size), size)


def sniff_head(head: bytes) -> str:
    """Recognises the container by the first bytes of a stream. Raises UnusableAudioError for any other."""
    container = "MP3" if head.startswith(b"ID3") else _container(head)
    if container is None:
        raise UnusableAudioError(
            f"this is not audio in a known format (it begins with {head[:8].hex(' ')}): send {SUPPORTED}, or "
            "raw samples with LiveAudio.pcm"
        )
    return container


def _read(source: BinaryIO, position: int) -> bytes:
    source.seek(position)
    return source.read(HEAD_BYTES)


def _container(head: bytes) -> str | None:
    form = head[:4], head[8:12]
    unsupported = _named(head, _UNSUPPORTED) or _UNSUPPORTED_FORMS.get(form)
    if head[:1] == b"G" and head[TS_PACKET_BYTES : TS_PACKET_BYTES + 1] == b"G":
        unsupported = "MPEG transport stream"
    if unsupported is not None:
        raise UnusableAudioError(f"{unsupported} is not supported, only {SUPPORTED}: {CONVERT}")
    return _FORMS.get(form) or _named(head, _SUPPORTED) or _of_frames(head)


def _named(head: bytes, names: tuple[tuple[int, bytes, str], ...]) -> str | None:
    return next((name for offset, magic, name in names if head.startswith(magic, offset)), None)


def _of_frames(head: bytes) -> str | None:
    """AAC in ADTS, and MPEG audio, which have no header but that of each frame."""
    if len(head) > 1 and int.from_bytes(head[:2]) & 0xFFF6 == ADTS_SYNC:
        return "AAC"
    return "MP3" if parse_header(head[:4]) is not None else None
