from earmark.v1 import error_reason_pb2 as _error_reason_pb2
from earmark.v1 import metrics_pb2 as _metrics_pb2
from earmark.v1 import scope_pb2 as _scope_pb2
from earmark.v1 import training_config_pb2 as _training_config_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class TrainingJobStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TRAINING_JOB_STATUS_UNSPECIFIED: _ClassVar[TrainingJobStatus]
    TRAINING_JOB_STATUS_PENDING: _ClassVar[TrainingJobStatus]
    TRAINING_JOB_STATUS_QUEUED: _ClassVar[TrainingJobStatus]
    TRAINING_JOB_STATUS_TRAINING: _ClassVar[TrainingJobStatus]
    TRAINING_JOB_STATUS_COMPLETED: _ClassVar[TrainingJobStatus]
    TRAINING_JOB_STATUS_FAILED: _ClassVar[TrainingJobStatus]
    TRAINING_JOB_STATUS_CANCELLED: _ClassVar[TrainingJobStatus]

class TrainingAttemptOutcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TRAINING_ATTEMPT_OUTCOME_UNSPECIFIED: _ClassVar[TrainingAttemptOutcome]
    TRAINING_ATTEMPT_OUTCOME_RUNNING: _ClassVar[TrainingAttemptOutcome]
    TRAINING_ATTEMPT_OUTCOME_COMPLETED: _ClassVar[TrainingAttemptOutcome]
    TRAINING_ATTEMPT_OUTCOME_FAILED: _ClassVar[TrainingAttemptOutcome]
    TRAINING_ATTEMPT_OUTCOME_CANCELLED: _ClassVar[TrainingAttemptOutcome]
    TRAINING_ATTEMPT_OUTCOME_LOST: _ClassVar[TrainingAttemptOutcome]
    TRAINING_ATTEMPT_OUTCOME_HANDED_BACK: _ClassVar[TrainingAttemptOutcome]

class WaitReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    WAIT_REASON_UNSPECIFIED: _ClassVar[WaitReason]
    WAIT_REASON_STARTING: _ClassVar[WaitReason]
    WAIT_REASON_NO_TRAINER: _ClassVar[WaitReason]
    WAIT_REASON_NO_FREE_SLOT: _ClassVar[WaitReason]
    WAIT_REASON_TENANT_LIMIT: _ClassVar[WaitReason]
    WAIT_REASON_BACKOFF: _ClassVar[WaitReason]
    WAIT_REASON_FEATURES: _ClassVar[WaitReason]

class TrainingEventKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TRAINING_EVENT_KIND_UNSPECIFIED: _ClassVar[TrainingEventKind]
    TRAINING_EVENT_KIND_STATUS_CHANGED: _ClassVar[TrainingEventKind]
    TRAINING_EVENT_KIND_PROGRESS: _ClassVar[TrainingEventKind]
    TRAINING_EVENT_KIND_EPOCH_COMPLETED: _ClassVar[TrainingEventKind]
    TRAINING_EVENT_KIND_NOTICE: _ClassVar[TrainingEventKind]
    TRAINING_EVENT_KIND_MODEL_CREATED: _ClassVar[TrainingEventKind]
    TRAINING_EVENT_KIND_DELETED: _ClassVar[TrainingEventKind]

class NoticeCode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    NOTICE_CODE_UNSPECIFIED: _ClassVar[NoticeCode]
    NOTICE_CODE_ACCEPTED: _ClassVar[NoticeCode]
    NOTICE_CODE_LOADING: _ClassVar[NoticeCode]
    NOTICE_CODE_FILE_LEFT_OUT: _ClassVar[NoticeCode]
    NOTICE_CODE_TYPE_NOT_VALIDATED: _ClassVar[NoticeCode]
    NOTICE_CODE_TYPE_NOT_TRAINED: _ClassVar[NoticeCode]
    NOTICE_CODE_RESUMED: _ClassVar[NoticeCode]
    NOTICE_CODE_TRAINER_LOST: _ClassVar[NoticeCode]
    NOTICE_CODE_WARM_START: _ClassVar[NoticeCode]
    NOTICE_CODE_STOPPED_EARLY: _ClassVar[NoticeCode]
    NOTICE_CODE_EVENTS_OVERLAP: _ClassVar[NoticeCode]
    NOTICE_CODE_FEW_EVENTS: _ClassVar[NoticeCode]
    NOTICE_CODE_TYPE_IN_ONE_RECORDING: _ClassVar[NoticeCode]
    NOTICE_CODE_TYPE_COVERS_AUDIO: _ClassVar[NoticeCode]
    NOTICE_CODE_COPIES_DIFFER: _ClassVar[NoticeCode]
    NOTICE_CODE_VALIDATION_SEEN: _ClassVar[NoticeCode]
    NOTICE_CODE_SPLIT: _ClassVar[NoticeCode]
    NOTICE_CODE_ONE_GROUP: _ClassVar[NoticeCode]
TRAINING_JOB_STATUS_UNSPECIFIED: TrainingJobStatus
TRAINING_JOB_STATUS_PENDING: TrainingJobStatus
TRAINING_JOB_STATUS_QUEUED: TrainingJobStatus
TRAINING_JOB_STATUS_TRAINING: TrainingJobStatus
TRAINING_JOB_STATUS_COMPLETED: TrainingJobStatus
TRAINING_JOB_STATUS_FAILED: TrainingJobStatus
TRAINING_JOB_STATUS_CANCELLED: TrainingJobStatus
TRAINING_ATTEMPT_OUTCOME_UNSPECIFIED: TrainingAttemptOutcome
TRAINING_ATTEMPT_OUTCOME_RUNNING: TrainingAttemptOutcome
TRAINING_ATTEMPT_OUTCOME_COMPLETED: TrainingAttemptOutcome
TRAINING_ATTEMPT_OUTCOME_FAILED: TrainingAttemptOutcome
TRAINING_ATTEMPT_OUTCOME_CANCELLED: TrainingAttemptOutcome
TRAINING_ATTEMPT_OUTCOME_LOST: TrainingAttemptOutcome
TRAINING_ATTEMPT_OUTCOME_HANDED_BACK: TrainingAttemptOutcome
WAIT_REASON_UNSPECIFIED: WaitReason
WAIT_REASON_STARTING: WaitReason
WAIT_REASON_NO_TRAINER: WaitReason
WAIT_REASON_NO_FREE_SLOT: WaitReason
WAIT_REASON_TENANT_LIMIT: WaitReason
WAIT_REASON_BACKOFF: WaitReason
WAIT_REASON_FEATURES: WaitReason
TRAINING_EVENT_KIND_UNSPECIFIED: TrainingEventKind
TRAINING_EVENT_KIND_STATUS_CHANGED: TrainingEventKind
TRAINING_EVENT_KIND_PROGRESS: TrainingEventKind
TRAINING_EVENT_KIND_EPOCH_COMPLETED: TrainingEventKind
TRAINING_EVENT_KIND_NOTICE: TrainingEventKind
TRAINING_EVENT_KIND_MODEL_CREATED: TrainingEventKind
TRAINING_EVENT_KIND_DELETED: TrainingEventKind
NOTICE_CODE_UNSPECIFIED: NoticeCode
NOTICE_CODE_ACCEPTED: NoticeCode
NOTICE_CODE_LOADING: NoticeCode
NOTICE_CODE_FILE_LEFT_OUT: NoticeCode
NOTICE_CODE_TYPE_NOT_VALIDATED: NoticeCode
NOTICE_CODE_TYPE_NOT_TRAINED: NoticeCode
NOTICE_CODE_RESUMED: NoticeCode
NOTICE_CODE_TRAINER_LOST: NoticeCode
NOTICE_CODE_WARM_START: NoticeCode
NOTICE_CODE_STOPPED_EARLY: NoticeCode
NOTICE_CODE_EVENTS_OVERLAP: NoticeCode
NOTICE_CODE_FEW_EVENTS: NoticeCode
NOTICE_CODE_TYPE_IN_ONE_RECORDING: NoticeCode
NOTICE_CODE_TYPE_COVERS_AUDIO: NoticeCode
NOTICE_CODE_COPIES_DIFFER: NoticeCode
NOTICE_CODE_VALIDATION_SEEN: NoticeCode
NOTICE_CODE_SPLIT: NoticeCode
NOTICE_CODE_ONE_GROUP: NoticeCode

class TrainingJobError(_message.Message):
    __slots__ = ("reason", "message")
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    reason: _error_reason_pb2.ErrorReason
    message: str
    def __init__(self, reason: _Optional[_Union[_error_reason_pb2.ErrorReason, str]] = ..., message: _Optional[str] = ...) -> None: ...

class TrainingAttempt(_message.Message):
    __slots__ = ("number", "started_at", "ended_at", "outcome", "reason")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    ENDED_AT_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    number: int
    started_at: _timestamp_pb2.Timestamp
    ended_at: _timestamp_pb2.Timestamp
    outcome: TrainingAttemptOutcome
    reason: str
    def __init__(self, number: _Optional[int] = ..., started_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., ended_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., outcome: _Optional[_Union[TrainingAttemptOutcome, str]] = ..., reason: _Optional[str] = ...) -> None: ...

class QueueState(_message.Message):
    __slots__ = ("place", "reason", "message", "not_before")
    PLACE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    NOT_BEFORE_FIELD_NUMBER: _ClassVar[int]
    place: int
    reason: WaitReason
    message: str
    not_before: _timestamp_pb2.Timestamp
    def __init__(self, place: _Optional[int] = ..., reason: _Optional[_Union[WaitReason, str]] = ..., message: _Optional[str] = ..., not_before: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class TrainingJob(_message.Message):
    __slots__ = ("id", "dataset_id", "annotation_set_id", "config", "status", "progress", "current_epoch", "total_epochs", "metrics", "eta", "model_id", "error", "attempt", "metadata", "created_at", "queued_at", "started_at", "finished_at", "revision", "best_epoch", "attempts", "queue_state")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    DATASET_ID_FIELD_NUMBER: _ClassVar[int]
    ANNOTATION_SET_ID_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    CURRENT_EPOCH_FIELD_NUMBER: _ClassVar[int]
    TOTAL_EPOCHS_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    ETA_FIELD_NUMBER: _ClassVar[int]
    MODEL_ID_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    QUEUED_AT_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    FINISHED_AT_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    BEST_EPOCH_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    QUEUE_STATE_FIELD_NUMBER: _ClassVar[int]
    id: str
    dataset_id: str
    annotation_set_id: str
    config: _training_config_pb2.TrainingConfig
    status: TrainingJobStatus
    progress: float
    current_epoch: int
    total_epochs: int
    metrics: _metrics_pb2.EvalMetrics
    eta: _timestamp_pb2.Timestamp
    model_id: str
    error: TrainingJobError
    attempt: int
    metadata: _containers.ScalarMap[str, str]
    created_at: _timestamp_pb2.Timestamp
    queued_at: _timestamp_pb2.Timestamp
    started_at: _timestamp_pb2.Timestamp
    finished_at: _timestamp_pb2.Timestamp
    revision: int
    best_epoch: int
    attempts: _containers.RepeatedCompositeFieldContainer[TrainingAttempt]
    queue_state: QueueState
    def __init__(self, id: _Optional[str] = ..., dataset_id: _Optional[str] = ..., annotation_set_id: _Optional[str] = ..., config: _Optional[_Union[_training_config_pb2.TrainingConfig, _Mapping]] = ..., status: _Optional[_Union[TrainingJobStatus, str]] = ..., progress: _Optional[float] = ..., current_epoch: _Optional[int] = ..., total_epochs: _Optional[int] = ..., metrics: _Optional[_Union[_metrics_pb2.EvalMetrics, _Mapping]] = ..., eta: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., model_id: _Optional[str] = ..., error: _Optional[_Union[TrainingJobError, _Mapping]] = ..., attempt: _Optional[int] = ..., metadata: _Optional[_Mapping[str, str]] = ..., created_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., queued_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., started_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., finished_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., revision: _Optional[int] = ..., best_epoch: _Optional[int] = ..., attempts: _Optional[_Iterable[_Union[TrainingAttempt, _Mapping]]] = ..., queue_state: _Optional[_Union[QueueState, _Mapping]] = ...) -> None: ...

class TrainingEvent(_message.Message):
    __slots__ = ("training_job_id", "revision", "attempt", "time", "status_changed", "progress", "epoch_completed", "notice", "model_created", "deleted")
    class StatusChanged(_message.Message):
        __slots__ = ("to", "reason")
        FROM_FIELD_NUMBER: _ClassVar[int]
        TO_FIELD_NUMBER: _ClassVar[int]
        REASON_FIELD_NUMBER: _ClassVar[int]
        to: TrainingJobStatus
        reason: str
        def __init__(self, to: _Optional[_Union[TrainingJobStatus, str]] = ..., reason: _Optional[str] = ..., **kwargs) -> None: ...
    class Progress(_message.Message):
        __slots__ = ("epoch", "step", "steps", "fraction", "eta")
        EPOCH_FIELD_NUMBER: _ClassVar[int]
        STEP_FIELD_NUMBER: _ClassVar[int]
        STEPS_FIELD_NUMBER: _ClassVar[int]
        FRACTION_FIELD_NUMBER: _ClassVar[int]
        ETA_FIELD_NUMBER: _ClassVar[int]
        epoch: int
        step: int
        steps: int
        fraction: float
        eta: _timestamp_pb2.Timestamp
        def __init__(self, epoch: _Optional[int] = ..., step: _Optional[int] = ..., steps: _Optional[int] = ..., fraction: _Optional[float] = ..., eta: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
    class EpochCompleted(_message.Message):
        __slots__ = ("epoch", "train_loss", "validation_loss", "metrics", "chunks_per_second", "best_epoch")
        EPOCH_FIELD_NUMBER: _ClassVar[int]
        TRAIN_LOSS_FIELD_NUMBER: _ClassVar[int]
        VALIDATION_LOSS_FIELD_NUMBER: _ClassVar[int]
        METRICS_FIELD_NUMBER: _ClassVar[int]
        CHUNKS_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
        BEST_EPOCH_FIELD_NUMBER: _ClassVar[int]
        epoch: int
        train_loss: float
        validation_loss: float
        metrics: _metrics_pb2.EvalMetrics
        chunks_per_second: float
        best_epoch: int
        def __init__(self, epoch: _Optional[int] = ..., train_loss: _Optional[float] = ..., validation_loss: _Optional[float] = ..., metrics: _Optional[_Union[_metrics_pb2.EvalMetrics, _Mapping]] = ..., chunks_per_second: _Optional[float] = ..., best_epoch: _Optional[int] = ...) -> None: ...
    class Notice(_message.Message):
        __slots__ = ("code", "message", "artifact_type", "audio_file_id")
        CODE_FIELD_NUMBER: _ClassVar[int]
        MESSAGE_FIELD_NUMBER: _ClassVar[int]
        ARTIFACT_TYPE_FIELD_NUMBER: _ClassVar[int]
        AUDIO_FILE_ID_FIELD_NUMBER: _ClassVar[int]
        code: NoticeCode
        message: str
        artifact_type: str
        audio_file_id: str
        def __init__(self, code: _Optional[_Union[NoticeCode, str]] = ..., message: _Optional[str] = ..., artifact_type: _Optional[str] = ..., audio_file_id: _Optional[str] = ...) -> None: ...
    class ModelCreated(_message.Message):
        __slots__ = ("model_id",)
        MODEL_ID_FIELD_NUMBER: _ClassVar[int]
        model_id: str
        def __init__(self, model_id: _Optional[str] = ...) -> None: ...
    class Deleted(_message.Message):
        __slots__ = ()
        def __init__(self) -> None: ...
    TRAINING_JOB_ID_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    STATUS_CHANGED_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    EPOCH_COMPLETED_FIELD_NUMBER: _ClassVar[int]
    NOTICE_FIELD_NUMBER: _ClassVar[int]
    MODEL_CREATED_FIELD_NUMBER: _ClassVar[int]
    DELETED_FIELD_NUMBER: _ClassVar[int]
    training_job_id: str
    revision: int
    attempt: int
    time: _timestamp_pb2.Timestamp
    status_changed: TrainingEvent.StatusChanged
    progress: TrainingEvent.Progress
    epoch_completed: TrainingEvent.EpochCompleted
    notice: TrainingEvent.Notice
    model_created: TrainingEvent.ModelCreated
    deleted: TrainingEvent.Deleted
    def __init__(self, training_job_id: _Optional[str] = ..., revision: _Optional[int] = ..., attempt: _Optional[int] = ..., time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., status_changed: _Optional[_Union[TrainingEvent.StatusChanged, _Mapping]] = ..., progress: _Optional[_Union[TrainingEvent.Progress, _Mapping]] = ..., epoch_completed: _Optional[_Union[TrainingEvent.EpochCompleted, _Mapping]] = ..., notice: _Optional[_Union[TrainingEvent.Notice, _Mapping]] = ..., model_created: _Optional[_Union[TrainingEvent.ModelCreated, _Mapping]] = ..., deleted: _Optional[_Union[TrainingEvent.Deleted, _Mapping]] = ...) -> None: ...

class CreateTrainingJobRequest(_message.Message):
    __slots__ = ("dataset_id", "annotation_set_id", "config", "metadata", "request_id", "validate_only")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    DATASET_ID_FIELD_NUMBER: _ClassVar[int]
    ANNOTATION_SET_ID_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    dataset_id: str
    annotation_set_id: str
    config: _training_config_pb2.TrainingConfig
    metadata: _containers.ScalarMap[str, str]
    request_id: str
    validate_only: bool
    def __init__(self, dataset_id: _Optional[str] = ..., annotation_set_id: _Optional[str] = ..., config: _Optional[_Union[_training_config_pb2.TrainingConfig, _Mapping]] = ..., metadata: _Optional[_Mapping[str, str]] = ..., request_id: _Optional[str] = ..., validate_only: bool = ...) -> None: ...

class CreateTrainingJobResponse(_message.Message):
    __slots__ = ("training_job",)
    TRAINING_JOB_FIELD_NUMBER: _ClassVar[int]
    training_job: TrainingJob
    def __init__(self, training_job: _Optional[_Union[TrainingJob, _Mapping]] = ...) -> None: ...

class GetTrainingJobRequest(_message.Message):
    __slots__ = ("training_job_id",)
    TRAINING_JOB_ID_FIELD_NUMBER: _ClassVar[int]
    training_job_id: str
    def __init__(self, training_job_id: _Optional[str] = ...) -> None: ...

class GetTrainingJobResponse(_message.Message):
    __slots__ = ("training_job",)
    TRAINING_JOB_FIELD_NUMBER: _ClassVar[int]
    training_job: TrainingJob
    def __init__(self, training_job: _Optional[_Union[TrainingJob, _Mapping]] = ...) -> None: ...

class ListTrainingJobsRequest(_message.Message):
    __slots__ = ("dataset_ids", "statuses", "page_size", "page_token", "metadata", "view")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    DATASET_IDS_FIELD_NUMBER: _ClassVar[int]
    STATUSES_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    dataset_ids: _containers.RepeatedScalarFieldContainer[str]
    statuses: _containers.RepeatedScalarFieldContainer[TrainingJobStatus]
    page_size: int
    page_token: str
    metadata: _containers.ScalarMap[str, str]
    view: _metrics_pb2.MetricsView
    def __init__(self, dataset_ids: _Optional[_Iterable[str]] = ..., statuses: _Optional[_Iterable[_Union[TrainingJobStatus, str]]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., metadata: _Optional[_Mapping[str, str]] = ..., view: _Optional[_Union[_metrics_pb2.MetricsView, str]] = ...) -> None: ...

class ListTrainingJobsResponse(_message.Message):
    __slots__ = ("training_jobs", "next_page_token")
    TRAINING_JOBS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    training_jobs: _containers.RepeatedCompositeFieldContainer[TrainingJob]
    next_page_token: str
    def __init__(self, training_jobs: _Optional[_Iterable[_Union[TrainingJob, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class CancelTrainingJobRequest(_message.Message):
    __slots__ = ("training_job_id", "request_id")
    TRAINING_JOB_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    training_job_id: str
    request_id: str
    def __init__(self, training_job_id: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class CancelTrainingJobResponse(_message.Message):
    __slots__ = ("training_job",)
    TRAINING_JOB_FIELD_NUMBER: _ClassVar[int]
    training_job: TrainingJob
    def __init__(self, training_job: _Optional[_Union[TrainingJob, _Mapping]] = ...) -> None: ...

class DeleteTrainingJobRequest(_message.Message):
    __slots__ = ("training_job_id", "request_id", "force")
    TRAINING_JOB_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    training_job_id: str
    request_id: str
    force: bool
    def __init__(self, training_job_id: _Optional[str] = ..., request_id: _Optional[str] = ..., force: bool = ...) -> None: ...

class DeleteTrainingJobResponse(_message.Message):
    __slots__ = ("deleted_counts",)
    class DeletedCountsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    DELETED_COUNTS_FIELD_NUMBER: _ClassVar[int]
    deleted_counts: _containers.ScalarMap[str, int]
    def __init__(self, deleted_counts: _Optional[_Mapping[str, int]] = ...) -> None: ...

class WatchTrainingJobRequest(_message.Message):
    __slots__ = ("training_job_id", "after_revision", "kinds")
    TRAINING_JOB_ID_FIELD_NUMBER: _ClassVar[int]
    AFTER_REVISION_FIELD_NUMBER: _ClassVar[int]
    KINDS_FIELD_NUMBER: _ClassVar[int]
    training_job_id: str
    after_revision: int
    kinds: _containers.RepeatedScalarFieldContainer[TrainingEventKind]
    def __init__(self, training_job_id: _Optional[str] = ..., after_revision: _Optional[int] = ..., kinds: _Optional[_Iterable[_Union[TrainingEventKind, str]]] = ...) -> None: ...

class WatchTrainingJobResponse(_message.Message):
    __slots__ = ("event", "heartbeat")
    class Heartbeat(_message.Message):
        __slots__ = ("revision",)
        REVISION_FIELD_NUMBER: _ClassVar[int]
        revision: int
        def __init__(self, revision: _Optional[int] = ...) -> None: ...
    EVENT_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    event: TrainingEvent
    heartbeat: WatchTrainingJobResponse.Heartbeat
    def __init__(self, event: _Optional[_Union[TrainingEvent, _Mapping]] = ..., heartbeat: _Optional[_Union[WatchTrainingJobResponse.Heartbeat, _Mapping]] = ...) -> None: ...

class WatchTrainingJobsRequest(_message.Message):
    __slots__ = ("after_cursor", "from_start", "dataset_ids", "statuses", "metadata", "kinds")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    AFTER_CURSOR_FIELD_NUMBER: _ClassVar[int]
    FROM_START_FIELD_NUMBER: _ClassVar[int]
    DATASET_IDS_FIELD_NUMBER: _ClassVar[int]
    STATUSES_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    KINDS_FIELD_NUMBER: _ClassVar[int]
    after_cursor: str
    from_start: bool
    dataset_ids: _containers.RepeatedScalarFieldContainer[str]
    statuses: _containers.RepeatedScalarFieldContainer[TrainingJobStatus]
    metadata: _containers.ScalarMap[str, str]
    kinds: _containers.RepeatedScalarFieldContainer[TrainingEventKind]
    def __init__(self, after_cursor: _Optional[str] = ..., from_start: bool = ..., dataset_ids: _Optional[_Iterable[str]] = ..., statuses: _Optional[_Iterable[_Union[TrainingJobStatus, str]]] = ..., metadata: _Optional[_Mapping[str, str]] = ..., kinds: _Optional[_Iterable[_Union[TrainingEventKind, str]]] = ...) -> None: ...

class WatchTrainingJobsResponse(_message.Message):
    __slots__ = ("event", "heartbeat", "cursor")
    class Heartbeat(_message.Message):
        __slots__ = ()
        def __init__(self) -> None: ...
    EVENT_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    event: TrainingEvent
    heartbeat: WatchTrainingJobsResponse.Heartbeat
    cursor: str
    def __init__(self, event: _Optional[_Union[TrainingEvent, _Mapping]] = ..., heartbeat: _Optional[_Union[WatchTrainingJobsResponse.Heartbeat, _Mapping]] = ..., cursor: _Optional[str] = ...) -> None: ...
