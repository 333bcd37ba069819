"""Messages between the front and its child processes. They must not import JAX or gRPC."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from earmark.trainer.job import Stop


@dataclass(frozen=True, slots=True)
class Ready:
    """The child has imported and compiled what it needs. `device` is JAX's device, empty without JAX."""

    device: str = ""


@dataclass(frozen=True, slots=True)
class StopJob:
    """To the training process: end this attempt if it is the one that is running."""

    job_id: str
    attempt: int
    how: Stop


@dataclass(frozen=True, slots=True)
class Stopped:
    """The running job was ended by StopJob."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The current request cannot succeed. `reason` is the name of an earmark.v1.ErrorReason.

    If it `ends_process`, the process cannot be trusted with another request.
    """

    reason: str
    message: str
    ends_process: bool = False


@dataclass(frozen=True, slots=True)
class DecodeRequest:
    """To an audio process: decode the file `source` into the two files below `folder`."""

    source: Path
    folder: Path

    @property
    def audio(self) -> Path:
        """FLAC at the source's own rate, with all its channels."""
        return self.folder / "audio.flac"

    @property
    def features(self) -> Path:
        """The output of trainer.features.frontend.pack_features."""
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
class DetectionRequest:
    """To the detection process: detect artifacts in the features of one file.

    The reply has the same `number`. `weights` and `model_config` are keys of the object store, `sha256` is
    the digest of the weights, `features` is a file. `config` has the fields of
    trainer.scoring.detection.DetectionConfig that differ from their defaults.
    """

    number: int
    weights: str
    model_config: str
    sha256: str
    features: Path
    duration_ms: int
    config: dict[str, Any]


@dataclass(frozen=True, slots=True)
class DetectedArtifact:
    """One detection; `confidence` is 0-1.

    It has the fields of trainer.scoring.detection.Detection, which the front cannot use: that module imports
    JAX, and unpickling an instance of its class would import it too.
    """

    artifact_type: str
    start_ms: int
    end_ms: int
    confidence: float


@dataclass(frozen=True, slots=True)
class DetectionReply:
    """The reply to the DetectionRequest of this number: the detections by start, or the failure."""

    number: int
    outcome: tuple[DetectedArtifact, ...] | Failed
