"""The events of a running job. The training loop yields them; the gRPC front turns them into messages."""

from dataclasses import dataclass
from enum import StrEnum

from earmark.figures import EvalMetrics


class NoticeCode(StrEnum):
    """The reason for a notice. The names are those of earmark.v1.NoticeCode without their prefix."""

    FILE_LEFT_OUT = "FILE_LEFT_OUT"
    TYPE_NOT_VALIDATED = "TYPE_NOT_VALIDATED"
    TYPE_NOT_TRAINED = "TYPE_NOT_TRAINED"
    RESUMED = "RESUMED"
    WARM_START = "WARM_START"
    STOPPED_EARLY = "STOPPED_EARLY"
    EVENTS_OVERLAP = "EVENTS_OVERLAP"
    FEW_EVENTS = "FEW_EVENTS"
    TYPE_IN_ONE_RECORDING = "TYPE_IN_ONE_RECORDING"
    TYPE_COVERS_AUDIO = "TYPE_COVERS_AUDIO"
    COPIES_DIFFER = "COPIES_DIFFER"
    VALIDATION_SEEN = "VALIDATION_SEEN"
    SPLIT = "SPLIT"
    ONE_GROUP = "ONE_GROUP"


@dataclass(frozen=True, slots=True)
class Loading:
    """`files` of `total` files have been loaded into memory."""

    files: int
    total: int


@dataclass(frozen=True, slots=True)
class Progress:
    """Step `step` of `steps` in the 1-based `epoch` is done.

    `fraction` (0-1) is how much of the whole job is done, `eta_seconds` the time until the job is complete.
    """

    epoch: int
    step: int
    steps: int
    fraction: float
    eta_seconds: float


@dataclass(frozen=True, slots=True)
class EpochCompleted:
    """The 1-based `epoch` is complete; `best_epoch` is the best so far, including this one."""

    epoch: int
    train_loss: float
    validation_loss: float | None
    metrics: EvalMetrics
    chunks_per_second: float
    best_epoch: int


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state after `epoch` epochs and `step` steps of the next is stored under the object key `key`."""

    epoch: int
    step: int
    key: str


@dataclass(frozen=True, slots=True)
class Notice:
    """Something the user should know; the job continues.

    `artifact_type` and `audio_file_id` are empty where it is not about one of them.
    """

    code: NoticeCode
    message: str
    artifact_type: str = ""
    audio_file_id: str = ""


@dataclass(frozen=True, slots=True)
class Completed:
    """The model is stored.

    `weights` is the object key of the weights of `best_epoch` (safetensors), `config` that of the JSON
    configuration. `merge_windows_ms` and `min_durations_ms` have every type. `audio_file_count` and
    `audio_duration_ms`: the files that were not left out.
    """

    weights: str
    config: str
    size_bytes: int
    sha256: str
    metrics: EvalMetrics
    recommended_thresholds: dict[str, float]
    merge_windows_ms: dict[str, int]
    min_durations_ms: dict[str, int]
    best_epoch: int
    audio_file_count: int
    audio_duration_ms: int


Event = Loading | Progress | EpochCompleted | Checkpoint | Notice | Completed


class TrainingFailedError(Exception):
    """The job cannot complete on any trainer. `reason` is the name of an earmark.v1.ErrorReason."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class TrainingStoppedError(Exception):
    """The job was asked to stop, and stopped between two device calls."""
