"""Converts between the trainer's own values and the messages of earmark.internal.v1."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import version

from google.protobuf import any_pb2
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2

from earmark.internal.v1 import trainer_service_pb2 as pb
from earmark.metrics_messages import to_metrics
from earmark.trainer import events
from earmark.trainer.failures import FailureKind, kind_of
from earmark.trainer.features.version import FRONTEND_VERSION
from earmark.trainer.job import BaseModel, TrainingConfig, TrainingJob
from earmark.trainer.packed_job import PackedFile, PackedJob
from earmark.trainer.service.detection_job import (
    DetectionJob,
    FileCompleted,
    FileEvent,
    FileFailed,
    FileScores,
    FileStarted,
    FileWaiting,
    JobFile,
    Quiet,
)
from earmark.trainer.service.errors import CallError
from earmark.trainer.service.executor import AudioEvent, StoredAudio
from earmark.trainer.service.keys import check_read, check_written
from earmark.trainer.workers.wire import (
    Decoded,
    DetectedArtifact,
    Failed,
    Featured,
    LivePcm,
    LiveProgress,
    LiveRequest,
)
from earmark.v1 import (
    detection_pb2,
    model_service_pb2,
    training_config_pb2,
    training_service_pb2,
)

DOMAIN = "earmark"
EARMARK_VERSION = version("earmark")
CODES = {
    "INVALID_FIELD": code_pb2.INVALID_ARGUMENT,
    "INVALID_MESSAGE": code_pb2.INVALID_ARGUMENT,
    "INVALID_UPLOAD": code_pb2.INVALID_ARGUMENT,
    "INVALID_AUDIO": code_pb2.INVALID_ARGUMENT,
    "GRANT_REFUSED": code_pb2.UNAUTHENTICATED,
    "NOT_GRANTED": code_pb2.PERMISSION_DENIED,
    "NOT_FOUND": code_pb2.NOT_FOUND,
    "NO_FREE_SLOT": code_pb2.RESOURCE_EXHAUSTED,
    "STREAM_IDLE": code_pb2.DEADLINE_EXCEEDED,
    "TRAINER_LOST": code_pb2.UNAVAILABLE,
    "DEVICE_FAILED": code_pb2.UNAVAILABLE,
    "DEVICE_OUT_OF_MEMORY": code_pb2.UNAVAILABLE,
}
CODES_OF_KINDS = {
    FailureKind.DATA: code_pb2.FAILED_PRECONDITION,
    FailureKind.ATTEMPT: code_pb2.INTERNAL,
    FailureKind.ENVIRONMENT: code_pb2.UNAVAILABLE,
    FailureKind.HANDED_BACK: code_pb2.UNAVAILABLE,
}
ONNX_RATES = range(8_000, 48_001, 25)
OPTIONAL_FIELDS = frozenset({"early_stopping_epochs"})


@dataclass(frozen=True, slots=True)
class SentFile:
    """A file of a Train call, with all parts of its annotations."""

    message: pb.TrainRequest.File
    parts: list[bytes]

    def packed(self) -> PackedFile:
        file, records = self.message, b"".join(self.parts)
        return PackedFile(
            file.audio_file_id, file.sha256, file.features, file.duration_ms, records, file.group or None
        )


def to_status(error: CallError) -> status_pb2.Status:
    """Returns a status with an ErrorInfo and a Failure, and with a BadRequest if the error names a field."""
    kind = kind_of(error.reason)
    details: list[Message] = [
        error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN),
        pb.Failure(kind=f"FAILURE_KIND_{kind}"),
    ]
    if error.field:
        violation = error_details_pb2.BadRequest.FieldViolation(field=error.field, description=str(error))
        details.append(error_details_pb2.BadRequest(field_violations=[violation]))
    packed = [any_pb2.Any() for _ in details]
    for target, detail in zip(packed, details, strict=True):
        target.Pack(detail)
    code = CODES.get(error.reason, CODES_OF_KINDS[kind])
    return status_pb2.Status(code=code, message=str(error), details=packed)


def from_job(job: pb.TrainRequest.Job, files: Iterable[SentFile]) -> PackedJob:
    """Raises CallError for a value that the gateway must fill in, and for a file without whole records."""
    packed = tuple(file.packed() for file in files)
    config = from_config(job.config)
    for file in packed:
        try:
            file.check(len(config.artifact_types))
        except ValueError as error:
            message = f"audio file {file.audio_file_id} cannot be trained on: {error}"
            raise CallError("INVALID_FIELD", message, "file") from error
    alone = TrainingJob(
        job_id=job.training_job_id,
        attempt=job.attempt,
        config=config,
        files=(),
        prefix=job.prefix,
        resume_from=job.resume_from or None,
        base=from_base(job),
    )
    return PackedJob(alone, packed)


def from_base(job: pb.TrainRequest.Job) -> BaseModel | None:
    """Returns None if the job has no base model. Raises CallError if one of the model's fields is missing."""
    fields = {name: getattr(job, name) for name in ("base_weights", "base_model_config", "base_sha256")}
    if not any((job.config.base_model_id, *fields.values())):
        return None
    if missing := [name for name, value in fields.items() if not value]:
        raise CallError(
            "INVALID_FIELD",
            f"a base model needs {', '.join(fields)}; the gateway must fill them in",
            f"job.{missing[0]}",
        )
    return BaseModel(*fields.values())


def from_config(config: training_config_pb2.TrainingConfig) -> TrainingConfig:
    """Raises CallError if a value is missing: the gateway must fill in every default."""
    fields = training_config_pb2.TrainingConfig.DESCRIPTOR.fields
    required = [field.name for field in fields if field.has_presence and field.name not in OPTIONAL_FIELDS]
    missing = [name for name in required if not config.HasField(name)]
    if missing or not config.artifact_types:
        names = ", ".join(missing or ["artifact_types"])
        raise CallError(
            "INVALID_FIELD", f"the gateway must fill in every value; missing: {names}", "job.config"
        )
    return TrainingConfig(
        artifact_types=tuple(config.artifact_types),
        epochs=config.epochs,
        validation_split=config.validation_split,
        learning_rate=config.learning_rate,
        batch_size=config.batch_size,
        chunk_size_ms=config.chunk_size_ms,
        stride_ms=config.stride_ms,
        seed=config.seed,
        early_stopping_epochs=(
            config.early_stopping_epochs if config.HasField("early_stopping_epochs") else None
        ),
    )


def onnx_rate(request: pb.ExportModelRequest) -> int | None:
    """Returns the sample rate of an export to ONNX, None for the native form. Raises CallError."""
    match request.format:
        case model_service_pb2.MODEL_FORMAT_NATIVE:
            return None
        case model_service_pb2.MODEL_FORMAT_ONNX:
            rate = request.sample_rate_hz
            if rate not in ONNX_RATES:
                raise CallError(
                    "INVALID_FIELD",
                    f"the sample rate {rate} is no multiple of {ONNX_RATES.step} from {ONNX_RATES.start} to "
                    f"{ONNX_RATES.stop - 1}",
                    "sample_rate_hz",
                )
            return rate
        case _:
            raise CallError("INVALID_FIELD", "the gateway must say what to export", "format")


def from_detection_config(config: detection_pb2.DetectionConfig) -> dict[str, object]:
    """Returns the fields of trainer.scoring.detection.DetectionConfig that differ from their defaults."""
    return {
        field.name: dict(value) if isinstance(value, Mapping) else value
        for field, value in config.ListFields()
    }


def from_audio(request: pb.ProcessAudioRequest) -> StoredAudio:
    """Raises CallError for a key that is not granted."""
    check_keys_of_audio(request)
    return StoredAudio(request.audio_file_id, request.source, request.audio, request.features, request.caller)


def to_audio_response(event: AudioEvent) -> pb.ProcessAudioResponse:
    """Converts what has come of a stored file."""
    match event:
        case Decoded(duration_ms, sample_rate, channels):
            embedding = pb.ProcessAudioResponse.Embedding(
                duration_ms=duration_ms, sample_rate_hz=sample_rate, channels=channels
            )
            return pb.ProcessAudioResponse(embedding=embedding)
        case Featured():
            ready = pb.ProcessAudioResponse.Ready(frontend=FRONTEND_VERSION)
            return pb.ProcessAudioResponse(ready=ready)
        case Failed(message=message):
            failed = pb.ProcessAudioResponse.Failed(error_message=message)
            return pb.ProcessAudioResponse(failed=failed)


def from_detection_job(job: pb.DetectFilesRequest.Job) -> DetectionJob:
    """Raises CallError for a key that is not granted."""
    check_read(weights=job.weights, model_config=job.model_config)
    return DetectionJob(job.weights, job.model_config, job.sha256, from_detection_config(job.config))


def from_detection_file(request: pb.DetectFilesRequest) -> JobFile:
    """Raises CallError for any other message, and for a key that is not granted."""
    file = request.file
    keys = {name: key for name in ("features", "source") if (key := getattr(file, name))}
    if request.WhichOneof("content") != "file" or len(keys) + bool(file.uri) != 1:
        raise CallError(
            "INVALID_FIELD",
            "every message but the first must be a file with the key of its features, or with the key or the"
            " URI of its source",
            "file",
        )
    check_read(**keys)
    return JobFile(file.file_id, file.features, file.source, file.duration_ms, file.uri)


def to_files_response(event: FileEvent) -> pb.DetectFilesResponse:
    """Converts what happened to a file of a detection job."""
    match event:
        case FileStarted(file_id):
            return pb.DetectFilesResponse(started=pb.DetectFilesResponse.Started(file_id=file_id))
        case FileScores(file_id, data):
            return pb.DetectFilesResponse(scores=pb.DetectFilesResponse.Scores(file_id=file_id, data=data))
        case FileCompleted(file_id, duration_ms, count):
            completed = pb.DetectFilesResponse.Completed(
                file_id=file_id, duration_ms=duration_ms, detection_count=count
            )
            return pb.DetectFilesResponse(completed=completed)
        case FileFailed(file_id, reason, message):
            failed = pb.DetectFilesResponse.Failed(file_id=file_id, reason=reason, message=message)
            return pb.DetectFilesResponse(failed=failed)
        case FileWaiting(file_id, message):
            waiting = pb.DetectFilesResponse.Waiting(file_id=file_id, message=message)
            return pb.DetectFilesResponse(waiting=waiting)
        case Quiet():
            return pb.DetectFilesResponse(heartbeat=pb.DetectFilesResponse.Heartbeat())


def to_response(event: events.Event) -> pb.TrainResponse:
    """Converts one event of the training loop."""
    match event:
        case events.Loading(files, total):
            return pb.TrainResponse(loading=pb.TrainResponse.Loading(files=files, total=total))
        case events.Progress(epoch, step, steps, fraction, eta):
            progress = pb.TrainResponse.Progress(
                epoch=epoch, step=step, steps=steps, fraction=fraction, eta_seconds=eta
            )
            return pb.TrainResponse(progress=progress)
        case events.EpochCompleted():
            return pb.TrainResponse(epoch_completed=to_epoch(event))
        case events.Checkpoint(epoch, step, key):
            return pb.TrainResponse(checkpoint=pb.TrainResponse.Checkpoint(epoch=epoch, step=step, key=key))
        case events.Notice():
            return pb.TrainResponse(notice=to_notice(event))
        case events.Completed():
            return pb.TrainResponse(completed=to_completed(event))


def to_notice(event: events.Notice) -> training_service_pb2.TrainingEvent.Notice:
    """Leaves the fields unset that the notice is not about."""
    return training_service_pb2.TrainingEvent.Notice(
        code=f"NOTICE_CODE_{event.code}",
        message=event.message,
        artifact_type=event.artifact_type,
        audio_file_id=event.audio_file_id,
    )


def to_epoch(event: events.EpochCompleted) -> training_service_pb2.TrainingEvent.EpochCompleted:
    """Includes the metrics on the validation audio."""
    return training_service_pb2.TrainingEvent.EpochCompleted(
        epoch=event.epoch,
        train_loss=event.train_loss,
        validation_loss=event.validation_loss,
        metrics=to_metrics(event.metrics),
        chunks_per_second=event.chunks_per_second,
        best_epoch=event.best_epoch,
    )


def to_completed(event: events.Completed) -> pb.TrainResponse.Completed:
    """Includes the metrics of the best epoch, whose weights these are, and this program's versions."""
    return pb.TrainResponse.Completed(
        weights=event.weights,
        model_config=event.config,
        size_bytes=event.size_bytes,
        sha256=event.sha256,
        metrics=to_metrics(event.metrics),
        recommended_thresholds=event.recommended_thresholds,
        merge_windows_ms=event.merge_windows_ms,
        min_durations_ms=event.min_durations_ms,
        best_epoch=event.best_epoch,
        audio_file_count=event.audio_file_count,
        audio_duration_ms=event.audio_duration_ms,
        earmark_version=EARMARK_VERSION,
        frontend_version=FRONTEND_VERSION,
    )


def from_live(live: detection_pb2.LiveAudio) -> LiveRequest:
    """Converts what a caller says about live audio. In one that goes on, the signal of channels has begun."""
    is_float = live.pcm.encoding == detection_pb2.PCM_ENCODING_F32LE
    pcm = LivePcm(live.pcm.sample_rate_hz, live.pcm.channels, is_float) if live.HasField("pcm") else None
    return LiveRequest(pcm, list(live.silent_channels) if live.start_ms else None)


def to_progress(progress: LiveProgress, start_ms: int) -> list[pb.DetectResponse]:
    """The next detections of live audio, and a heartbeat. The audio begins at `start_ms`."""
    detections = [to_detection(artifact) for artifact in progress.detections]
    for detection in detections:
        detection.start_ms += start_ms
        detection.end_ms += start_ms
    heartbeat = detection_pb2.DetectionHeartbeat(
        judged_until_ms=start_ms + progress.judged_ms, silent_channels=progress.silent_channels
    )
    return [
        *(pb.DetectResponse(detection=detection) for detection in detections),
        pb.DetectResponse(heartbeat=heartbeat),
    ]


def to_detection(artifact: DetectedArtifact) -> detection_pb2.Detection:
    """Converts one detected artifact."""
    return detection_pb2.Detection(
        artifact_type=artifact.artifact_type,
        start_ms=artifact.start_ms,
        end_ms=artifact.end_ms,
        confidence=artifact.confidence,
        channels=artifact.channels,
    )


def check_keys_of_job(job: pb.TrainRequest.Job) -> None:
    """Raises CallError for a key that is not granted."""
    check_written(prefix=job.prefix)
    read = {name: getattr(job, name) for name in ("resume_from", "base_weights", "base_model_config")}
    check_read(**{name: key for name, key in read.items() if key})


def check_keys_of_audio(request: pb.ProcessAudioRequest) -> None:
    """Raises CallError for a key that is not granted, or that an upload has."""
    check_read(source=request.source)
    check_written(features=request.features, **({"audio": request.audio} if request.audio else {}))


def add_to(files: list[SentFile], request: pb.TrainRequest) -> None:
    """Adds what a later message of a Train call has. Raises CallError for any other message."""
    match request.WhichOneof("content"):
        case "file":
            check_read(features=request.file.features)
            files.append(SentFile(request.file, [request.file.annotations]))
        case "more_annotations" if files:
            files[-1].parts.append(request.more_annotations.annotations)
        case _:
            raise CallError(
                "INVALID_FIELD",
                "every message but the first must be a file, or more annotations of the file before it",
                "file",
            )
