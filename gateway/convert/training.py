"""Converts training jobs, their attempts and events from records to messages."""

from collections.abc import Iterable
from secrets import randbits
from typing import Any

from earmark.gateway.convert import values
from earmark.gateway.convert.metrics import MetricsView, eval_metrics_message
from earmark.gateway.fleet.queue_state import QueueState
from earmark.storage.records import Event, TrainingAttempt, TrainingJob
from earmark.v1 import metrics_pb2, training_config_pb2, training_service_pb2
from earmark.v1.error_reason_pb2 import ErrorReason

_ERROR_REASON_PREFIX = "ERROR_REASON_"
_STATUS_PREFIX = "TRAINING_JOB_STATUS_"
_EVENT_KIND_PREFIX = "TRAINING_EVENT_KIND_"
_OUTCOME_PREFIX = "TRAINING_ATTEMPT_OUTCOME_"
_WAIT_REASON_PREFIX = "WAIT_REASON_"
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
        message.error.reason = values.enum_number(ErrorReason, _ERROR_REASON_PREFIX, job.error_reason)
        message.error.message = job.error_message or ""
    return message


def training_attempt_message(attempt: TrainingAttempt) -> training_service_pb2.TrainingAttempt:
    """The attempt as the API shows it."""
    outcomes = training_service_pb2.TrainingAttemptOutcome
    return training_service_pb2.TrainingAttempt(
        number=attempt.number,
        started_at=values.timestamp(attempt.started_at),
        ended_at=values.timestamp(attempt.ended_at),
        outcome=values.enum_number(outcomes, _OUTCOME_PREFIX, attempt.outcome or "running"),
        reason=attempt.reason or "",
    )


def queue_state_message(state: QueueState) -> training_service_pb2.QueueState:
    """A queued job's place and why it waits, as the API shows them."""
    return training_service_pb2.QueueState(
        place=state.place,
        reason=values.enum_number(training_service_pb2.WaitReason, _WAIT_REASON_PREFIX, state.reason),
        message=state.message,
        not_before=values.timestamp(state.not_before),
    )


def training_event_message(event: Event) -> training_service_pb2.TrainingEvent:
    """The event as watchers receive it."""
    message = values.from_json(event.body, training_service_pb2.TrainingEvent)
    message.training_job_id = str(event.resource_id)
    message.revision = event.revision
    message.attempt = event.attempt
    message.time.FromDatetime(event.time)
    return message


def training_job_status(name: str) -> training_service_pb2.TrainingJobStatus:
    """The status with this stored name."""
    return values.enum_number(training_service_pb2.TrainingJobStatus, _STATUS_PREFIX, name)


def training_job_status_names(numbers: Iterable[int]) -> list[str]:
    """The stored names of statuses."""
    return values.enum_names(training_service_pb2.TrainingJobStatus, _STATUS_PREFIX, numbers)


def training_event_kind_names(numbers: Iterable[int]) -> list[str]:
    """The stored names of kinds of event."""
    return values.enum_names(training_service_pb2.TrainingEventKind, _EVENT_KIND_PREFIX, numbers)
