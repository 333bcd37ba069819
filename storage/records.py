"""Database rows as frozen dataclasses, one per table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Protocol
from uuid import UUID


@dataclass(frozen=True, slots=True)
class ArtifactType:
    """A row of artifact_types; `color` is "#RRGGBB"."""

    name: str
    description: str
    color: str


@dataclass(frozen=True, slots=True)
class Dataset:
    """A row of datasets with its types and counts. `version` increases with every edit."""

    id: UUID
    name: str
    description: str
    version: int
    artifact_types: list[ArtifactType]
    audio_count: int
    annotation_set_count: int
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class AudioFile:
    """A row of audio_files. Duration, sample rate and channels are 0 until the audio is decoded.

    `group` is empty if the file is in none.

    `attempt` is the fencing token: it counts how often the file was claimed, and a write with an older number
    changes nothing. `losses` counts the attempts that failed since the file was uploaded or last succeeded.
    """

    id: UUID
    tenant_id: str
    dataset_id: UUID
    original_filename: str
    content_type: str
    group: str
    size_bytes: int
    sha256: str
    duration_ms: int
    sample_rate_hz: int
    channels: int
    processing_status: str
    error_message: str
    revision: int
    attempt: int
    losses: int
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class TypeTotals:
    """Count and total duration of one set's annotations of one type."""

    count: int
    duration_ms: int


@dataclass(frozen=True, slots=True)
class AnnotationSet:
    """A row of annotation_sets with its totals by artifact type. `revision` increases with every edit."""

    id: UUID
    dataset_id: UUID
    version: int
    status: str
    totals: dict[str, TypeTotals]
    revision: int
    created_at: datetime
    published_at: datetime | None


@dataclass(frozen=True, slots=True)
class Annotation:
    """A row of annotations. `version` increases with every edit.

    `channel` counts from 0; None if the artifact is in at least one of the file's channels.
    """

    id: UUID
    annotation_set_id: UUID
    audio_file_id: UUID
    artifact_type: str
    start_ms: int
    end_ms: int
    confidence: float
    extra_data: dict[str, Any] | None
    channel: int | None = None
    version: int = 1


@dataclass(frozen=True, slots=True)
class TrainingAttempt:
    """A row of training_attempts. `ended_at` and `outcome` are None while the attempt runs."""

    number: int
    started_at: datetime
    ended_at: datetime | None
    outcome: str | None
    reason: str | None


class Job(Protocol):
    """What jobs of both kinds have. `resource` is what their events are about."""

    resource: ClassVar[str]

    @property
    def id(self) -> UUID: ...
    @property
    def tenant_id(self) -> str: ...
    @property
    def dataset_id(self) -> UUID | None: ...
    @property
    def status(self) -> str: ...
    @property
    def metadata(self) -> dict[str, str]: ...
    @property
    def attempt(self) -> int: ...
    @property
    def losses(self) -> int: ...
    @property
    def cancel_requested(self) -> bool: ...
    @property
    def revision(self) -> int: ...


@dataclass(frozen=True, slots=True)
class QueuePlace:
    """A queued job's position: `place` counts its tenant's queued jobs from 1, `overall_place` all of them.

    `turn` is the number of jobs that its tenant will have in training once it starts. `is_due` is False until
    `not_before`, the end of the pause after a lost trainer. `files_by_frontend`: the number of its files with
    features of each version of the front end.
    """

    place: int
    overall_place: int
    turn: int
    not_before: datetime | None
    is_due: bool
    files_by_frontend: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class TrainingJob:
    """A row of training_jobs. `config` and `metrics` are the JSON forms of their messages.

    `attempt` is the fencing token: it counts how often the job was claimed, and a write with an older number
    changes nothing. `attempts` is filled when the job was read and empty when it comes from an update.
    `queue_place` is set where it is needed, if the job is queued. `traceparent`, the span of the call that
    created it, is set when the job comes from an update, and was traced.
    """

    resource: ClassVar[str] = "training_job"

    id: UUID
    tenant_id: str
    dataset_id: UUID
    annotation_set_id: UUID
    config: dict[str, Any]
    metadata: dict[str, str]
    status: str
    progress: float
    current_epoch: int
    best_epoch: int
    total_epochs: int
    metrics: dict[str, Any] | None
    eta: datetime | None
    model_id: UUID | None
    error_reason: str | None
    error_message: str | None
    cancel_requested: bool
    attempt: int
    losses: int
    checkpoint: str | None
    revision: int
    created_at: datetime
    queued_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    attempts: Sequence[TrainingAttempt] = ()
    queue_place: QueuePlace | None = None
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class DetectionJob:
    """A row of detection_jobs. `config` is the JSON form of its message, with what the caller has set.

    `dataset_id` is None if its files were uploaded for it. `types` are the model's, in their order. `attempt`
    is the fencing token, as of a training job.
    """

    resource: ClassVar[str] = "detection_job"

    id: UUID
    tenant_id: str
    model_id: UUID
    dataset_id: UUID | None
    config: dict[str, Any]
    types: list[dict[str, Any]]
    metadata: dict[str, str]
    status: str
    total_files: int
    completed_files: int
    failed_files: int
    total_detections: int
    audio_ms: int
    eta: datetime | None
    error_reason: str | None
    error_message: str | None
    cancel_requested: bool
    attempt: int
    losses: int
    revision: int
    created_at: datetime
    queued_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class DetectionFile:
    """A row of detection_file_details: a file of a detection job, as users see it."""

    position: int
    file_id: UUID
    filename: str
    status: str
    duration_ms: int
    detection_count: int
    error_reason: str | None
    error_message: str | None


@dataclass(frozen=True, slots=True)
class Recording:
    """A row of recordings."""

    id: UUID
    filename: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Event:
    """A row of events. `body` has one field of the event's oneof, in its JSON form.

    `status` is the resource's status after the event, None after its deletion. Only a job's events have a
    `revision`.
    """

    sequence: int
    time: datetime
    resource: str
    resource_id: UUID
    dataset_id: UUID | None
    kind: str
    status: str | None
    attempt: int
    revision: int
    metadata: dict[str, str]
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Model:
    """A row of models with its aliases, in alphabetical order.

    `name_key` is the name without its case. `weights` and `model_config` are object keys. `version` increases
    with every edit.
    """

    id: UUID
    tenant_id: str
    training_job_id: UUID
    dataset_id: UUID
    name: str
    name_key: str
    description: str
    artifact_types: list[str]
    eval_metrics: dict[str, Any]
    recommended_thresholds: dict[str, float]
    merge_windows_ms: dict[str, int]
    min_durations_ms: dict[str, int]
    is_active: bool
    weights: str
    model_config: str
    size_bytes: int
    sha256: str
    config: dict[str, Any]
    best_epoch: int
    annotation_set_id: UUID
    annotation_set_version: int
    audio_file_count: int
    audio_duration_ms: int
    earmark_version: str
    frontend_version: str
    version: int
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None
    aliases: list[str]


@dataclass(frozen=True, slots=True)
class ModelAlias:
    """A row of model_aliases that names a model. `version` is the number of its moves."""

    alias: str
    model_id: UUID
    version: int
    moved_at: datetime


@dataclass(frozen=True, slots=True)
class ModelAliasMove:
    """A row of model_alias_moves. The model ids are None before a creation and after a removal."""

    version: int
    from_model_id: UUID | None
    to_model_id: UUID | None
    moved_at: datetime
    moved_by: str


@dataclass(frozen=True, slots=True)
class ModelUsage:
    """Who uses a model. The ids are those of the newest jobs and models; the counts are of all."""

    training_job_ids: Sequence[UUID]
    training_job_count: int
    detection_job_ids: Sequence[UUID]
    detection_job_count: int
    derived_model_ids: Sequence[UUID]
    derived_model_count: int
    detection_count: int
    last_detected_at: datetime | None


@dataclass(frozen=True, slots=True)
class Tenant:
    """A row of tenants."""

    id: str
    display_name: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Quota:
    """What a tenant may use: a row of tenant_quotas. 0: any amount; None: as the gateway's settings say.

    `streams` and `requests_per_second` are of each gateway.
    """

    storage_bytes: int | None = None
    audio_seconds: int | None = None
    files: int | None = None
    waiting_training_jobs: int | None = None
    running_training_jobs: int | None = None
    waiting_detection_jobs: int | None = None
    running_detection_jobs: int | None = None
    detection_seconds_per_day: int | None = None
    streams: int | None = None
    requests_per_second: int | None = None


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A row of api_keys without the hash. `lookup` is the part of the key that is not secret."""

    id: UUID
    tenant_id: str
    name: str
    lookup: str
    scopes: Sequence[str]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None
