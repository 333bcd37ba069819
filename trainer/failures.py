"""Whose a failure is: that of the data, of the attempt or of the environment."""

from enum import StrEnum


class FailureKind(StrEnum):
    """The names are those of earmark.internal.v1.FailureKind without their prefix."""

    DATA = "DATA"
    ATTEMPT = "ATTEMPT"
    ENVIRONMENT = "ENVIRONMENT"
    HANDED_BACK = "HANDED_BACK"


_KINDS = {
    "INVALID_UPLOAD": FailureKind.DATA,
    "INVALID_AUDIO": FailureKind.DATA,
    "LOSS_NOT_FINITE": FailureKind.DATA,
    "NO_TRAINING_DATA": FailureKind.DATA,
    "STORED_DATA_DAMAGED": FailureKind.DATA,
    "BASE_MODEL_UNUSABLE": FailureKind.DATA,
    "MODEL_OUTDATED": FailureKind.DATA,
    "DATASET_TOO_LARGE": FailureKind.DATA,
    "SOURCE_OBJECT_UNUSABLE": FailureKind.DATA,
    "OBJECT_STORE_UNAVAILABLE": FailureKind.ENVIRONMENT,
    "DISK_FULL": FailureKind.ENVIRONMENT,
    "GRANT_REFUSED": FailureKind.ENVIRONMENT,
    "NO_FREE_SLOT": FailureKind.HANDED_BACK,
    "STOPPING": FailureKind.HANDED_BACK,
}


def kind_of(reason: str) -> FailureKind:
    """The kind of a failure with this reason. A reason that is not known here is the attempt's."""
    return _KINDS.get(reason, FailureKind.ATTEMPT)
