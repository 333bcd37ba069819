"""Training data without a running system: synthetic or from a folder, repeated to any length."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate, cycle, takewhile
from pathlib import Path

import numpy as np
import soundfile  # type: ignore[import-untyped]  # has no stubs

from bench.tools.folder import annotations, audio, channel
from earmark.scores import FRAME_MS
from earmark.storage.objects import ObjectStore
from earmark.trainer.data.loading import Dataset
from earmark.trainer.data.split import Split
from earmark.trainer.features.frontend import FEATURES
from earmark.trainer.features.stored import FileFeatures, file_features, pack_features
from earmark.trainer.job import Annotation, TrainingConfig, TrainingFile
from earmark.trainer.learning.precompile import DEFAULT
from earmark.trainer.regions import draw_region
from earmark.trainer.workers.views import VIEWS

FRAMES_PER_MINUTE = 60_000 // FRAME_MS
FILE_MINUTES = 1
EVENT_MS = 300
EVENT_EVERY_MS = 6_000  # of each type


def synthetic_dataset(types: Sequence[str], minutes: float) -> Dataset:
    """Noise in files of at most FILE_MINUTES, with events of each type at random positions."""
    rng = np.random.default_rng(0)
    count = int(-(-minutes // FILE_MINUTES))
    frames = int(minutes * FRAMES_PER_MINUTE / count)
    files, values = [], []
    for number in range(count):
        annotated = [
            Annotation(kind, int(start), int(start) + EVENT_MS)
            for kind in types
            for start in rng.uniform(0, frames * FRAME_MS - EVENT_MS, frames * FRAME_MS // EVENT_EVERY_MS)
        ]
        files.append(_file(str(number), frames * FRAME_MS, annotated))
        noise = rng.standard_normal((frames, FEATURES), np.float32).astype(np.float16)
        values.append(FileFeatures.of_mono(noise))
    return Dataset(tuple(files), tuple(values))


def read(folder: Path) -> Dataset:
    """The features of the folder's audio, and its annotations."""
    rows, files, values = annotations(folder), [], []
    for path in audio(folder):
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        annotated = [
            Annotation(row["artifact_type"], int(row["start_ms"]), int(row["end_ms"]), channel=channel(row))
            for row in rows
            if row["filename"] == path.name
        ]
        files.append(_file(path.name, len(samples) * 1000 // rate, annotated))
        values.append(file_features(samples.T, rate, views=VIEWS))
    return Dataset(tuple(files), tuple(values))


def _file(name: str, duration_ms: int, annotated: Sequence[Annotation]) -> TrainingFile:
    return TrainingFile(name, "", "", duration_ms, tuple(annotated))


def stored(dataset: Dataset, objects: ObjectStore) -> tuple[TrainingFile, ...]:
    """The files of a job, whose features are put into `objects`."""
    files = []
    for file, values in zip(dataset.files, dataset.features, strict=True):
        objects.put(file.audio_file_id, pack_features(values))
        # The order of the files, and so the model, depends on this. safetensors writes its head in any order.
        digest = hashlib.sha256(values.tracks.tobytes()).hexdigest()
        files.append(replace(file, sha256=digest, features=file.audio_file_id))
    return tuple(files)


def default_config(dataset: Dataset, seed: int = 0) -> TrainingConfig:
    """The configuration of a job that learns every type in the dataset and sets nothing else."""
    return replace(DEFAULT, artifact_types=types_of(dataset), seed=seed)


def repeated(dataset: Dataset, minutes: float) -> Dataset:
    """Whole files repeated up to `minutes`, at least one. Repetitions share their features' memory."""
    limit = minutes * FRAMES_PER_MINUTE
    lengths = accumulate(values.frames for values in cycle(dataset.features))
    count = max(1, sum(1 for _ in takewhile(lambda total: total <= limit, lengths)))
    numbers = [number % len(dataset.files) for number in range(count)]
    return Dataset(
        tuple(dataset.files[number] for number in numbers), tuple(dataset.features[n] for n in numbers)
    )


def minutes_of(dataset: Dataset) -> float:
    """Minutes of audio in the dataset."""
    return sum(values.frames for values in dataset.features) / FRAMES_PER_MINUTE


def types_of(dataset: Dataset) -> tuple[str, ...]:
    """The artifact types that occur in the dataset, sorted."""
    kinds = {annotation.artifact_type for file in dataset.files for annotation in file.annotations}
    return tuple(sorted(kinds))


def split(dataset: Dataset, share: float) -> Split:
    """A split of whole files: the last `share` (0-1) of them are the validation set."""
    types = types_of(dataset)
    regions = [
        draw_region(dataset.files, number, 0, values.frames, types)
        for number, values in enumerate(dataset.features)
    ]
    trained = len(regions) - round(share * len(regions))
    return Split(tuple(regions[:trained]), tuple(regions[trained:]), (), "the last files are for validation")
