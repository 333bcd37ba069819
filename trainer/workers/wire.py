"""Messages between the front and its child processes. They must not import JAX or gRPC."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field

from earmark.trainer.job import NetworkSize, Stop

# Of a process that is not trusted: one line, which a database can store.
Text = Annotated[str, Field(max_length=1000, pattern=r"^[^\x00-\x1f]*$")]


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
class WorkerSettings:
    """The first message to a process with JAX. See TrainerSettings, whose secrets stay with the front."""

    object_store_url: str
    log_level: str
    network: NetworkSize
    precompile: bool


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """The first message to an audio process: what one file may cost. See TrainerSettings."""

    memory_bytes: int
    scratch_bytes: int
    max_samples: int
    max_samples_per_second: int
    min_speed: float


@dataclass(frozen=True, slots=True)
class DecoderReady:
    """From an audio process that can decode. `unprotected`: what this machine does not allow, in words."""

    unprotected: list[Text]


@dataclass(frozen=True, slots=True)
class DecodeRequest:
    """To an audio process: decode a file.

    With it come the descriptors of the source, of the files for the samples and for the features, which are
    empty, and of one for the audio, if it is to be stored. Unless `long`, a long file is not decoded.
    """

    long: bool


@dataclass(frozen=True, slots=True)
class LivePcm:
    """How samples without a header are encoded; integers have 16 bits, floating point numbers 32."""

    sample_rate: int
    channels: int
    is_float: bool


@dataclass(frozen=True, slots=True)
class LiveRequest:
    """To an audio process: compute the features of live audio.

    With it comes the descriptor of a socket, from which the process reads bytes until their end: samples if
    there is a `pcm`. It sends LiveOpened, and writes the features of each frame to the socket: float16, and
    after those of each channel whether its signal has begun. In the channels of `silent` it had not before;
    None for all. Then it sends Decoded.
    """

    pcm: LivePcm | None
    silent: list[int] | None


@dataclass(frozen=True, slots=True)
class LiveOpened:
    """From an audio process: live audio has so many channels."""

    channels: Annotated[int, Field(gt=0, le=256)]


@dataclass(frozen=True, slots=True)
class Long:
    """From an audio process: the file is long, and was to be decoded only if it is short."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """From an audio process: the audio is checked and stored; features are next."""

    duration_ms: Annotated[int, Field(ge=0, le=1 << 31)]
    sample_rate: Annotated[int, Field(gt=0, le=1 << 20)]
    channels: Annotated[int, Field(gt=0, le=256)]


@dataclass(frozen=True, slots=True)
class Featured:
    """From an audio process: the features are stored."""


@dataclass(frozen=True, slots=True)
class DecodeFailed:
    """From an audio process: the file cannot be decoded. `reason` names an earmark.v1.ErrorReason."""

    reason: Literal["INVALID_AUDIO", "DISK_FULL", "INTERNAL"]
    message: Text


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
class ExportRequest:
    """To the detection process: write a file with which a stored model can be run elsewhere.

    The reply has the same `number`. `weights`, `model_config` and `sha256` are those of a DetectionRequest.
    `onnx_rate` is the sample rate of the PCM that the ONNX form takes; None for the native form.
    """

    number: int
    weights: str
    model_config: str
    sha256: str
    file: Path
    onnx_rate: int | None


@dataclass(frozen=True, slots=True)
class Exported:
    """The file of an ExportRequest is written. `sha256` is the digest of its bytes, in hex."""

    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """To the detection process: load a model. For the fields, see DetectionRequest."""

    number: int
    weights: str
    model_config: str
    sha256: str


@dataclass(frozen=True, slots=True)
class FileRequest:
    """To the detection process: score the features of one file of a job.

    `scores` is the file that gets what earmark.scores packs. For the other fields, see DetectionRequest.
    """

    number: int
    weights: str
    model_config: str
    sha256: str
    features: Path
    scores: Path
    duration_ms: int
    config: dict[str, Any]


@dataclass(frozen=True, slots=True)
class DetectedArtifact:
    """One detection; `confidence` is 0-1. `channels` are those with it, from 0, ascending.

    It has the fields of trainer.scoring.detection.Detection, which the front cannot use: that module imports
    JAX, and unpickling an instance of its class would import it too.
    """

    artifact_type: str
    start_ms: int
    end_ms: int
    confidence: float
    channels: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Loaded:
    """The model is loaded."""


@dataclass(frozen=True, slots=True)
class Scored:
    """The scores of a file are written. `detection_count` is the number of detections with its config."""

    detection_count: int


@dataclass(frozen=True, slots=True)
class Unreadable:
    """The features of this file cannot be read, which says nothing about the job's others."""

    message: str


@dataclass(frozen=True, slots=True)
class LiveStart:
    """To the detection process: live audio begins. See DetectionRequest. `begun`: of each channel."""

    number: int
    weights: str
    model_config: str
    sha256: str
    config: dict[str, Any]
    begun: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class LiveFeatures:
    """To the detection process: the next bytes that an audio process wrote, of the stream of this number.

    With the `duration_ms`, they are the last ones.
    """

    number: int
    data: bytes
    duration_ms: int | None = None


@dataclass(frozen=True, slots=True)
class LiveClosed:
    """To the detection process: forget the stream of this number. It has no reply."""

    number: int


@dataclass(frozen=True, slots=True)
class LiveProgress:
    """The next detections of a stream by start, and how far it is judged; see scoring.live.LiveStream."""

    detections: tuple[DetectedArtifact, ...]
    judged_ms: int
    silent_channels: tuple[int, ...]


Outcome: TypeAlias = (
    tuple[DetectedArtifact, ...] | LiveProgress | Exported | Loaded | Scored | Unreadable | Failed
)


@dataclass(frozen=True, slots=True)
class DetectionReply:
    """The reply to the request of this number: what came of it, detections by start, or the failure."""

    number: int
    outcome: Outcome
