from earmark.v1 import detection_pb2 as _detection_pb2
from earmark.v1 import metrics_pb2 as _metrics_pb2
from earmark.v1 import model_service_pb2 as _model_service_pb2
from earmark.v1 import training_config_pb2 as _training_config_pb2
from earmark.v1 import training_service_pb2 as _training_service_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class FailureKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FAILURE_KIND_UNSPECIFIED: _ClassVar[FailureKind]
    FAILURE_KIND_DATA: _ClassVar[FailureKind]
    FAILURE_KIND_ATTEMPT: _ClassVar[FailureKind]
    FAILURE_KIND_ENVIRONMENT: _ClassVar[FailureKind]
    FAILURE_KIND_HANDED_BACK: _ClassVar[FailureKind]
FAILURE_KIND_UNSPECIFIED: FailureKind
FAILURE_KIND_DATA: FailureKind
FAILURE_KIND_ATTEMPT: FailureKind
FAILURE_KIND_ENVIRONMENT: FailureKind
FAILURE_KIND_HANDED_BACK: FailureKind

class Failure(_message.Message):
    __slots__ = ("kind",)
    KIND_FIELD_NUMBER: _ClassVar[int]
    kind: FailureKind
    def __init__(self, kind: _Optional[_Union[FailureKind, str]] = ...) -> None: ...

class Grant(_message.Message):
    __slots__ = ("rpc", "reads", "writes", "nonce", "request_sha256")
    RPC_FIELD_NUMBER: _ClassVar[int]
    READS_FIELD_NUMBER: _ClassVar[int]
    WRITES_FIELD_NUMBER: _ClassVar[int]
    NONCE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_SHA256_FIELD_NUMBER: _ClassVar[int]
    rpc: str
    reads: _containers.RepeatedScalarFieldContainer[str]
    writes: _containers.RepeatedScalarFieldContainer[str]
    nonce: bytes
    request_sha256: bytes
    def __init__(self, rpc: _Optional[str] = ..., reads: _Optional[_Iterable[str]] = ..., writes: _Optional[_Iterable[str]] = ..., nonce: _Optional[bytes] = ..., request_sha256: _Optional[bytes] = ...) -> None: ...

class SignedGrant(_message.Message):
    __slots__ = ("grant", "mac")
    GRANT_FIELD_NUMBER: _ClassVar[int]
    MAC_FIELD_NUMBER: _ClassVar[int]
    grant: bytes
    mac: bytes
    def __init__(self, grant: _Optional[bytes] = ..., mac: _Optional[bytes] = ...) -> None: ...

class TrainRequest(_message.Message):
    __slots__ = ("job", "file", "more_annotations")
    class Job(_message.Message):
        __slots__ = ("training_job_id", "attempt", "config", "prefix", "resume_from", "base_weights", "base_model_config", "base_sha256")
        TRAINING_JOB_ID_FIELD_NUMBER: _ClassVar[int]
        ATTEMPT_FIELD_NUMBER: _ClassVar[int]
        CONFIG_FIELD_NUMBER: _ClassVar[int]
        PREFIX_FIELD_NUMBER: _ClassVar[int]
        RESUME_FROM_FIELD_NUMBER: _ClassVar[int]
        BASE_WEIGHTS_FIELD_NUMBER: _ClassVar[int]
        BASE_MODEL_CONFIG_FIELD_NUMBER: _ClassVar[int]
        BASE_SHA256_FIELD_NUMBER: _ClassVar[int]
        training_job_id: str
        attempt: int
        config: _training_config_pb2.TrainingConfig
        prefix: str
        resume_from: str
        base_weights: str
        base_model_config: str
        base_sha256: str
        def __init__(self, training_job_id: _Optional[str] = ..., attempt: _Optional[int] = ..., config: _Optional[_Union[_training_config_pb2.TrainingConfig, _Mapping]] = ..., prefix: _Optional[str] = ..., resume_from: _Optional[str] = ..., base_weights: _Optional[str] = ..., base_model_config: _Optional[str] = ..., base_sha256: _Optional[str] = ...) -> None: ...
    class File(_message.Message):
        __slots__ = ("audio_file_id", "sha256", "features", "duration_ms", "annotations", "group")
        AUDIO_FILE_ID_FIELD_NUMBER: _ClassVar[int]
        SHA256_FIELD_NUMBER: _ClassVar[int]
        FEATURES_FIELD_NUMBER: _ClassVar[int]
        DURATION_MS_FIELD_NUMBER: _ClassVar[int]
        ANNOTATIONS_FIELD_NUMBER: _ClassVar[int]
        GROUP_FIELD_NUMBER: _ClassVar[int]
        audio_file_id: str
        sha256: str
        features: str
        duration_ms: int
        annotations: bytes
        group: str
        def __init__(self, audio_file_id: _Optional[str] = ..., sha256: _Optional[str] = ..., features: _Optional[str] = ..., duration_ms: _Optional[int] = ..., annotations: _Optional[bytes] = ..., group: _Optional[str] = ...) -> None: ...
    class MoreAnnotations(_message.Message):
        __slots__ = ("annotations",)
        ANNOTATIONS_FIELD_NUMBER: _ClassVar[int]
        annotations: bytes
        def __init__(self, annotations: _Optional[bytes] = ...) -> None: ...
    JOB_FIELD_NUMBER: _ClassVar[int]
    FILE_FIELD_NUMBER: _ClassVar[int]
    MORE_ANNOTATIONS_FIELD_NUMBER: _ClassVar[int]
    job: TrainRequest.Job
    file: TrainRequest.File
    more_annotations: TrainRequest.MoreAnnotations
    def __init__(self, job: _Optional[_Union[TrainRequest.Job, _Mapping]] = ..., file: _Optional[_Union[TrainRequest.File, _Mapping]] = ..., more_annotations: _Optional[_Union[TrainRequest.MoreAnnotations, _Mapping]] = ...) -> None: ...

class TrainResponse(_message.Message):
    __slots__ = ("accepted", "loading", "progress", "epoch_completed", "checkpoint", "notice", "completed", "heartbeat")
    class Accepted(_message.Message):
        __slots__ = ("device",)
        DEVICE_FIELD_NUMBER: _ClassVar[int]
        device: str
        def __init__(self, device: _Optional[str] = ...) -> None: ...
    class Loading(_message.Message):
        __slots__ = ("files", "total")
        FILES_FIELD_NUMBER: _ClassVar[int]
        TOTAL_FIELD_NUMBER: _ClassVar[int]
        files: int
        total: int
        def __init__(self, files: _Optional[int] = ..., total: _Optional[int] = ...) -> None: ...
    class Progress(_message.Message):
        __slots__ = ("epoch", "step", "steps", "fraction", "eta_seconds")
        EPOCH_FIELD_NUMBER: _ClassVar[int]
        STEP_FIELD_NUMBER: _ClassVar[int]
        STEPS_FIELD_NUMBER: _ClassVar[int]
        FRACTION_FIELD_NUMBER: _ClassVar[int]
        ETA_SECONDS_FIELD_NUMBER: _ClassVar[int]
        epoch: int
        step: int
        steps: int
        fraction: float
        eta_seconds: float
        def __init__(self, epoch: _Optional[int] = ..., step: _Optional[int] = ..., steps: _Optional[int] = ..., fraction: _Optional[float] = ..., eta_seconds: _Optional[float] = ...) -> None: ...
    class Checkpoint(_message.Message):
        __slots__ = ("epoch", "key", "step")
        EPOCH_FIELD_NUMBER: _ClassVar[int]
        KEY_FIELD_NUMBER: _ClassVar[int]
        STEP_FIELD_NUMBER: _ClassVar[int]
        epoch: int
        key: str
        step: int
        def __init__(self, epoch: _Optional[int] = ..., key: _Optional[str] = ..., step: _Optional[int] = ...) -> None: ...
    class Completed(_message.Message):
        __slots__ = ("weights", "model_config", "size_bytes", "sha256", "metrics", "recommended_thresholds", "best_epoch", "merge_windows_ms", "min_durations_ms", "audio_file_count", "audio_duration_ms", "earmark_version", "frontend_version")
        class RecommendedThresholdsEntry(_message.Message):
            __slots__ = ("key", "value")
            KEY_FIELD_NUMBER: _ClassVar[int]
            VALUE_FIELD_NUMBER: _ClassVar[int]
            key: str
            value: float
            def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
        class MergeWindowsMsEntry(_message.Message):
            __slots__ = ("key", "value")
            KEY_FIELD_NUMBER: _ClassVar[int]
            VALUE_FIELD_NUMBER: _ClassVar[int]
            key: str
            value: int
            def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
        class MinDurationsMsEntry(_message.Message):
            __slots__ = ("key", "value")
            KEY_FIELD_NUMBER: _ClassVar[int]
            VALUE_FIELD_NUMBER: _ClassVar[int]
            key: str
            value: int
            def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
        WEIGHTS_FIELD_NUMBER: _ClassVar[int]
        MODEL_CONFIG_FIELD_NUMBER: _ClassVar[int]
        SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
        SHA256_FIELD_NUMBER: _ClassVar[int]
        METRICS_FIELD_NUMBER: _ClassVar[int]
        RECOMMENDED_THRESHOLDS_FIELD_NUMBER: _ClassVar[int]
        BEST_EPOCH_FIELD_NUMBER: _ClassVar[int]
        MERGE_WINDOWS_MS_FIELD_NUMBER: _ClassVar[int]
        MIN_DURATIONS_MS_FIELD_NUMBER: _ClassVar[int]
        AUDIO_FILE_COUNT_FIELD_NUMBER: _ClassVar[int]
        AUDIO_DURATION_MS_FIELD_NUMBER: _ClassVar[int]
        EARMARK_VERSION_FIELD_NUMBER: _ClassVar[int]
        FRONTEND_VERSION_FIELD_NUMBER: _ClassVar[int]
        weights: str
        model_config: str
        size_bytes: int
        sha256: str
        metrics: _metrics_pb2.EvalMetrics
        recommended_thresholds: _containers.ScalarMap[str, float]
        best_epoch: int
        merge_windows_ms: _containers.ScalarMap[str, int]
        min_durations_ms: _containers.ScalarMap[str, int]
        audio_file_count: int
        audio_duration_ms: int
        earmark_version: str
        frontend_version: str
        def __init__(self, weights: _Optional[str] = ..., model_config: _Optional[str] = ..., size_bytes: _Optional[int] = ..., sha256: _Optional[str] = ..., metrics: _Optional[_Union[_metrics_pb2.EvalMetrics, _Mapping]] = ..., recommended_thresholds: _Optional[_Mapping[str, float]] = ..., best_epoch: _Optional[int] = ..., merge_windows_ms: _Optional[_Mapping[str, int]] = ..., min_durations_ms: _Optional[_Mapping[str, int]] = ..., audio_file_count: _Optional[int] = ..., audio_duration_ms: _Optional[int] = ..., earmark_version: _Optional[str] = ..., frontend_version: _Optional[str] = ...) -> None: ...
    class Heartbeat(_message.Message):
        __slots__ = ()
        def __init__(self) -> None: ...
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    LOADING_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    EPOCH_COMPLETED_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    NOTICE_FIELD_NUMBER: _ClassVar[int]
    COMPLETED_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    accepted: TrainResponse.Accepted
    loading: TrainResponse.Loading
    progress: TrainResponse.Progress
    epoch_completed: _training_service_pb2.TrainingEvent.EpochCompleted
    checkpoint: TrainResponse.Checkpoint
    notice: _training_service_pb2.TrainingEvent.Notice
    completed: TrainResponse.Completed
    heartbeat: TrainResponse.Heartbeat
    def __init__(self, accepted: _Optional[_Union[TrainResponse.Accepted, _Mapping]] = ..., loading: _Optional[_Union[TrainResponse.Loading, _Mapping]] = ..., progress: _Optional[_Union[TrainResponse.Progress, _Mapping]] = ..., epoch_completed: _Optional[_Union[_training_service_pb2.TrainingEvent.EpochCompleted, _Mapping]] = ..., checkpoint: _Optional[_Union[TrainResponse.Checkpoint, _Mapping]] = ..., notice: _Optional[_Union[_training_service_pb2.TrainingEvent.Notice, _Mapping]] = ..., completed: _Optional[_Union[TrainResponse.Completed, _Mapping]] = ..., heartbeat: _Optional[_Union[TrainResponse.Heartbeat, _Mapping]] = ...) -> None: ...

class HandBackRequest(_message.Message):
    __slots__ = ("training_job_id", "attempt")
    TRAINING_JOB_ID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    training_job_id: str
    attempt: int
    def __init__(self, training_job_id: _Optional[str] = ..., attempt: _Optional[int] = ...) -> None: ...

class HandBackResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ProcessAudioRequest(_message.Message):
    __slots__ = ("audio_file_id", "source", "audio", "features", "caller")
    AUDIO_FILE_ID_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    AUDIO_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    CALLER_FIELD_NUMBER: _ClassVar[int]
    audio_file_id: str
    source: str
    audio: str
    features: str
    caller: str
    def __init__(self, audio_file_id: _Optional[str] = ..., source: _Optional[str] = ..., audio: _Optional[str] = ..., features: _Optional[str] = ..., caller: _Optional[str] = ...) -> None: ...

class ProcessAudioResponse(_message.Message):
    __slots__ = ("normalizing", "embedding", "ready", "failed")
    class Normalizing(_message.Message):
        __slots__ = ()
        def __init__(self) -> None: ...
    class Embedding(_message.Message):
        __slots__ = ("duration_ms", "sample_rate_hz", "channels")
        DURATION_MS_FIELD_NUMBER: _ClassVar[int]
        SAMPLE_RATE_HZ_FIELD_NUMBER: _ClassVar[int]
        CHANNELS_FIELD_NUMBER: _ClassVar[int]
        duration_ms: int
        sample_rate_hz: int
        channels: int
        def __init__(self, duration_ms: _Optional[int] = ..., sample_rate_hz: _Optional[int] = ..., channels: _Optional[int] = ...) -> None: ...
    class Ready(_message.Message):
        __slots__ = ("frontend",)
        FRONTEND_FIELD_NUMBER: _ClassVar[int]
        frontend: str
        def __init__(self, frontend: _Optional[str] = ...) -> None: ...
    class Failed(_message.Message):
        __slots__ = ("error_message",)
        ERROR_MESSAGE_FIELD_NUMBER: _ClassVar[int]
        error_message: str
        def __init__(self, error_message: _Optional[str] = ...) -> None: ...
    NORMALIZING_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_FIELD_NUMBER: _ClassVar[int]
    READY_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    normalizing: ProcessAudioResponse.Normalizing
    embedding: ProcessAudioResponse.Embedding
    ready: ProcessAudioResponse.Ready
    failed: ProcessAudioResponse.Failed
    def __init__(self, normalizing: _Optional[_Union[ProcessAudioResponse.Normalizing, _Mapping]] = ..., embedding: _Optional[_Union[ProcessAudioResponse.Embedding, _Mapping]] = ..., ready: _Optional[_Union[ProcessAudioResponse.Ready, _Mapping]] = ..., failed: _Optional[_Union[ProcessAudioResponse.Failed, _Mapping]] = ...) -> None: ...

class DetectRequest(_message.Message):
    __slots__ = ("start", "data")
    class Start(_message.Message):
        __slots__ = ("weights", "model_config", "config", "sha256", "live", "caller")
        WEIGHTS_FIELD_NUMBER: _ClassVar[int]
        MODEL_CONFIG_FIELD_NUMBER: _ClassVar[int]
        CONFIG_FIELD_NUMBER: _ClassVar[int]
        SHA256_FIELD_NUMBER: _ClassVar[int]
        LIVE_FIELD_NUMBER: _ClassVar[int]
        CALLER_FIELD_NUMBER: _ClassVar[int]
        weights: str
        model_config: str
        config: _detection_pb2.DetectionConfig
        sha256: str
        live: _detection_pb2.LiveAudio
        caller: str
        def __init__(self, weights: _Optional[str] = ..., model_config: _Optional[str] = ..., config: _Optional[_Union[_detection_pb2.DetectionConfig, _Mapping]] = ..., sha256: _Optional[str] = ..., live: _Optional[_Union[_detection_pb2.LiveAudio, _Mapping]] = ..., caller: _Optional[str] = ...) -> None: ...
    START_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    start: DetectRequest.Start
    data: bytes
    def __init__(self, start: _Optional[_Union[DetectRequest.Start, _Mapping]] = ..., data: _Optional[bytes] = ...) -> None: ...

class DetectResponse(_message.Message):
    __slots__ = ("detection", "summary", "heartbeat")
    class Summary(_message.Message):
        __slots__ = ("duration_ms",)
        DURATION_MS_FIELD_NUMBER: _ClassVar[int]
        duration_ms: int
        def __init__(self, duration_ms: _Optional[int] = ...) -> None: ...
    DETECTION_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    detection: _detection_pb2.Detection
    summary: DetectResponse.Summary
    heartbeat: _detection_pb2.DetectionHeartbeat
    def __init__(self, detection: _Optional[_Union[_detection_pb2.Detection, _Mapping]] = ..., summary: _Optional[_Union[DetectResponse.Summary, _Mapping]] = ..., heartbeat: _Optional[_Union[_detection_pb2.DetectionHeartbeat, _Mapping]] = ...) -> None: ...

class DetectFilesRequest(_message.Message):
    __slots__ = ("job", "file")
    class Job(_message.Message):
        __slots__ = ("detection_job_id", "attempt", "weights", "model_config", "sha256", "config")
        DETECTION_JOB_ID_FIELD_NUMBER: _ClassVar[int]
        ATTEMPT_FIELD_NUMBER: _ClassVar[int]
        WEIGHTS_FIELD_NUMBER: _ClassVar[int]
        MODEL_CONFIG_FIELD_NUMBER: _ClassVar[int]
        SHA256_FIELD_NUMBER: _ClassVar[int]
        CONFIG_FIELD_NUMBER: _ClassVar[int]
        detection_job_id: str
        attempt: int
        weights: str
        model_config: str
        sha256: str
        config: _detection_pb2.DetectionConfig
        def __init__(self, detection_job_id: _Optional[str] = ..., attempt: _Optional[int] = ..., weights: _Optional[str] = ..., model_config: _Optional[str] = ..., sha256: _Optional[str] = ..., config: _Optional[_Union[_detection_pb2.DetectionConfig, _Mapping]] = ...) -> None: ...
    class File(_message.Message):
        __slots__ = ("file_id", "features", "source", "duration_ms", "uri")
        FILE_ID_FIELD_NUMBER: _ClassVar[int]
        FEATURES_FIELD_NUMBER: _ClassVar[int]
        SOURCE_FIELD_NUMBER: _ClassVar[int]
        DURATION_MS_FIELD_NUMBER: _ClassVar[int]
        URI_FIELD_NUMBER: _ClassVar[int]
        file_id: str
        features: str
        source: str
        duration_ms: int
        uri: str
        def __init__(self, file_id: _Optional[str] = ..., features: _Optional[str] = ..., source: _Optional[str] = ..., duration_ms: _Optional[int] = ..., uri: _Optional[str] = ...) -> None: ...
    JOB_FIELD_NUMBER: _ClassVar[int]
    FILE_FIELD_NUMBER: _ClassVar[int]
    job: DetectFilesRequest.Job
    file: DetectFilesRequest.File
    def __init__(self, job: _Optional[_Union[DetectFilesRequest.Job, _Mapping]] = ..., file: _Optional[_Union[DetectFilesRequest.File, _Mapping]] = ...) -> None: ...

class DetectFilesResponse(_message.Message):
    __slots__ = ("accepted", "started", "scores", "completed", "failed", "heartbeat", "waiting")
    class Accepted(_message.Message):
        __slots__ = ("device",)
        DEVICE_FIELD_NUMBER: _ClassVar[int]
        device: str
        def __init__(self, device: _Optional[str] = ...) -> None: ...
    class Started(_message.Message):
        __slots__ = ("file_id",)
        FILE_ID_FIELD_NUMBER: _ClassVar[int]
        file_id: str
        def __init__(self, file_id: _Optional[str] = ...) -> None: ...
    class Scores(_message.Message):
        __slots__ = ("file_id", "data")
        FILE_ID_FIELD_NUMBER: _ClassVar[int]
        DATA_FIELD_NUMBER: _ClassVar[int]
        file_id: str
        data: bytes
        def __init__(self, file_id: _Optional[str] = ..., data: _Optional[bytes] = ...) -> None: ...
    class Completed(_message.Message):
        __slots__ = ("file_id", "duration_ms", "detection_count")
        FILE_ID_FIELD_NUMBER: _ClassVar[int]
        DURATION_MS_FIELD_NUMBER: _ClassVar[int]
        DETECTION_COUNT_FIELD_NUMBER: _ClassVar[int]
        file_id: str
        duration_ms: int
        detection_count: int
        def __init__(self, file_id: _Optional[str] = ..., duration_ms: _Optional[int] = ..., detection_count: _Optional[int] = ...) -> None: ...
    class Failed(_message.Message):
        __slots__ = ("file_id", "reason", "message")
        FILE_ID_FIELD_NUMBER: _ClassVar[int]
        REASON_FIELD_NUMBER: _ClassVar[int]
        MESSAGE_FIELD_NUMBER: _ClassVar[int]
        file_id: str
        reason: str
        message: str
        def __init__(self, file_id: _Optional[str] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...
    class Waiting(_message.Message):
        __slots__ = ("file_id", "message")
        FILE_ID_FIELD_NUMBER: _ClassVar[int]
        MESSAGE_FIELD_NUMBER: _ClassVar[int]
        file_id: str
        message: str
        def __init__(self, file_id: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...
    class Heartbeat(_message.Message):
        __slots__ = ()
        def __init__(self) -> None: ...
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    STARTED_FIELD_NUMBER: _ClassVar[int]
    SCORES_FIELD_NUMBER: _ClassVar[int]
    COMPLETED_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    WAITING_FIELD_NUMBER: _ClassVar[int]
    accepted: DetectFilesResponse.Accepted
    started: DetectFilesResponse.Started
    scores: DetectFilesResponse.Scores
    completed: DetectFilesResponse.Completed
    failed: DetectFilesResponse.Failed
    heartbeat: DetectFilesResponse.Heartbeat
    waiting: DetectFilesResponse.Waiting
    def __init__(self, accepted: _Optional[_Union[DetectFilesResponse.Accepted, _Mapping]] = ..., started: _Optional[_Union[DetectFilesResponse.Started, _Mapping]] = ..., scores: _Optional[_Union[DetectFilesResponse.Scores, _Mapping]] = ..., completed: _Optional[_Union[DetectFilesResponse.Completed, _Mapping]] = ..., failed: _Optional[_Union[DetectFilesResponse.Failed, _Mapping]] = ..., heartbeat: _Optional[_Union[DetectFilesResponse.Heartbeat, _Mapping]] = ..., waiting: _Optional[_Union[DetectFilesResponse.Waiting, _Mapping]] = ...) -> None: ...

class ExportModelRequest(_message.Message):
    __slots__ = ("weights", "model_config", "sha256", "format", "sample_rate_hz")
    WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    MODEL_CONFIG_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_RATE_HZ_FIELD_NUMBER: _ClassVar[int]
    weights: str
    model_config: str
    sha256: str
    format: _model_service_pb2.ModelFormat
    sample_rate_hz: int
    def __init__(self, weights: _Optional[str] = ..., model_config: _Optional[str] = ..., sha256: _Optional[str] = ..., format: _Optional[_Union[_model_service_pb2.ModelFormat, str]] = ..., sample_rate_hz: _Optional[int] = ...) -> None: ...

class ExportModelResponse(_message.Message):
    __slots__ = ("file", "data")
    class File(_message.Message):
        __slots__ = ("size_bytes", "sha256")
        SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
        SHA256_FIELD_NUMBER: _ClassVar[int]
        size_bytes: int
        sha256: str
        def __init__(self, size_bytes: _Optional[int] = ..., sha256: _Optional[str] = ...) -> None: ...
    FILE_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    file: ExportModelResponse.File
    data: bytes
    def __init__(self, file: _Optional[_Union[ExportModelResponse.File, _Mapping]] = ..., data: _Optional[bytes] = ...) -> None: ...

class GetCapacityRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetCapacityResponse(_message.Message):
    __slots__ = ("capacity",)
    CAPACITY_FIELD_NUMBER: _ClassVar[int]
    capacity: Capacity
    def __init__(self, capacity: _Optional[_Union[Capacity, _Mapping]] = ...) -> None: ...

class WatchCapacityRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class WatchCapacityResponse(_message.Message):
    __slots__ = ("capacity",)
    CAPACITY_FIELD_NUMBER: _ClassVar[int]
    capacity: Capacity
    def __init__(self, capacity: _Optional[_Union[Capacity, _Mapping]] = ...) -> None: ...

class Capacity(_message.Message):
    __slots__ = ("device", "training_slots", "free_training_slots", "audio_slots", "free_audio_slots", "problem", "store_id", "frontend", "detection_slots", "free_detection_slots")
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    TRAINING_SLOTS_FIELD_NUMBER: _ClassVar[int]
    FREE_TRAINING_SLOTS_FIELD_NUMBER: _ClassVar[int]
    AUDIO_SLOTS_FIELD_NUMBER: _ClassVar[int]
    FREE_AUDIO_SLOTS_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    STORE_ID_FIELD_NUMBER: _ClassVar[int]
    FRONTEND_FIELD_NUMBER: _ClassVar[int]
    DETECTION_SLOTS_FIELD_NUMBER: _ClassVar[int]
    FREE_DETECTION_SLOTS_FIELD_NUMBER: _ClassVar[int]
    device: str
    training_slots: int
    free_training_slots: int
    audio_slots: int
    free_audio_slots: int
    problem: str
    store_id: str
    frontend: str
    detection_slots: int
    free_detection_slots: int
    def __init__(self, device: _Optional[str] = ..., training_slots: _Optional[int] = ..., free_training_slots: _Optional[int] = ..., audio_slots: _Optional[int] = ..., free_audio_slots: _Optional[int] = ..., problem: _Optional[str] = ..., store_id: _Optional[str] = ..., frontend: _Optional[str] = ..., detection_slots: _Optional[int] = ..., free_detection_slots: _Optional[int] = ...) -> None: ...
