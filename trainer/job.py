"""The training job as the trainer receives it: plain values, independent of gRPC and JAX."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from operator import attrgetter
from typing import Literal, NamedTuple

NetworkSize = Literal["standard", "tiny"]  # the size of a new network


class Stop(Enum):
    """How a running job is asked to end."""

    DROP = auto()  # without a checkpoint: the work since the last one is discarded
    HAND_BACK = auto()  # with a checkpoint, from which another attempt continues


ShouldStop = Callable[[], Stop | None]


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """A training job's settings. The gateway has filled in every default and checked every range.

    If `early_stopping_epochs` is None, the job runs all epochs.
    """

    artifact_types: tuple[str, ...]
    epochs: int
    validation_split: float
    learning_rate: float
    batch_size: int
    chunk_size_ms: int
    stride_ms: int
    seed: int
    early_stopping_epochs: int | None = None


class Annotation(NamedTuple):
    """One artifact, in milliseconds from the start of its file.

    `confidence` (0-1) is how sure the annotator is that it is one. `channel` counts from 0; without one, the
    artifact is in at least one of the file's channels. A tuple, because a job may have millions.
    """

    artifact_type: str
    start_ms: int
    end_ms: int
    confidence: float = 1.0
    channel: int | None = None


@dataclass(frozen=True, slots=True)
class TrainingFile:
    """An audio file that is ready for training.

    `sha256` is the digest of the uploaded bytes, `features` the object key of the stored features. The
    annotations are ordered by onset; of those that differ in confidence alone, the most confident is kept.
    Files with the same `group` lie on the same side of the split.
    """

    audio_file_id: str
    sha256: str
    features: str
    duration_ms: int
    annotations: tuple[Annotation, ...]
    group: str | None = None

    def __post_init__(self) -> None:
        by_confidence = sorted(self.annotations, key=attrgetter("confidence"))
        distinct = {_place(one): one for one in by_confidence}
        object.__setattr__(self, "annotations", tuple(sorted(distinct.values(), key=_place)))


def _place(annotation: Annotation) -> tuple[int, int, str, int]:
    """What tells annotations apart, the onset first. Without a channel they come first."""
    channel = -1 if annotation.channel is None else annotation.channel
    return annotation.start_ms, annotation.end_ms, annotation.artifact_type, channel


@dataclass(frozen=True, slots=True)
class BaseModel:
    """A stored model to start from: the object keys of its weights and of its JSON configuration.

    `sha256` is the digest of the weights.
    """

    weights: str
    config: str
    sha256: str


@dataclass(frozen=True, slots=True)
class TrainingJob:
    """One attempt at a training job.

    `resume_from` is the object key of an earlier attempt's checkpoint. All objects that the attempt writes
    have keys that begin with `prefix`, which no other attempt uses.
    """

    job_id: str
    attempt: int
    config: TrainingConfig
    files: tuple[TrainingFile, ...]
    prefix: str
    resume_from: str | None = None
    base: BaseModel | None = None
