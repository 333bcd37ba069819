"""Makes the files that are searched: pieces of a folder's recordings, in the forms that people have."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile  # type: ignore[import-untyped]  # has no stubs
import soxr  # type: ignore[import-untyped]  # has no stubs

from bench.tools.folder import Row, annotations, audio

PIECE_SECONDS = 20
STEP_SECONDS = 7.3  # between the starts of the pieces of one pass: no two passes have the same pieces
SECOND_CHANNEL_SECONDS = 5  # how much later the other channel's piece starts


@dataclass(frozen=True, slots=True)
class Form:
    """The rate and the number of channels of the files."""

    name: str
    rate: int
    channels: int


FORMS = (Form("16 kHz mono", 16_000, 1), Form("44.1 kHz stereo", 44_100, 2))


def make(folder: Path, out: Path, form: Form, minutes: float) -> list[Row]:
    """Writes so many minutes of pieces of the folder's recordings to `out`. Returns their annotations.

    The recordings are one long recording, which is cut again and again at other places until there is enough.
    The annotations are those that lie in a piece as a whole.
    """
    long, rate, rows = _joined(folder)
    out.mkdir(parents=True, exist_ok=True)
    result: list[Row] = []
    for number, start in enumerate(_starts(len(long) / rate, round(60 * minutes / PIECE_SECONDS))):
        name = f"{number:04d}.wav"
        channels = [
            _piece(long, rate, start + later) for later in (0, SECOND_CHANNEL_SECONDS)[: form.channels]
        ]
        samples = soxr.resample(np.stack(channels, axis=1), rate, form.rate)
        soundfile.write(out / name, samples, form.rate)
        for channel in range(form.channels):
            result += _inside(rows, name, start + channel * SECOND_CHANNEL_SECONDS, channel)
    return result


def _joined(folder: Path) -> tuple[np.ndarray, int, list[Row]]:
    """The folder's recordings one after the other, their rate, and their annotations on the same timeline."""
    parts, rows, begin, rate = [], annotations(folder), 0, 0
    shifted: list[Row] = []
    for path in audio(folder):
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        milliseconds = begin * 1000 // rate
        shifted += [
            row | {key: str(int(row[key]) + milliseconds) for key in ("start_ms", "end_ms")}
            for row in rows
            if row["filename"] == path.name
        ]
        parts.append(samples[:, 0])
        begin += len(samples)
    return np.concatenate(parts), rate, shifted


def _starts(seconds: float, count: int) -> Iterator[float]:
    """The starts of `count` pieces."""
    room = seconds - PIECE_SECONDS - SECOND_CHANNEL_SECONDS
    for number in range(count):
        yield (number * (PIECE_SECONDS + STEP_SECONDS)) % room


def _piece(long: np.ndarray, rate: int, start: float) -> np.ndarray:
    first = round(start * rate)
    return long[first : first + PIECE_SECONDS * rate]


def _inside(rows: list[Row], name: str, start: float, channel: int) -> Iterator[Row]:
    first = round(start * 1000)
    for row in rows:
        onset, offset = int(row["start_ms"]) - first, int(row["end_ms"]) - first
        if onset >= 0 and offset <= PIECE_SECONDS * 1000:
            yield row | {
                "filename": name,
                "start_ms": str(onset),
                "end_ms": str(offset),
                "channel": str(channel),
            }
