"""Training data without a system around it: made up, or a folder's, and as much of it as wanted."""

from collections.abc import Sequence
from itertools import accumulate, cycle, takewhile
from pathlib import Path

import numpy as np
import soundfile

from bench.tools.folder import annotations, audio
from trainer.data.loading import Dataset
from trainer.data.split import Split
from trainer.features.frontend import FEATURES, FRAME_MS, features
from trainer.job import Annotation, TrainingFile
from trainer.regions import draw_region

FRAMES_PER_MINUTE = 60_000 // FRAME_MS
FILE_MINUTES = 1
EVENT_MS = 300
EVENT_EVERY_MS = 6_000  # of each type


def made_up(types: Sequence[str], minutes: float) -> Dataset:
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
    return Dataset(tuple(files), tuple(values))


def read(folder: Path) -> Dataset:
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
    return Dataset(tuple(files), tuple(values))


def _file(name: str, duration_ms: int, marks: Sequence[Annotation]) -> TrainingFile:
    return TrainingFile(name, "", "", duration_ms, tuple(marks))


def repeated(loaded: Dataset, minutes: float) -> Dataset:
    """Whole files, over and over, up to `minutes`; one at least. They share their features' memory."""
    limit = minutes * FRAMES_PER_MINUTE
    lengths = accumulate(len(values) for values in cycle(loaded.features))
    count = max(1, sum(1 for _ in takewhile(lambda total: total <= limit, lengths)))
    numbers = [number % len(loaded.files) for number in range(count)]
    return Dataset(
        tuple(loaded.files[number] for number in numbers), tuple(loaded.features[n] for n in numbers)
    )


def minutes_of(loaded: Dataset) -> float:
    """Of audio."""
    return sum(map(len, loaded.features)) / FRAMES_PER_MINUTE


def types_of(loaded: Dataset) -> tuple[str, ...]:
    """Those that occur, by name."""
    return tuple(sorted({mark.artifact_type for file in loaded.files for mark in file.annotations}))


def split(loaded: Dataset, share: float) -> Split:
    """The last files are for validation: `share` (0-1) of them."""
    types = types_of(loaded)
    whole = [
        draw_region(loaded.files, number, 0, len(values), types)
        for number, values in enumerate(loaded.features)
    ]
    trained = len(whole) - round(share * len(whole))
    return Split(tuple(whole[:trained]), tuple(whole[trained:]), ())
