"""What the front and its child processes say to each other over their pipes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.job import Stop


@dataclass(frozen=True, slots=True)
class Ready:
    """The child has imported and compiled what it needs; `device` is what JAX runs on, empty without JAX."""

    device: str = ""


@dataclass(frozen=True, slots=True)
class StopJob:
    """To the training process: end this attempt, if it is the one in work."""

    job_id: str
    attempt: int
    how: Stop


@dataclass(frozen=True, slots=True)
class Stopped:
    """The job in work was ended by StopJob."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The request in work cannot succeed; `reason` is the name of an earmark.v1.ErrorReason."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class DecodeRequest:
    """To an audio process: decode the file `source` into `folder`, under the names below."""

    source: Path
    folder: Path

    @property
    def audio(self) -> Path:
        """FLAC at the source's own rate, with all its channels."""
        return self.folder / "audio.flac"

    @property
    def features(self) -> Path:
        """What trainer.features.frontend.pack_features made."""
        return self.folder / "features"


@dataclass(frozen=True, slots=True)
class Decoded:
    """The audio is checked and stored; features are next."""

    duration_ms: int
    sample_rate: int
    channels: int


@dataclass(frozen=True, slots=True)
class Featured:
    """The features are stored."""


@dataclass(frozen=True, slots=True)
class ScoreRequest:
    """To the detection process: detect in the features of one file. `number` comes back with the answer.

    `config` are the fields of trainer.scoring.detection.DetectionConfig that differ from their defaults.
    """

    number: int
    weights: str
    model_config: str
    features: Path
    duration_ms: int
    config: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Found:
    """One detection."""

    artifact_type: str
    start_ms: int
    end_ms: int
    confidence: float


@dataclass(frozen=True, slots=True)
class Scored:
    """The answer to the ScoreRequest of this number: detections by start, or why there are none."""

    number: int
    outcome: tuple[Found, ...] | Failed
