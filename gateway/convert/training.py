"""Training jobs and their events, between records and messages."""

from datetime import UTC, datetime, timedelta
from secrets import randbits
from typing import Any

from earmark.v1 import metrics_pb2, training_config_pb2, training_service_pb2

from gateway import convert
from gateway.trainers import TrainerStatus
from gateway.waiting import Waiting
from storage.records import TrainingAttempt, TrainingEvent, TrainingJob

_STATUS_PREFIX = "TRAINING_JOB_STATUS_"
_OUTCOME_PREFIX = "TRAINING_ATTEMPT_OUTCOME_"
_WAITING_PREFIX = "WAITING_FOR_"
DEFAULTS: dict[str, float | int] = {
    "epochs": 20,
    "validation_split": 0.2,
    "learning_rate": 0.001,
    "batch_size": 32,
    "chunk_size_ms": 500,
    "stride_ms": 250,
}


def config_with_defaults(config: training_config_pb2.TrainingConfig) -> dict[str, Any]:
    """The stored form: every value in force, the seed drawn where it was left out.

    Without a default, base_model_id and early_stopping_epochs stay out where they were left out: that is off.
    """
    filled = training_config_pb2.TrainingConfig()
    filled.CopyFrom(config)
    for name, value in (DEFAULTS | {"seed": randbits(32)}).items():
        if not filled.HasField(name):
            setattr(filled, name, value)
    return convert.to_json(filled)


def config_message(config: dict[str, Any]) -> training_config_pb2.TrainingConfig:
    """From its stored form."""
    return convert.from_json(config, training_config_pb2.TrainingConfig)


def job_message(job: TrainingJob) -> training_service_pb2.TrainingJob:
    """As callers see it."""
    message = training_service_pb2.TrainingJob(
        id=str(job.id),
        dataset_id=str(job.dataset_id),
        annotation_set_id=str(job.annotation_set_id),
        config=config_message(job.config),
        status=status_number(job.status),
        progress=job.progress,
        current_epoch=job.current_epoch,
        best_epoch=job.best_epoch,
        total_epochs=job.total_epochs,
        eta=convert.timestamp(job.eta),
        model_id=str(job.model_id or ""),
        attempt=job.attempt,
        metadata=job.metadata,
        created_at=convert.timestamp(job.created_at),
        queued_at=convert.timestamp(job.queued_at),
        started_at=convert.timestamp(job.started_at),
        finished_at=convert.timestamp(job.finished_at),
        revision=job.revision,
        attempts=map(attempt_message, job.attempts),
    )
    if job.metrics is not None:
        message.metrics.CopyFrom(convert.from_json(job.metrics, metrics_pb2.EvalMetrics))
    if job.error_reason is not None:
        message.error.reason = job.error_reason
        message.error.message = job.error_message or ""
    return message


def attempt_message(attempt: TrainingAttempt) -> training_service_pb2.TrainingAttempt:
    """As callers see it."""
    outcomes = training_service_pb2.TrainingAttemptOutcome
    return training_service_pb2.TrainingAttempt(
        number=attempt.number,
        trainer=attempt.trainer,
        started_at=convert.timestamp(attempt.started_at),
        ended_at=convert.timestamp(attempt.ended_at),
        outcome=convert.enum_number(outcomes, _OUTCOME_PREFIX, attempt.outcome or "unspecified"),  # type: ignore[arg-type]
        reason=attempt.reason or "",
    )


def waiting_message(waiting: Waiting) -> training_service_pb2.Waiting:
    """As callers see it."""
    return training_service_pb2.Waiting(
        place=waiting.place,
        waiting_for=convert.enum_number(
            training_service_pb2.WaitingFor, _WAITING_PREFIX, waiting.waiting_for
        ),  # type: ignore[arg-type]
        message=waiting.message,
        not_before=convert.timestamp(waiting.not_before),
    )


def event_message(event: TrainingEvent) -> training_service_pb2.TrainingEvent:
    """As watchers see it."""
    message = convert.from_json(event.body, training_service_pb2.TrainingEvent)
    message.training_job_id = str(event.training_job_id)
    message.revision = event.revision
    message.attempt = event.attempt
    message.time.FromDatetime(event.time)
    return message


def trainer_message(status: TrainerStatus) -> training_service_pb2.TrainerStatus:
    """As callers see it."""
    capacity = status.capacity
    return training_service_pb2.TrainerStatus(
        address=status.address,
        is_available=status.is_available,
        device=capacity.device,
        training_slots=capacity.training_slots,
        free_training_slots=capacity.free_training_slots,
        audio_slots=capacity.audio_slots,
        free_audio_slots=capacity.free_audio_slots,
        seen_at=convert.timestamp(status.seen_at),
        problem=status.problem,
    )


def status_number(status: str) -> training_service_pb2.TrainingJobStatus:
    """The enum's number of a stored status."""
    return convert.enum_number(training_service_pb2.TrainingJobStatus, _STATUS_PREFIX, status)  # type: ignore[return-value]


def status_text(number: int) -> str | None:
    """The stored form of a status; None for UNSPECIFIED."""
    return convert.enum_name(training_service_pb2.TrainingJobStatus, _STATUS_PREFIX, number)


def status_changed(before: str, after: str, reason: str) -> dict[str, Any]:
    """An event's stored body. `before` is "unspecified" for the creation."""
    names = {"from": _STATUS_PREFIX + before.upper(), "to": _STATUS_PREFIX + after.upper()}
    return {"status_changed": {**names, "reason": reason}}


def notice(code: str, message: str) -> dict[str, Any]:
    """An event's stored body; `code` is a NoticeCode without its prefix."""
    return {"notice": {"code": f"NOTICE_CODE_{code}", "message": message}}


def model_created(model_id: str) -> dict[str, Any]:
    """An event's stored body."""
    return {"model_created": {"model_id": model_id}}


def after(seconds: float) -> datetime:
    """The time that many seconds from now."""
    return datetime.now(UTC) + timedelta(seconds=seconds)
