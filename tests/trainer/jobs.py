"""Training jobs on synthetic sounds: files with features in an object store, and the result of a job."""

import hashlib
from functools import cache

import numpy as np

from earmark.storage.objects import ObjectStore
from earmark.trainer.events import Completed
from earmark.trainer.features.stored import file_features, pack_features
from earmark.trainer.job import Annotation, TrainingConfig, TrainingFile, TrainingJob
from earmark.trainer.learning.loop import train
from earmark.trainer.workers.views import VIEWS
from tests.sounds import RATE, annotated_speech


@cache
def _packed(audio: bytes, channels: int) -> bytes:
    samples = np.frombuffer(audio, np.float32).reshape(channels, -1)
    return pack_features(file_features(samples, RATE, views=VIEWS))


def stored_file(
    objects: ObjectStore, name: str, audio: np.ndarray, annotations: list[Annotation]
) -> TrainingFile:
    """A file with this audio (samples,) or (channels, samples)."""
    key, channels = f"features/{name}", np.atleast_2d(audio)
    objects.put(key, _packed(channels.tobytes(), len(channels)))
    digest = hashlib.sha256(channels.tobytes()).hexdigest()
    return TrainingFile(name, digest, key, channels.shape[1] * 1000 // RATE, tuple(annotations))


def config(**changes: object) -> TrainingConfig:
    values = {
        "artifact_types": ("gone", "noisy"),
        "epochs": 2,
        "validation_split": 0.2,
        "learning_rate": 0.001,
        "batch_size": 32,
        "chunk_size_ms": 500,
        "stride_ms": 250,
        "seed": 7,
    }
    return TrainingConfig(**(values | changes))


def training_job(objects: ObjectStore, files: int = 6, seconds: float = 20, **changes: object) -> TrainingJob:
    stored = [stored_file(objects, f"file-{n}", *annotated_speech(seconds, n)) for n in range(files)]
    return TrainingJob("job", 1, config(**changes), tuple(stored), "out")


def never() -> None:
    """A ShouldStop that never asks the job to stop."""


def completed(job: TrainingJob, objects: ObjectStore) -> Completed:
    return list(train(job, objects, never))[-1]
