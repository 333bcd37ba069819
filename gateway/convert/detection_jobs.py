"""Converts detection jobs, their files and events from records to messages."""

from collections.abc import Iterable
from typing import Any

from earmark.gateway.convert import values
from earmark.scores import Detection
from earmark.scores import DetectionConfig as Settings
from earmark.storage.queries.detection_jobs import ScoredFile
from earmark.storage.records import DetectionFile, DetectionJob, Event, Model, Recording
from earmark.v1 import detection_service_pb2 as pb
from earmark.v1.detection_pb2 import Detection as DetectionMessage
from earmark.v1.detection_pb2 import DetectionConfig
from earmark.v1.error_reason_pb2 import ErrorReason

_ERROR_REASON_PREFIX = "ERROR_REASON_"
_JOB_STATUS_PREFIX = "DETECTION_JOB_STATUS_"
_FILE_STATUS_PREFIX = "DETECTION_FILE_STATUS_"


def detection_job_message(job: DetectionJob) -> pb.DetectionJob:
    """The detection job as the API shows it."""
    message = pb.DetectionJob(
        id=str(job.id),
        model_id=str(job.model_id),
        dataset_id=str(job.dataset_id or ""),
        config=values.from_json(job.config, DetectionConfig),
        status=detection_job_status(job.status),
        total_files=job.total_files,
        completed_files=job.completed_files,
        failed_files=job.failed_files,
        total_detections=job.total_detections,
        audio_ms=job.audio_ms,
        attempt=job.attempt,
        metadata=job.metadata,
        created_at=values.timestamp(job.created_at),
        queued_at=values.timestamp(job.queued_at),
        started_at=values.timestamp(job.started_at),
        finished_at=values.timestamp(job.finished_at),
        revision=job.revision,
        eta=values.timestamp(job.eta),
    )
    if job.error_reason is not None:
        message.error.CopyFrom(_error(job.error_reason, job.error_message))
    return message


def detection_file_message(file: DetectionFile) -> pb.DetectionFile:
    """The file as the API shows it."""
    message = pb.DetectionFile(
        id=str(file.file_id),
        filename=file.filename,
        status=values.enum_number(pb.DetectionFileStatus, _FILE_STATUS_PREFIX, file.status),
        duration_ms=file.duration_ms,
        detection_count=file.detection_count,
    )
    if file.error_reason is not None:
        message.error.CopyFrom(_error(file.error_reason, file.error_message))
    return message


def detection_event_message(event: Event) -> pb.DetectionEvent:
    """The event as watchers receive it."""
    message = values.from_json(event.body, pb.DetectionEvent)
    message.detection_job_id = str(event.resource_id)
    message.revision = event.revision
    message.attempt = event.attempt
    message.time.FromDatetime(event.time)
    return message


def job_detection_message(file: ScoredFile, found: Detection) -> pb.JobDetection:
    """The detection as the API shows it."""
    return pb.JobDetection(
        file_id=str(file.file_id),
        filename=file.filename,
        detection=DetectionMessage(
            artifact_type=found.artifact_type,
            start_ms=found.start_ms,
            end_ms=found.end_ms,
            confidence=found.confidence,
            channels=found.channels,
        ),
    )


def recording_message(recording: Recording) -> pb.Recording:
    """The recording as the API shows it."""
    return pb.Recording(
        id=str(recording.id),
        filename=recording.filename,
        size_bytes=recording.size_bytes,
        sha256=recording.sha256,
    )


def learned_types(model: Model) -> list[dict[str, Any]]:
    """What the model has learned of its types, in their order, as a job stores it."""
    return [
        {
            "name": name,
            "merge_window_ms": model.merge_windows_ms[name],
            "min_duration_ms": model.min_durations_ms[name],
        }
        for name in model.artifact_types
    ]


def settings_of(config: DetectionConfig) -> Settings:
    """The settings of a detection, with the defaults for what is unset."""
    scalars = {
        name: getattr(config, name)
        for name in ("threshold", "merge_window_ms", "min_duration_ms")
        if config.HasField(name)
    }
    return Settings(
        **scalars,
        thresholds=dict(config.thresholds),
        merge_windows_ms=dict(config.merge_windows_ms),
        min_durations_ms=dict(config.min_durations_ms),
    )


def detection_job_status(name: str) -> pb.DetectionJobStatus:
    """The status with this stored name."""
    return values.enum_number(pb.DetectionJobStatus, _JOB_STATUS_PREFIX, name)


def detection_job_status_names(numbers: Iterable[int]) -> list[str]:
    """The stored names of statuses of jobs."""
    return values.enum_names(pb.DetectionJobStatus, _JOB_STATUS_PREFIX, numbers)


def detection_file_status_names(numbers: Iterable[int]) -> list[str]:
    """The names of statuses of files."""
    return values.enum_names(pb.DetectionFileStatus, _FILE_STATUS_PREFIX, numbers)


def _error(reason: str, message: str | None) -> pb.DetectionError:
    return pb.DetectionError(
        reason=values.enum_number(ErrorReason, _ERROR_REASON_PREFIX, reason), message=message or ""
    )
