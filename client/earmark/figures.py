"""The figures of a model: how well it finds what is annotated."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Figures:
    """Precision, recall and F1 over `support` events. None if support is 0 or the ratio is undefined."""

    precision: float | None
    recall: float | None
    f1_score: float | None
    support: int


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """Precision and recall at event level with a threshold; precision is None if nothing was detected."""

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
    """The metrics of one artifact type, at event level (the headline), chunk level and segment level.

    `chunk` is None where there are no chunks. Only a finished model's metrics have the last three.
    """

    event: Figures
    chunk: Figures | None
    segment: Figures
    average_precision: float | None
    best_threshold: float | None = None
    precision_recall_curve: tuple[OperatingPoint, ...] = ()
    f1_score_interval: Interval | None = None


@dataclass(frozen=True, slots=True)
class EvalMetrics:
    """The metrics over all artifact types.

    `overall` is micro-averaged at event level, which is the headline. `macro_f1_score` is the mean over the
    types with support.
    """

    overall: Figures
    chunk: Figures | None
    segment: Figures
    macro_f1_score: float | None
    per_type: dict[str, TypeMetrics] = field(default_factory=dict)
    f1_score_interval: Interval | None = None
