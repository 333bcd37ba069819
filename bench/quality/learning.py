"""Trains on a set and detects in its test part, straight through the trainer's code.

A running system would give the same detections, since it runs the same code, but would compute all features
again for each seed.
"""

import sys
import tempfile
from dataclasses import dataclass, replace

import numpy as np

from bench.tools.data import default_config, stored
from bench.tools.folder import Row, detection_rows
from demo.placing import Rng
from earmark.storage.objects import ObjectStore
from earmark.trainer.data.loading import Dataset
from earmark.trainer.events import Completed, Notice
from earmark.trainer.job import Annotation, TrainingFile, TrainingJob
from earmark.trainer.learning.loop import train
from earmark.trainer.model import Model, load_model
from earmark.trainer.scoring.detection import detect
from earmark.trainer.scoring.findings import DetectionConfig

SHORTEST_MS = 10


@dataclass(frozen=True, slots=True)
class Marks:
    """How inexact training annotations are: the largest error of an edge, and the share that is missing."""

    jitter_ms: int = 0
    drop: float = 0.0

    def inexact(self, dataset: Dataset) -> Dataset:
        """The dataset with such annotations; the same at every call."""
        rng = np.random.default_rng(0)
        files = tuple(replace(file, annotations=self._annotations(file, rng)) for file in dataset.files)
        return replace(dataset, files=files)

    def _annotations(self, file: TrainingFile, rng: Rng) -> tuple[Annotation, ...]:
        kept = [annotation for annotation in file.annotations if rng.random() >= self.drop]
        moved = []
        for annotation in kept:
            errors = rng.integers(-self.jitter_ms, self.jitter_ms, 2, endpoint=True).tolist()
            start = min(max(0, annotation.start_ms + errors[0]), file.duration_ms - SHORTEST_MS)
            end = min(max(start + SHORTEST_MS, annotation.end_ms + errors[1]), file.duration_ms)
            moved.append(Annotation(annotation.artifact_type, start, end))
        return tuple(moved)


def trained(dataset: Dataset, seed: int) -> Model:
    """The model of a job with every default. Its notices go to stderr. Raises TrainingFailedError."""
    with tempfile.TemporaryDirectory(prefix="earmark-bench-") as folder:
        objects = ObjectStore.open(folder)
        files = stored(dataset, objects)
        job = TrainingJob("quality", 1, default_config(dataset, seed), files, "model")
        for event in train(job, objects, lambda: None):
            match event:
                case Notice():
                    print(event.message, file=sys.stderr)
                case Completed():
                    return load_model(objects, event.weights, event.config, event.sha256)
    raise AssertionError("a job ends with Completed")


def detected(model: Model, dataset: Dataset) -> list[Row]:
    """The detections in every file, with Detect's defaults."""
    return [
        row
        for file, values in zip(dataset.files, dataset.features, strict=True)
        for row in detection_rows(
            file.audio_file_id, detect(model, values, file.duration_ms, DetectionConfig())
        )
    ]
