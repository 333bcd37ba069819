"""Audio made in the test: speech-like buzz with marked defects, and files of it in an object store."""

import hashlib
from functools import cache

import numpy as np
from scipy.signal import lfilter

from storage.objects import ObjectStore
from trainer.events import Completed
from trainer.features.frontend import features, pack_features
from trainer.job import Annotation, TrainingConfig, TrainingFile, TrainingJob
from trainer.learning.loop import train

RATE = 16_000


def speech(seconds: float, seed: int, rate: int = RATE) -> np.ndarray:
    """(samples,) float32: a pulse train of wandering pitch through two resonances, in syllables."""
    rng = np.random.default_rng(seed)
    samples = int(seconds * rate)
    pitch = 120 + 40 * np.sin(2 * np.pi * rng.uniform(0.2, 0.5) * np.arange(samples) / rate)
    pulses = np.diff(np.floor(np.cumsum(pitch / rate)), prepend=0)
    voice = pulses + 0.02 * rng.standard_normal(samples)
    for hertz in (600, 1500):
        voice = lfilter([1], [1, -1.9 * np.cos(2 * np.pi * hertz / rate), 0.9], voice)
    syllables = 0.3 + 0.7 * np.abs(np.sin(2 * np.pi * 2.0 * np.arange(samples) / rate + rng.uniform(0, 6)))
    voice *= syllables
    return (0.3 * voice / np.abs(voice).max()).astype(np.float32)


def marked(seconds: float, seed: int) -> tuple[np.ndarray, list[Annotation]]:
    """Speech with a dropout or a burst of noise about every second and a half, and where they are."""
    rng = np.random.default_rng(seed + 1000)
    audio, marks = speech(seconds, seed), []
    for number, at in enumerate(np.arange(0.5, seconds - 0.6, 1.5)):
        start, length = int(at * RATE), int(rng.uniform(0.15, 0.4) * RATE)
        part = slice(start, start + length)
        if number % 2:
            audio[part] = 0
        else:
            audio[part] += rng.uniform(-0.3, 0.3, length).astype(np.float32)
        kind = "gone" if number % 2 else "noisy"
        marks.append(Annotation(kind, start * 1000 // RATE, (start + length) * 1000 // RATE))
    return audio, marks


@cache
def _packed(audio: bytes) -> bytes:
    return pack_features(features(np.frombuffer(audio, np.float32)[None], RATE))


def stored_file(objects: ObjectStore, name: str, audio: np.ndarray, marks: list[Annotation]) -> TrainingFile:
    key = f"features/{name}"
    objects.put(key, _packed(audio.tobytes()))
    digest = hashlib.sha256(audio.tobytes()).hexdigest()
    return TrainingFile(name, digest, key, len(audio) * 1000 // RATE, tuple(marks))


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
    stored = [stored_file(objects, f"file-{n}", *marked(seconds, n)) for n in range(files)]
    return TrainingJob("job", 1, config(**changes), tuple(stored), "out")


def never() -> None:
    """Nobody asks the job to stop."""


def completed(job: TrainingJob, objects: ObjectStore) -> Completed:
    return list(train(job, objects, never))[-1]
