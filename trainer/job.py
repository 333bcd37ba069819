"""What a trainer is asked to do: plain values, free of gRPC and of JAX."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Literal

NetworkSize = Literal["standard", "tiny"]  # of one that is trained anew


class Stop(Enum):
    """How a running job is asked to end."""

    DROP = auto()  # what was done since the last checkpoint is not wanted
    HAND_BACK = auto()  # another attempt is to go on from here


ShouldStop = Callable[[], Stop | None]


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """A training job's settings, every default filled in and every range checked by the gateway.

    None for `early_stopping_epochs` runs every epoch.
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


@dataclass(frozen=True, slots=True)
class Annotation:
    """One artifact, in milliseconds from the start of its file."""

    artifact_type: str
    start_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True)
class TrainingFile:
    """One ready audio file. `sha256` is of the uploaded bytes, `features` the key of the stored features."""

    audio_file_id: str
    sha256: str
    features: str
    duration_ms: int
    annotations: tuple[Annotation, ...]


@dataclass(frozen=True, slots=True)
class BaseModel:
    """A stored model to start from: the keys of its weights and of its JSON configuration."""

    weights: str
    config: str


@dataclass(frozen=True, slots=True)
class TrainingJob:
    """One attempt at one job. `resume_from` is the key of a checkpoint of an earlier attempt.

    Everything that the attempt writes goes below `prefix`, which no other attempt shares.
    """

    job_id: str
    attempt: int
    config: TrainingConfig
    files: tuple[TrainingFile, ...]
    prefix: str
    resume_from: str | None = None
    base: BaseModel | None = None
