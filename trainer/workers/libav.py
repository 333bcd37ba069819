"""Decodes what is compressed, with FFmpeg's libraries through PyAV.

Its wheel has GPL libraries: nothing but the process that decodes may import this. FFmpeg opens no file by
itself: it reads what it is given, by one demuxer and with codecs that are on a list. It logs nothing.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal, NoReturn

import av
import av.audio.codeccontext
import av.subtitles.codeccontext
import av.subtitles.stream
import av.video.codeccontext
import av.video.stream
import numpy as np
from av import AudioFormat, AudioFrame
from av.audio import AudioStream
from av.container import InputContainer
from av.stream import Disposition
from jaxtyping import Float32, Shaped

from earmark.trainer.workers.containers.errors import (
    CONVERT,
    DAMAGED,
    UnusableAudioError,
    cut_short,
    unreadable,
)
from earmark.trainer.workers.containers.spliced import Spliced

CODECS = frozenset(
    [
        *(
            "aac",
            "ac3",
            "alac",
            "amrnb",
            "amrwb",
            "eac3",
            "flac",
            "mp1",
            "mp1float",
            "mp2",
            "mp2float",
            "mp3",
        ),
        *("mp3float", "opus", "speex", "vorbis", "wmalossless", "wmapro", "wmav1", "wmav2"),
        *("pcm_alaw", "pcm_mulaw", "pcm_u8", "pcm_s8", "pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_s24be"),
        *("pcm_s32le", "pcm_s32be", "pcm_f32le", "pcm_f32be", "pcm_f64le", "pcm_f64be"),
    ]
)
MAX_STREAMS = 64
COARSE_BYTES = 2  # a lossless codec's samples of more are stored with 24 bits
LIVE_OPTIONS = {
    "analyzeduration": "500000",
    "probesize": "65536",
}  # half a second is enough, or so many bytes
MAX_GAP_SECONDS = 0.05  # recorders' timestamps are off by less
MAX_SILENCE_MINUTES = 10  # more is a damaged timestamp rather than a muted microphone
MAX_PADDING = 1 << 13  # samples; an encoder fills its last frame, and may add another
# 0, the samples in front, those behind, those between
ITUNES_LENGTHS = re.compile(r"\s*(?:[0-9A-Fa-f]{1,16}\s+){3}([0-9A-Fa-f]{1,16})\b")
PLANAR = {"u8p": "u1", "s16p": "i2", "s32p": "i4", "fltp": "f4", "dblp": "f8"}
STRICT = {"err_detect": "crccheck+explode"}

Raw = Shaped[np.ndarray, "samples channels"]


@dataclass(frozen=True, slots=True)
class Demuxer:
    """How FFmpeg reads a container.

    `gaps` says what a gap between timestamps stands for, of more than `max_gap` seconds: silence that was not
    recorded, bytes that are missing, or nothing. If it `ends_exactly`, what lies just behind the track's
    duration is an encoder's padding.
    """

    container: str
    name: str
    gaps: Literal["silence", "damage", "nothing"] = "nothing"
    max_gap: float = MAX_GAP_SECONDS
    ends_exactly: bool = False


DEMUXERS = {
    demuxer.container: demuxer
    for demuxer in (
        Demuxer("MP3", "mp3"),
        Demuxer("OGG", "ogg", gaps="damage"),
        Demuxer("FLAC", "flac", gaps="damage", max_gap=0),
        Demuxer("AAC", "aac"),
        Demuxer("AMR", "amr"),
        Demuxer("MP4", "mov", gaps="silence", ends_exactly=True),
        Demuxer("WebM/Matroska", "matroska", gaps="silence"),
        Demuxer("WMA", "asf", gaps="silence"),
    )
}


LIVE_DEMUXERS = {
    **{name: DEMUXERS[name] for name in ("MP3", "OGG", "FLAC", "AAC", "AMR", "MP4", "WebM/Matroska")},
    "WAV": Demuxer("WAV", "wav"),
}


class Incoming:
    """Bytes that come as they are made, and cannot be read again."""

    def __init__(self, descriptor: int, head: bytes) -> None:
        self._descriptor = descriptor
        self._head = head

    def read(self, size: int) -> bytes:
        """Returns what there is, at most so many bytes; none at the end."""
        if self._head:
            data, self._head = self._head[:size], self._head[size:]
            return data
        return os.read(self._descriptor, size)


@dataclass(frozen=True, slots=True)
class Link:
    """What is decoded as a stream of its own, and the number of samples after which it ends, if known."""

    file: Spliced | Incoming
    end: int | None = None


class LibavSource:
    """The default audio track of a file, or its first. Links are decoded one after another."""

    def __init__(
        self, links: Sequence[Link], demuxer: Demuxer, announced: int | None = None, least: int = 0
    ) -> None:
        """Decodes the first frame. A header says how many samples per channel there are, or at least are.

        Raises UnusableAudioError and MemoryError.
        """
        self.announced = announced
        self._least = least
        self._demuxer = demuxer
        self._frame_kind: tuple[int, int, str] | None = None
        self._is_lossless = False
        pieces = chain.from_iterable(map(self._decode, links))
        first = next(pieces, None)
        if self._frame_kind is None or first is None:
            raise UnusableAudioError("the file contains no audio (0 samples): upload one that does")
        self._pieces: Iterator[Raw] = chain([first], pieces)
        rate, channels, sample_format = self._frame_kind
        self.sample_rate: int = rate
        self.channels: int = channels
        self._sample_format: str = sample_format

    @property
    def is_fine(self) -> bool:
        """Whether 16 bits are too few for its samples."""
        return self._is_lossless and AudioFormat(self._sample_format).bytes > COARSE_BYTES

    @property
    def is_float(self) -> bool:
        """Whether it stores samples as floating point."""
        return self._is_lossless and self._sample_format.startswith(("flt", "dbl"))

    def blocks(self, samples: int) -> Iterator[Float32[np.ndarray, "samples channels"]]:
        """Yields the audio in blocks of at least so many samples per channel; the last may have fewer.

        Raises UnusableAudioError where it is damaged, and MemoryError.
        """
        waiting, count, total = list[Raw](), 0, 0
        for piece in self._pieces:
            waiting.append(piece)
            count += len(piece)
            total += len(piece)
            if count >= samples:
                yield to_float(np.concatenate(waiting))
                waiting, count = [], 0
        if waiting:
            yield to_float(np.concatenate(waiting))
        if total < self._least:
            seconds, decoded = self._least / self.sample_rate, total / self.sample_rate
            raise cut_short(
                f"its header announces {seconds:.2f} s of audio, {decoded:.2f} s could be decoded"
            )

    def _decode(self, link: Link) -> Iterator[Raw]:
        """Yields the samples of one link, as its codec stores them."""
        with self._errors(), _opened(link.file, self._demuxer) as container:
            stream = self._track(container)
            frames = _frames(container, stream)
            first = next(frames, None)
            if first is None:
                return
            rate = first.sample_rate  # that of the header may be half of it
            start = (container.start_time or 0) * rate / av.time_base
            tick = float(stream.time_base or 0) * rate
            pieces = self._placed(chain([first], frames), start, tick)
            if link.end is not None:
                pieces = without_padding(pieces, link.end - round(start))
            elif self._demuxer.ends_exactly and stream.duration:
                end = round(((stream.start_time or 0) + stream.duration) * tick - start)
                self.announced = end
                pieces = without_padding(pieces, itunes_length(container.metadata) or end)
            yield from pieces

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except MemoryError:
            raise
        except av.FFmpegError as error:
            if self._frame_kind is not None:
                raise UnusableAudioError(DAMAGED) from error
            raise unreadable(self._demuxer.container) from error

    def _track(self, container: InputContainer) -> AudioStream:
        streams = container.streams.audio
        if not streams:
            raise UnusableAudioError(
                f"the {self._demuxer.container} file has no audio track: upload one with it"
            )
        stream = next((each for each in streams if each.disposition & Disposition.default), streams[0])
        codec = stream.codec_context.codec if stream.codec_context is not None else None
        if codec is None or codec.name not in CODECS:
            name = codec.canonical_name if codec is not None else "unknown"
            raise UnusableAudioError(f"the audio is of the codec {name}, which is not supported: {CONVERT}")
        stream.codec_context.thread_count = 1
        stream.codec_context.options = STRICT
        self._is_lossless = codec.lossless and not codec.lossy
        return stream

    def _placed(self, frames: Iterator[AudioFrame], start: float, tick: float) -> Iterator[Raw]:
        """Yields what is decoded, and silence for what was not recorded.

        Both are in samples: the time at which the file starts, and the unit of its timestamps.
        """
        position = 0
        for frame in frames:
            self._check_kind(frame)
            if self._demuxer.gaps != "nothing" and frame.pts is not None:
                missing = round(frame.pts * tick - start) - position
                if missing > self._demuxer.max_gap * frame.sample_rate:
                    yield from self._gap(missing, frame)
                    position += missing
            yield to_rows(frame)
            position += frame.samples

    def _gap(self, samples: int, frame: AudioFrame) -> Iterator[Raw]:
        if self._demuxer.gaps == "damage":
            raise UnusableAudioError(DAMAGED)
        minutes = samples / frame.sample_rate / 60
        if minutes > MAX_SILENCE_MINUTES:
            raise UnusableAudioError(
                f"{minutes:.0f} minutes are missing between two timestamps, {MAX_SILENCE_MINUTES} at most "
                f"count as silence: the file is damaged; {CONVERT}"
            )
        row = to_rows(frame)[:1]
        silence = np.full_like(row, 1 << 7 if row.dtype == np.uint8 else 0)
        for start in range(0, samples, frame.sample_rate):
            yield silence.repeat(min(frame.sample_rate, samples - start), axis=0)

    def _check_kind(self, frame: AudioFrame) -> None:
        """Raises UnusableAudioError if the audio changes its rate or its channels."""
        kind = frame.sample_rate, frame.layout.nb_channels, frame.format.name
        if self._frame_kind is None:
            self._frame_kind = kind
        if kind != self._frame_kind:
            (rate, channels, _), (new_rate, new_channels, _) = self._frame_kind, kind
            raise UnusableAudioError(
                f"the audio changes from {channels} channel(s) at {rate:,} Hz to {new_channels} at "
                f"{new_rate:,} Hz in the middle: upload its parts as files of their own"
            )


@contextmanager
def _opened(part: Spliced | Incoming, demuxer: Demuxer) -> Iterator[InputContainer]:
    options = {
        "format_whitelist": demuxer.name,
        "codec_whitelist": ",".join(sorted(CODECS)),
        "protocol_whitelist": "none",
        "max_streams": str(MAX_STREAMS),
    }
    if isinstance(part, Spliced):
        part.seek(0)
    else:
        options |= LIVE_OPTIONS
    with av.open(
        part, "r", demuxer.name, container_options=options, metadata_errors="replace", io_open=_refuse
    ) as container:
        yield container


def _refuse(*_arguments: Any) -> NoReturn:
    raise UnusableAudioError("the file refers to another: upload one that contains its audio")


def _frames(container: InputContainer, stream: AudioStream) -> Iterator[AudioFrame]:
    for packet in container.demux(stream):
        if packet.is_corrupt:
            raise UnusableAudioError(DAMAGED)
        yield from stream.decode(packet)


def itunes_length(metadata: Mapping[str, str]) -> int | None:
    """The number of samples that iTunes says there are, besides those in front and behind, in hexadecimal."""
    found = ITUNES_LENGTHS.match(metadata.get("iTunSMPB", ""))
    return int(found[1], 16) if found else None


def without_padding(pieces: Iterator[Raw], length: int) -> Iterator[Raw]:
    """Leaves out what lies behind `length` samples, if it is no more than MAX_PADDING samples.

    If it is more, the length that a header announces is wrong, and all is yielded.
    """
    position, behind = 0, list[Raw]()
    for piece in pieces:
        inside = max(0, length - position)
        position += len(piece)
        if inside and len(piece[:inside]):
            yield piece[:inside]
        behind.append(piece[inside:])
        if position - length > MAX_PADDING:
            yield from (each for each in behind if len(each))
            behind.clear()


def to_rows(frame: AudioFrame) -> Raw:
    """The samples of a frame, one row for each time."""
    if not frame.format.is_planar:
        return frame.to_ndarray().reshape(-1, frame.layout.nb_channels)
    # Of eight channels, PyAV makes nine planes: it looks for their end behind the eight.
    planes = frame.planes[: frame.layout.nb_channels]
    kind = PLANAR[frame.format.name]
    return np.stack([np.frombuffer(memoryview(plane), kind, frame.samples) for plane in planes], axis=1)


def to_float(values: Raw) -> Float32[np.ndarray, "samples channels"]:
    """Scales integers to -1..1."""
    if values.dtype == np.uint8:
        return values.astype(np.float32) / np.float32(1 << 7) - 1
    if values.dtype.kind == "i":
        return values.astype(np.float32) / np.float32(1 << 8 * values.itemsize - 1)
    return np.ascontiguousarray(values, np.float32)
