"""Converts training jobs, their attempts and events, and trainers' states from records to messages."""

from collections.abc import Iterable
from secrets import randbits
from typing import Any

from earmark.v1 import metrics_pb2, training_config_pb2, training_service_pb2

from gateway.convert import values
from gateway.convert.metrics import MetricsView, eval_metrics_message
from gateway.fleet.trainers import TrainerStatus
from gateway.fleet.waiting import Waiting
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


def config_with_defaults(config: training_config_pb2.TrainingConfig) -> training_config_pb2.TrainingConfig:
    """A copy of the configuration with every unset field set to its default, and with a random seed if unset.

    base_model_id and early_stopping_epochs have no default; unset, they are off.
    """
    filled = training_config_pb2.TrainingConfig()
    filled.CopyFrom(config)
    for name, value in (DEFAULTS | {"seed": randbits(32)}).items():
        if not filled.HasField(name):
            setattr(filled, name, value)
    return filled


def training_config_message(config: dict[str, Any]) -> training_config_pb2.TrainingConfig:
    """The configuration of a training job, from its stored JSON form."""
    return values.from_json(config, training_config_pb2.TrainingConfig)


def training_job_message(
    job: TrainingJob, view: MetricsView = metrics_pb2.METRICS_VIEW_FULL
) -> training_service_pb2.TrainingJob:
    """The training job as the API shows it."""
    message = training_service_pb2.TrainingJob(
        id=str(job.id),
        dataset_id=str(job.dataset_id),
        annotation_set_id=str(job.annotation_set_id),
        config=training_config_message(job.config),
        status=training_job_status(job.status),
        progress=job.progress,
        current_epoch=job.current_epoch,
        best_epoch=job.best_epoch,
        total_epochs=job.total_epochs,
        eta=values.timestamp(job.eta),
        model_id=str(job.model_id or ""),
        attempt=job.attempt,
        metadata=job.metadata,
        created_at=values.timestamp(job.created_at),
        queued_at=values.timestamp(job.queued_at),
        started_at=values.timestamp(job.started_at),
        finished_at=values.timestamp(job.finished_at),
        revision=job.revision,
        attempts=map(training_attempt_message, job.attempts),
    )
    if job.metrics is not None:
        message.metrics.CopyFrom(eval_metrics_message(job.metrics, view))
    if job.error_reason is not None:
        message.error.reason = job.error_reason
        message.error.message = job.error_message or ""
    return message


def training_attempt_message(attempt: TrainingAttempt) -> training_service_pb2.TrainingAttempt:
    """The attempt as the API shows it."""
    outcomes = training_service_pb2.TrainingAttemptOutcome
    return training_service_pb2.TrainingAttempt(
        number=attempt.number,
        trainer=attempt.trainer,
        started_at=values.timestamp(attempt.started_at),
        ended_at=values.timestamp(attempt.ended_at),
        outcome=values.enum_number(outcomes, _OUTCOME_PREFIX, attempt.outcome or "unspecified"),
        reason=attempt.reason or "",
    )


def waiting_message(waiting: Waiting) -> training_service_pb2.Waiting:
    """What a queued job waits for, as the API shows it."""
    return training_service_pb2.Waiting(
        place=waiting.place,
        waiting_for=values.enum_number(training_service_pb2.WaitingFor, _WAITING_PREFIX, waiting.waiting_for),
        message=waiting.message,
        not_before=values.timestamp(waiting.not_before),
    )


def training_event_message(event: TrainingEvent) -> training_service_pb2.TrainingEvent:
    """The event as watchers receive it."""
    message = values.from_json(event.body, training_service_pb2.TrainingEvent)
    message.training_job_id = str(event.training_job_id)
    message.revision = event.revision
    message.attempt = event.attempt
    message.time.FromDatetime(event.time)
    return message


def trainer_status_message(status: TrainerStatus) -> training_service_pb2.TrainerStatus:
    """The trainer's state as the API shows it."""
    capacity = status.capacity
    return training_service_pb2.TrainerStatus(
        address=status.address,
        is_available=status.is_available,
        device=capacity.device,
        training_slots=capacity.training_slots,
        free_training_slots=capacity.free_training_slots,
        audio_slots=capacity.audio_slots,
        free_audio_slots=capacity.free_audio_slots,
        seen_at=values.timestamp(status.seen_at),
        problem=status.problem,
    )


def training_job_status(name: str) -> training_service_pb2.TrainingJobStatus:
    """The status with this stored name."""
    return values.enum_number(training_service_pb2.TrainingJobStatus, _STATUS_PREFIX, name)


def training_job_status_names(numbers: Iterable[int]) -> list[str]:
    """The stored names of statuses."""
    return values.enum_names(training_service_pb2.TrainingJobStatus, _STATUS_PREFIX, numbers)
