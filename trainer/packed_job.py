"""A training job whose annotations are still in the records that a gateway sent.

A job may have millions. The front, which answers other calls meanwhile, hands them on as they are; the
training process unpacks them.
"""

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np

from earmark.trainer.job import Annotation, TrainingFile, TrainingJob

# As TrainRequest.File has it. A channel of -1 is none.
RECORD = np.dtype(
    [("type", ">i2"), ("start_ms", ">i8"), ("end_ms", ">i8"), ("confidence", ">f8"), ("channel", ">i2")]
)


@dataclass(frozen=True, slots=True)
class PackedFile:
    """A TrainingFile with its annotations in records."""

    audio_file_id: str
    sha256: str
    features: str
    duration_ms: int
    records: bytes
    group: str | None = None

    def check(self, types: int) -> None:
        """Raises ValueError if it has no audio, or no whole records of so many types."""
        if self.duration_ms <= 0:
            raise ValueError(f"its duration_ms is {self.duration_ms}; it must be 1 or more")
        if len(self.records) % RECORD.itemsize:
            raise ValueError(
                f"its annotations have {len(self.records)} bytes, which are no records of {RECORD.itemsize}"
            )
        indices = np.frombuffer(self.records, RECORD)["type"]
        if len(indices) and not 0 <= indices.min() <= indices.max() < types:
            raise ValueError(
                f"its annotations have types {indices.min()} to {indices.max()}, of {types} that the job has"
            )

    def unpacked(self, types: Sequence[str]) -> TrainingFile:
        """The file with its annotations, whose types are these."""
        with _no_collections():
            annotations = (
                Annotation(types[kind], start_ms, end_ms, confidence, channel if channel >= 0 else None)
                for kind, start_ms, end_ms, confidence, channel in np.frombuffer(
                    self.records, RECORD
                ).tolist()
            )
            return TrainingFile(
                self.audio_file_id,
                self.sha256,
                self.features,
                self.duration_ms,
                tuple(annotations),
                self.group,
            )


@dataclass(frozen=True, slots=True)
class PackedJob:
    """`job` is without its files, which are `files`."""

    job: TrainingJob
    files: tuple[PackedFile, ...]

    def unpacked(self) -> TrainingJob:
        """The whole job."""
        types = self.job.config.artifact_types
        return replace(self.job, files=tuple(file.unpacked(types) for file in self.files))


@contextmanager
def _no_collections() -> Iterator[None]:
    """For a block whose objects all stay: to look for garbage among them takes longer than to make them."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
