"""Opens the audio of a file with the library that decodes it exactly."""

import os
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO, Protocol

import numpy as np
from jaxtyping import Float32

from earmark.trainer.workers.containers import asf, boxes, chunks, flac, matroska, mpeg, ogg
from earmark.trainer.workers.containers.errors import UnusableAudioError
from earmark.trainer.workers.containers.spliced import Spliced
from earmark.trainer.workers.formats import Sniffed, sniff, sniff_head
from earmark.trainer.workers.libsndfile import SndfileSource

try:
    from earmark.trainer.workers import libav
except ModuleNotFoundError:  # a machine without PyAV
    libav = None  # type: ignore[assignment]

MPEG_CODES = frozenset({0x50, 0x55})  # of MP2 and MP3 in WAV, mmreg.h
LIVE_HEAD_BYTES = 256  # enough to recognise a format
FLAC_BITS = frozenset({8, 16, 24})  # that libsndfile reads


class NoDecoderError(Exception):
    """This machine lacks what decodes the file. The message says what to install."""


class Source(Protocol):
    """The decoded audio of a file, which is read once."""

    announced: int | None
    """Samples per channel, if a header says how many; there may be more or fewer."""
    sample_rate: int
    channels: int

    @property
    def is_fine(self) -> bool:
        """Whether 16 bits are too few for its samples."""

    @property
    def is_float(self) -> bool:
        """Whether it stores samples as floating point."""

    def blocks(self, samples: int) -> Iterator[Float32[np.ndarray, "samples channels"]]:
        """Yields the audio in blocks of about so many samples per channel."""


def open_source(file: BinaryIO) -> Source:
    """Raises UnusableAudioError, NoDecoderError and MemoryError."""
    found = sniff(file)
    return OPENERS[found.container](file, found)


def _open_sndfile(file: BinaryIO, found: Sniffed) -> Source:
    checks = {"AIFF": chunks.check_aiff, "AU": chunks.check_au, "W64": chunks.check_w64}
    if check := checks.get(found.container):
        check(file, found.end)
    return SndfileSource(file, found.container)


def _open_wav(file: BinaryIO, found: Sniffed) -> Source:
    wave = chunks.read_wave(file, found.end)
    if wave.code in MPEG_CODES:
        return _open_mpeg(file, Sniffed("MP3", wave.audio.start, wave.audio.stop))
    if not wave.is_sound:
        return SndfileSource(Spliced(file.fileno(), wave.mended()), "WAV")
    return SndfileSource(file, "WAV")


def _open_flac(file: BinaryIO, found: Sniffed) -> Source:
    info = flac.read_stream_info(file, found.start)
    has_total = info.samples > 0 and flac.samples_by_last_frame(file, found.end, info) <= info.samples
    if info.bits in FLAC_BITS and has_total:
        return SndfileSource(file, "FLAC")
    return _open_libav(file, found, announced=info.samples or None, least=info.samples)


def _open_mpeg(file: BinaryIO, found: Sniffed) -> Source:
    frames = mpeg.read_frames(file, found.start, found.end)
    if frames.first.length is None:  # "free format", which FFmpeg lacks
        return SndfileSource(Spliced(file.fileno(), frames.parts), "MP3")
    return _open_libav(file, found, [(frames.parts, None)], announced=frames.samples)


def _open_ogg(file: BinaryIO, found: Sniffed) -> Source:
    links = ogg.read_links(file, found.start, found.end)
    return _open_libav(file, found, [([link.part], link.end) for link in links])


def _open_other(file: BinaryIO, found: Sniffed) -> Source:
    checks = {"MP4": boxes.check_boxes, "WebM/Matroska": matroska.check_elements, "WMA": asf.check_asf}
    if check := checks.get(found.container):
        check(file, found.end)
    return _open_libav(file, found)


def _open_libav(
    file: BinaryIO,
    found: Sniffed,
    links: Sequence[tuple[Sequence[range], int | None]] = (),
    announced: int | None = None,
    least: int = 0,
) -> Source:
    """Each link is a stream of its own: its parts, and after how many samples it ends. A file may be one."""
    if libav is None:
        raise NoDecoderError(f"this trainer cannot decode {found.container}: install the package av on it")
    whole = [([range(found.start, found.end)], None)]
    streams = [libav.Link(Spliced(file.fileno(), parts), end) for parts, end in links or whole]
    return libav.LibavSource(streams, libav.DEMUXERS[found.container], announced, least)


def open_live(descriptor: int) -> Source:
    """What comes, in a format that can be decoded as it comes. Raises what open_source raises."""
    head = b""
    while len(head) < LIVE_HEAD_BYTES and (data := os.read(descriptor, LIVE_HEAD_BYTES)):
        head += data
    container = sniff_head(head)
    if libav is None:
        raise NoDecoderError(f"this trainer cannot decode {container}: install the package av on it")
    if container not in libav.LIVE_DEMUXERS:
        supported = ", ".join(libav.LIVE_DEMUXERS)
        raise UnusableAudioError(
            f"{container} cannot be decoded as it comes, only {supported}, and raw samples with LiveAudio.pcm"
        )
    incoming = libav.Incoming(descriptor, head)
    return libav.LibavSource([libav.Link(incoming)], libav.LIVE_DEMUXERS[container])


OPENERS: dict[str, Callable[[BinaryIO, Sniffed], Source]] = {
    "WAV": _open_wav,
    "W64": _open_sndfile,
    "AIFF": _open_sndfile,
    "AU": _open_sndfile,
    "CAF": _open_sndfile,
    "FLAC": _open_flac,
    "MP3": _open_mpeg,
    "OGG": _open_ogg,
    "AAC": _open_other,
    "AMR": _open_other,
    "MP4": _open_other,
    "WMA": _open_other,
    "WebM/Matroska": _open_other,
}


def warm_up(flac_file: BinaryIO) -> None:
    """Lets PyAV import what it imports when it decodes, if it is installed."""
    if libav is not None:
        size = os.fstat(flac_file.fileno()).st_size
        links = [libav.Link(Spliced(flac_file.fileno(), [range(size)]))]
        for _ in libav.LibavSource(links, libav.DEMUXERS["FLAC"]).blocks(1):
            pass
