"""What a running job says. The training loop yields these; the front turns them into messages."""

from dataclasses import dataclass, field
from enum import StrEnum


class NoticeCode(StrEnum):
    """Why a notice was given; the names of earmark.v1.NoticeCode without their prefix."""

    FILE_LEFT_OUT = "FILE_LEFT_OUT"
    TYPE_NOT_VALIDATED = "TYPE_NOT_VALIDATED"
    TYPE_NOT_TRAINED = "TYPE_NOT_TRAINED"
    RESUMED = "RESUMED"
    WARM_START = "WARM_START"
    STOPPED_EARLY = "STOPPED_EARLY"


@dataclass(frozen=True, slots=True)
class Figures:
    """Precision, recall and F1 of `support` events; None where support is 0 or the ratio has no value."""

    precision: float | None
    recall: float | None
    f1_score: float | None
    support: int


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """What a threshold gives at event level; precision is None where nothing was detected."""

    threshold: float
    precision: float | None
    recall: float


@dataclass(frozen=True, slots=True)
class Interval:
    """A 95 % confidence interval."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class TypeMetrics:
    """One artifact type: event level first, chunk and segment level beside it.

    The last three are in a finished model's figures only.
    """

    event: Figures
    chunk: Figures
    segment: Figures
    average_precision: float | None
    best_threshold: float | None = None
    precision_recall_curve: tuple[OperatingPoint, ...] = ()
    f1_score_interval: Interval | None = None


@dataclass(frozen=True, slots=True)
class EvalMetrics:
    """Event level is the headline; `overall` is micro-averaged, `macro_f1_score` over types with support."""

    overall: Figures
    chunk: Figures
    segment: Figures
    macro_f1_score: float | None
    per_type: dict[str, TypeMetrics] = field(default_factory=dict)
    f1_score_interval: Interval | None = None


@dataclass(frozen=True, slots=True)
class Loading:
    """`files` of `total` are in memory."""

    files: int
    total: int


@dataclass(frozen=True, slots=True)
class Progress:
    """`step` of `steps` in the 1-based `epoch`; `fraction` (0-1) and `eta_seconds` are of the whole job."""

    epoch: int
    step: int
    steps: int
    fraction: float
    eta_seconds: float


@dataclass(frozen=True, slots=True)
class EpochCompleted:
    """The 1-based `epoch` is over; `best_epoch` is the best so far, this one included."""

    epoch: int
    train_loss: float
    validation_loss: float | None
    metrics: EvalMetrics
    chunks_per_second: float
    best_epoch: int


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state after `epoch` epochs and `step` steps of the next is stored; `key` can be resumed from."""

    epoch: int
    step: int
    key: str


@dataclass(frozen=True, slots=True)
class Notice:
    """Something the user should know, that ends nothing."""

    code: NoticeCode
    message: str


@dataclass(frozen=True, slots=True)
class Completed:
    """The model is stored: weights (safetensors), those of `best_epoch`, and its JSON configuration."""

    weights: str
    config: str
    size_bytes: int
    sha256: str
    metrics: EvalMetrics
    recommended_thresholds: dict[str, float]
    best_epoch: int


Event = Loading | Progress | EpochCompleted | Checkpoint | Notice | Completed


class TrainingFailedError(Exception):
    """The job cannot complete, on this trainer or another. `reason` names an earmark.v1.ErrorReason."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class TrainingStoppedError(Exception):
    """The job was told to stop, and did between two device calls."""
