"""Training data without a system around it: made up, or a folder's, and as much of it as wanted."""

from collections.abc import Sequence
from itertools import accumulate, cycle, takewhile
from pathlib import Path

import numpy as np
import soundfile

from bench.folder import annotations, audio
from trainer.dataset import Loaded
from trainer.frontend import FEATURES, FRAME_MS, features
from trainer.job import Annotation, TrainingFile
from trainer.split import Region, Split

FRAMES_PER_MINUTE = 60_000 // FRAME_MS
FILE_MINUTES = 1
EVENT_MS = 300
EVENT_EVERY_MS = 6_000  # of each type


def made_up(types: Sequence[str], minutes: float) -> Loaded:
    """Noise in files of FILE_MINUTES at most, with events of each type at random places."""
    rng = np.random.default_rng(0)
    count = int(-(-minutes // FILE_MINUTES))
    frames = int(minutes * FRAMES_PER_MINUTE / count)
    files, values = [], []
    for number in range(count):
        marks = [
            Annotation(kind, int(start), int(start) + EVENT_MS)
            for kind in types
            for start in rng.uniform(0, frames * FRAME_MS - EVENT_MS, frames * FRAME_MS // EVENT_EVERY_MS)
        ]
        files.append(_file(str(number), frames * FRAME_MS, marks))
        values.append(rng.standard_normal((frames, FEATURES), np.float32).astype(np.float16))
    return Loaded(tuple(files), tuple(values))


def read(folder: Path) -> Loaded:
    """The folder's audio through the front end, and its annotations."""
    rows, files, values = annotations(folder), [], []
    for path in audio(folder):
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        marks = [
            Annotation(row["artifact_type"], int(row["start_ms"]), int(row["end_ms"]))
            for row in rows
            if row["filename"] == path.name
        ]
        files.append(_file(path.name, len(samples) * 1000 // rate, marks))
        values.append(features(samples.T, rate))
    return Loaded(tuple(files), tuple(values))


def _file(name: str, duration_ms: int, marks: Sequence[Annotation]) -> TrainingFile:
    return TrainingFile(name, "", "", duration_ms, tuple(marks))


def repeated(loaded: Loaded, minutes: float) -> Loaded:
    """Whole files, over and over, up to `minutes`; one at least. They share their features' memory."""
    limit = minutes * FRAMES_PER_MINUTE
    lengths = accumulate(len(values) for values in cycle(loaded.features))
    count = max(1, sum(1 for _ in takewhile(lambda total: total <= limit, lengths)))
    numbers = [number % len(loaded.files) for number in range(count)]
    return Loaded(
        tuple(loaded.files[number] for number in numbers), tuple(loaded.features[n] for n in numbers)
    )


def minutes_of(loaded: Loaded) -> float:
    """Of audio."""
    return sum(map(len, loaded.features)) / FRAMES_PER_MINUTE


def types_of(loaded: Loaded) -> tuple[str, ...]:
    """Those that occur, by name."""
    return tuple(sorted({mark.artifact_type for file in loaded.files for mark in file.annotations}))


def split(loaded: Loaded, share: float) -> Split:
    """The last files are held out: `share` (0-1) of them."""
    whole = [Region(number, 0, len(values)) for number, values in enumerate(loaded.features)]
    trained = len(whole) - round(share * len(whole))
    return Split(tuple(whole[:trained]), tuple(whole[trained:]), ())
