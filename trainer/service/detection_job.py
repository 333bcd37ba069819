"""A detection job as a call of DetectFiles brings it, and what happens to its files."""

from dataclasses import dataclass
from typing import Any, TypeAlias


@dataclass(frozen=True, slots=True)
class DetectionJob:
    """What the files are searched with; for the fields, see trainer.workers.wire.DetectionRequest."""

    weights: str
    model_config: str
    sha256: str
    config: dict[str, Any]


@dataclass(frozen=True, slots=True)
class JobFile:
    """A file: the key of its features and its length, or the key or the URI of the bytes to decode."""

    file_id: str
    features: str = ""
    source: str = ""
    duration_ms: int = 0
    uri: str = ""


@dataclass(frozen=True, slots=True)
class FileStarted:
    """The trainer works on the file."""

    file_id: str


@dataclass(frozen=True, slots=True)
class FileScores:
    """The next bytes of the file's scores, as earmark.scores packs them."""

    file_id: str
    data: bytes


@dataclass(frozen=True, slots=True)
class FileCompleted:
    """All of the file's scores were sent."""

    file_id: str
    duration_ms: int
    detection_count: int


@dataclass(frozen=True, slots=True)
class FileFailed:
    """The file cannot be used. `reason` is the name of an earmark.v1.ErrorReason."""

    file_id: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class FileWaiting:
    """The file is left for a later attempt, because the place of its bytes is away."""

    file_id: str
    message: str


@dataclass(frozen=True, slots=True)
class Quiet:
    """Nothing has happened for a while."""


FileEvent: TypeAlias = FileStarted | FileScores | FileCompleted | FileFailed | FileWaiting | Quiet
