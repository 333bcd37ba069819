from earmark.v1 import detection_pb2 as _detection_pb2
from earmark.v1 import error_reason_pb2 as _error_reason_pb2
from earmark.v1 import evaluation_pb2 as _evaluation_pb2
from earmark.v1 import scope_pb2 as _scope_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DetectionJobStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DETECTION_JOB_STATUS_UNSPECIFIED: _ClassVar[DetectionJobStatus]
    DETECTION_JOB_STATUS_PENDING: _ClassVar[DetectionJobStatus]
    DETECTION_JOB_STATUS_QUEUED: _ClassVar[DetectionJobStatus]
    DETECTION_JOB_STATUS_PROCESSING: _ClassVar[DetectionJobStatus]
    DETECTION_JOB_STATUS_COMPLETED: _ClassVar[DetectionJobStatus]
    DETECTION_JOB_STATUS_FAILED: _ClassVar[DetectionJobStatus]
    DETECTION_JOB_STATUS_CANCELLED: _ClassVar[DetectionJobStatus]

class DetectionFileStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DETECTION_FILE_STATUS_UNSPECIFIED: _ClassVar[DetectionFileStatus]
    DETECTION_FILE_STATUS_PENDING: _ClassVar[DetectionFileStatus]
    DETECTION_FILE_STATUS_QUEUED: _ClassVar[DetectionFileStatus]
    DETECTION_FILE_STATUS_PROCESSING: _ClassVar[DetectionFileStatus]
    DETECTION_FILE_STATUS_COMPLETED: _ClassVar[DetectionFileStatus]
    DETECTION_FILE_STATUS_FAILED: _ClassVar[DetectionFileStatus]
    DETECTION_FILE_STATUS_CANCELLED: _ClassVar[DetectionFileStatus]

class DetectionsFormat(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DETECTIONS_FORMAT_UNSPECIFIED: _ClassVar[DetectionsFormat]
    DETECTIONS_FORMAT_JSON_LINES: _ClassVar[DetectionsFormat]
    DETECTIONS_FORMAT_CSV: _ClassVar[DetectionsFormat]
DETECTION_JOB_STATUS_UNSPECIFIED: DetectionJobStatus
DETECTION_JOB_STATUS_PENDING: DetectionJobStatus
DETECTION_JOB_STATUS_QUEUED: DetectionJobStatus
DETECTION_JOB_STATUS_PROCESSING: DetectionJobStatus
DETECTION_JOB_STATUS_COMPLETED: DetectionJobStatus
DETECTION_JOB_STATUS_FAILED: DetectionJobStatus
DETECTION_JOB_STATUS_CANCELLED: DetectionJobStatus
DETECTION_FILE_STATUS_UNSPECIFIED: DetectionFileStatus
DETECTION_FILE_STATUS_PENDING: DetectionFileStatus
DETECTION_FILE_STATUS_QUEUED: DetectionFileStatus
DETECTION_FILE_STATUS_PROCESSING: DetectionFileStatus
DETECTION_FILE_STATUS_COMPLETED: DetectionFileStatus
DETECTION_FILE_STATUS_FAILED: DetectionFileStatus
DETECTION_FILE_STATUS_CANCELLED: DetectionFileStatus
DETECTIONS_FORMAT_UNSPECIFIED: DetectionsFormat
DETECTIONS_FORMAT_JSON_LINES: DetectionsFormat
DETECTIONS_FORMAT_CSV: DetectionsFormat

class DetectionError(_message.Message):
    __slots__ = ("reason", "message")
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    reason: _error_reason_pb2.ErrorReason
    message: str
    def __init__(self, reason: _Optional[_Union[_error_reason_pb2.ErrorReason, str]] = ..., message: _Optional[str] = ...) -> None: ...

class DetectionJob(_message.Message):
    __slots__ = ("id", "model_id", "dataset_id", "config", "status", "total_files", "completed_files", "failed_files", "total_detections", "audio_ms", "error", "attempt", "metadata", "created_at", "queued_at", "started_at", "finished_at", "revision", "eta")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_ID_FIELD_NUMBER: _ClassVar[int]
    DATASET_ID_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FILES_FIELD_NUMBER: _ClassVar[int]
    COMPLETED_FILES_FIELD_NUMBER: _ClassVar[int]
    FAILED_FILES_FIELD_NUMBER: _ClassVar[int]
    TOTAL_DETECTIONS_FIELD_NUMBER: _ClassVar[int]
    AUDIO_MS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    QUEUED_AT_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    FINISHED_AT_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    ETA_FIELD_NUMBER: _ClassVar[int]
    id: str
    model_id: str
    dataset_id: str
    config: _detection_pb2.DetectionConfig
    status: DetectionJobStatus
    total_files: int
    completed_files: int
    failed_files: int
    total_detections: int
    audio_ms: int
    error: DetectionError
    attempt: int
    metadata: _containers.ScalarMap[str, str]
    created_at: _timestamp_pb2.Timestamp
    queued_at: _timestamp_pb2.Timestamp
    started_at: _timestamp_pb2.Timestamp
    finished_at: _timestamp_pb2.Timestamp
    revision: int
    eta: _timestamp_pb2.Timestamp
    def __init__(self, id: _Optional[str] = ..., model_id: _Optional[str] = ..., dataset_id: _Optional[str] = ..., config: _Optional[_Union[_detection_pb2.DetectionConfig, _Mapping]] = ..., status: _Optional[_Union[DetectionJobStatus, str]] = ..., total_files: _Optional[int] = ..., completed_files: _Optional[int] = ..., failed_files: _Optional[int] = ..., total_detections: _Optional[int] = ..., audio_ms: _Optional[int] = ..., error: _Optional[_Union[DetectionError, _Mapping]] = ..., attempt: _Optional[int] = ..., metadata: _Optional[_Mapping[str, str]] = ..., created_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., queued_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., started_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., finished_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., revision: _Optional[int] = ..., eta: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class DetectionFile(_message.Message):
    __slots__ = ("id", "filename", "status", "error", "duration_ms", "detection_count")
    ID_FIELD_NUMBER: _ClassVar[int]
    FILENAME_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    DURATION_MS_FIELD_NUMBER: _ClassVar[int]
    DETECTION_COUNT_FIELD_NUMBER: _ClassVar[int]
    id: str
    filename: str
    status: DetectionFileStatus
    error: DetectionError
    duration_ms: int
    detection_count: int
    def __init__(self, id: _Optional[str] = ..., filename: _Optional[str] = ..., status: _Optional[_Union[DetectionFileStatus, str]] = ..., error: _Optional[_Union[DetectionError, _Mapping]] = ..., duration_ms: _Optional[int] = ..., detection_count: _Optional[int] = ...) -> None: ...

class JobDetection(_message.Message):
    __slots__ = ("file_id", "filename", "detection")
    FILE_ID_FIELD_NUMBER: _ClassVar[int]
    FILENAME_FIELD_NUMBER: _ClassVar[int]
    DETECTION_FIELD_NUMBER: _ClassVar[int]
    file_id: str
    filename: str
    detection: _detection_pb2.Detection
    def __init__(self, file_id: _Optional[str] = ..., filename: _Optional[str] = ..., detection: _Optional[_Union[_detection_pb2.Detection, _Mapping]] = ...) -> None: ...

class DetectionEvent(_message.Message):
    __slots__ = ("detection_job_id", "revision", "attempt", "time", "status_changed", "progress", "deleted")
    class StatusChanged(_message.Message):
        __slots__ = ("to", "reason")
        FROM_FIELD_NUMBER: _ClassVar[int]
        TO_FIELD_NUMBER: _ClassVar[int]
        REASON_FIELD_NUMBER: _ClassVar[int]
        to: DetectionJobStatus
        reason: str
        def __init__(self, to: _Optional[_Union[DetectionJobStatus, str]] = ..., reason: _Optional[str] = ..., **kwargs) -> None: ...
    class Progress(_message.Message):
        __slots__ = ("completed_files", "failed_files", "total_files", "total_detections", "audio_ms")
        COMPLETED_FILES_FIELD_NUMBER: _ClassVar[int]
        FAILED_FILES_FIELD_NUMBER: _ClassVar[int]
        TOTAL_FILES_FIELD_NUMBER: _ClassVar[int]
        TOTAL_DETECTIONS_FIELD_NUMBER: _ClassVar[int]
        AUDIO_MS_FIELD_NUMBER: _ClassVar[int]
        completed_files: int
        failed_files: int
        total_files: int
        total_detections: int
        audio_ms: int
        def __init__(self, completed_files: _Optional[int] = ..., failed_files: _Optional[int] = ..., total_files: _Optional[int] = ..., total_detections: _Optional[int] = ..., audio_ms: _Optional[int] = ...) -> None: ...
    class Deleted(_message.Message):
        __slots__ = ()
        def __init__(self) -> None: ...
    DETECTION_JOB_ID_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    STATUS_CHANGED_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    DELETED_FIELD_NUMBER: _ClassVar[int]
    detection_job_id: str
    revision: int
    attempt: int
    time: _timestamp_pb2.Timestamp
    status_changed: DetectionEvent.StatusChanged
    progress: DetectionEvent.Progress
    deleted: DetectionEvent.Deleted
    def __init__(self, detection_job_id: _Optional[str] = ..., revision: _Optional[int] = ..., attempt: _Optional[int] = ..., time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., status_changed: _Optional[_Union[DetectionEvent.StatusChanged, _Mapping]] = ..., progress: _Optional[_Union[DetectionEvent.Progress, _Mapping]] = ..., deleted: _Optional[_Union[DetectionEvent.Deleted, _Mapping]] = ...) -> None: ...

class UploadRecordingRequest(_message.Message):
    __slots__ = ("metadata", "part")
    class Metadata(_message.Message):
        __slots__ = ("filename", "size_bytes", "sha256", "request_id")
        FILENAME_FIELD_NUMBER: _ClassVar[int]
        SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
        SHA256_FIELD_NUMBER: _ClassVar[int]
        REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
        filename: str
        size_bytes: int
        sha256: str
        request_id: str
        def __init__(self, filename: _Optional[str] = ..., size_bytes: _Optional[int] = ..., sha256: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...
    class Part(_message.Message):
        __slots__ = ("offset", "data")
        OFFSET_FIELD_NUMBER: _ClassVar[int]
        DATA_FIELD_NUMBER: _ClassVar[int]
        offset: int
        data: bytes
        def __init__(self, offset: _Optional[int] = ..., data: _Optional[bytes] = ...) -> None: ...
    METADATA_FIELD_NUMBER: _ClassVar[int]
    PART_FIELD_NUMBER: _ClassVar[int]
    metadata: UploadRecordingRequest.Metadata
    part: UploadRecordingRequest.Part
    def __init__(self, metadata: _Optional[_Union[UploadRecordingRequest.Metadata, _Mapping]] = ..., part: _Optional[_Union[UploadRecordingRequest.Part, _Mapping]] = ...) -> None: ...

class Recording(_message.Message):
    __slots__ = ("id", "filename", "size_bytes", "sha256")
    ID_FIELD_NUMBER: _ClassVar[int]
    FILENAME_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    id: str
    filename: str
    size_bytes: int
    sha256: str
    def __init__(self, id: _Optional[str] = ..., filename: _Optional[str] = ..., size_bytes: _Optional[int] = ..., sha256: _Optional[str] = ...) -> None: ...

class UploadRecordingResponse(_message.Message):
    __slots__ = ("recording",)
    RECORDING_FIELD_NUMBER: _ClassVar[int]
    recording: Recording
    def __init__(self, recording: _Optional[_Union[Recording, _Mapping]] = ...) -> None: ...

class CreateDetectionJobRequest(_message.Message):
    __slots__ = ("model_id", "config", "dataset_id", "recording_ids", "metadata", "request_id", "validate_only", "uris")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    MODEL_ID_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    DATASET_ID_FIELD_NUMBER: _ClassVar[int]
    RECORDING_IDS_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    URIS_FIELD_NUMBER: _ClassVar[int]
    model_id: str
    config: _detection_pb2.DetectionConfig
    dataset_id: str
    recording_ids: _containers.RepeatedScalarFieldContainer[str]
    metadata: _containers.ScalarMap[str, str]
    request_id: str
    validate_only: bool
    uris: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, model_id: _Optional[str] = ..., config: _Optional[_Union[_detection_pb2.DetectionConfig, _Mapping]] = ..., dataset_id: _Optional[str] = ..., recording_ids: _Optional[_Iterable[str]] = ..., metadata: _Optional[_Mapping[str, str]] = ..., request_id: _Optional[str] = ..., validate_only: bool = ..., uris: _Optional[_Iterable[str]] = ...) -> None: ...

class CreateDetectionJobResponse(_message.Message):
    __slots__ = ("detection_job",)
    DETECTION_JOB_FIELD_NUMBER: _ClassVar[int]
    detection_job: DetectionJob
    def __init__(self, detection_job: _Optional[_Union[DetectionJob, _Mapping]] = ...) -> None: ...

class GetDetectionJobRequest(_message.Message):
    __slots__ = ("detection_job_id",)
    DETECTION_JOB_ID_FIELD_NUMBER: _ClassVar[int]
    detection_job_id: str
    def __init__(self, detection_job_id: _Optional[str] = ...) -> None: ...

class GetDetectionJobResponse(_message.Message):
    __slots__ = ("detection_job",)
    DETECTION_JOB_FIELD_NUMBER: _ClassVar[int]
    detection_job: DetectionJob
    def __init__(self, detection_job: _Optional[_Union[DetectionJob, _Mapping]] = ...) -> None: ...

class ListDetectionJobsRequest(_message.Message):
    __slots__ = ("model_ids", "statuses", "metadata", "page_size", "page_token")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    MODEL_IDS_FIELD_NUMBER: _ClassVar[int]
    STATUSES_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    model_ids: _containers.RepeatedScalarFieldContainer[str]
    statuses: _containers.RepeatedScalarFieldContainer[DetectionJobStatus]
    metadata: _containers.ScalarMap[str, str]
    page_size: int
    page_token: str
    def __init__(self, model_ids: _Optional[_Iterable[str]] = ..., statuses: _Optional[_Iterable[_Union[DetectionJobStatus, str]]] = ..., metadata: _Optional[_Mapping[str, str]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListDetectionJobsResponse(_message.Message):
    __slots__ = ("detection_jobs", "next_page_token")
    DETECTION_JOBS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    detection_jobs: _containers.RepeatedCompositeFieldContainer[DetectionJob]
    next_page_token: str
    def __init__(self, detection_jobs: _Optional[_Iterable[_Union[DetectionJob, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class CancelDetectionJobRequest(_message.Message):
    __slots__ = ("detection_job_id", "request_id")
    DETECTION_JOB_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    detection_job_id: str
    request_id: str
    def __init__(self, detection_job_id: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class CancelDetectionJobResponse(_message.Message):
    __slots__ = ("detection_job",)
    DETECTION_JOB_FIELD_NUMBER: _ClassVar[int]
    detection_job: DetectionJob
    def __init__(self, detection_job: _Optional[_Union[DetectionJob, _Mapping]] = ...) -> None: ...

class DeleteDetectionJobRequest(_message.Message):
    __slots__ = ("detection_job_id", "request_id")
    DETECTION_JOB_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    detection_job_id: str
    request_id: str
    def __init__(self, detection_job_id: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class DeleteDetectionJobResponse(_message.Message):
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

class WatchDetectionJobRequest(_message.Message):
    __slots__ = ("detection_job_id", "after_revision")
    DETECTION_JOB_ID_FIELD_NUMBER: _ClassVar[int]
    AFTER_REVISION_FIELD_NUMBER: _ClassVar[int]
    detection_job_id: str
    after_revision: int
    def __init__(self, detection_job_id: _Optional[str] = ..., after_revision: _Optional[int] = ...) -> None: ...

class WatchDetectionJobResponse(_message.Message):
    __slots__ = ("event", "heartbeat")
    class Heartbeat(_message.Message):
        __slots__ = ("revision",)
        REVISION_FIELD_NUMBER: _ClassVar[int]
        revision: int
        def __init__(self, revision: _Optional[int] = ...) -> None: ...
    EVENT_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    event: DetectionEvent
    heartbeat: WatchDetectionJobResponse.Heartbeat
    def __init__(self, event: _Optional[_Union[DetectionEvent, _Mapping]] = ..., heartbeat: _Optional[_Union[WatchDetectionJobResponse.Heartbeat, _Mapping]] = ...) -> None: ...

class ListDetectionFilesRequest(_message.Message):
    __slots__ = ("detection_job_id", "statuses", "page_size", "page_token")
    DETECTION_JOB_ID_FIELD_NUMBER: _ClassVar[int]
    STATUSES_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    detection_job_id: str
    statuses: _containers.RepeatedScalarFieldContainer[DetectionFileStatus]
    page_size: int
    page_token: str
    def __init__(self, detection_job_id: _Optional[str] = ..., statuses: _Optional[_Iterable[_Union[DetectionFileStatus, str]]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListDetectionFilesResponse(_message.Message):
    __slots__ = ("files", "next_page_token")
    FILES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    files: _containers.RepeatedCompositeFieldContainer[DetectionFile]
    next_page_token: str
    def __init__(self, files: _Optional[_Iterable[_Union[DetectionFile, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class ListDetectionsRequest(_message.Message):
    __slots__ = ("detection_job_id", "config", "file_ids", "artifact_types", "min_confidence", "from_ms", "until_ms", "page_size", "page_token")
    DETECTION_JOB_ID_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    FILE_IDS_FIELD_NUMBER: _ClassVar[int]
    ARTIFACT_TYPES_FIELD_NUMBER: _ClassVar[int]
    MIN_CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    FROM_MS_FIELD_NUMBER: _ClassVar[int]
    UNTIL_MS_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    detection_job_id: str
    config: _detection_pb2.DetectionConfig
    file_ids: _containers.RepeatedScalarFieldContainer[str]
    artifact_types: _containers.RepeatedScalarFieldContainer[str]
    min_confidence: float
    from_ms: int
    until_ms: int
    page_size: int
    page_token: str
    def __init__(self, detection_job_id: _Optional[str] = ..., config: _Optional[_Union[_detection_pb2.DetectionConfig, _Mapping]] = ..., file_ids: _Optional[_Iterable[str]] = ..., artifact_types: _Optional[_Iterable[str]] = ..., min_confidence: _Optional[float] = ..., from_ms: _Optional[int] = ..., until_ms: _Optional[int] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListDetectionsResponse(_message.Message):
    __slots__ = ("detections", "next_page_token")
    DETECTIONS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    detections: _containers.RepeatedCompositeFieldContainer[JobDetection]
    next_page_token: str
    def __init__(self, detections: _Optional[_Iterable[_Union[JobDetection, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class DownloadDetectionsRequest(_message.Message):
    __slots__ = ("detection_job_id", "format", "config")
    DETECTION_JOB_ID_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    detection_job_id: str
    format: DetectionsFormat
    config: _detection_pb2.DetectionConfig
    def __init__(self, detection_job_id: _Optional[str] = ..., format: _Optional[_Union[DetectionsFormat, str]] = ..., config: _Optional[_Union[_detection_pb2.DetectionConfig, _Mapping]] = ...) -> None: ...

class DownloadDetectionsResponse(_message.Message):
    __slots__ = ("data",)
    DATA_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    def __init__(self, data: _Optional[bytes] = ...) -> None: ...

class GetDetectionJobReportRequest(_message.Message):
    __slots__ = ("detection_job_id", "config")
    DETECTION_JOB_ID_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    detection_job_id: str
    config: _detection_pb2.DetectionConfig
    def __init__(self, detection_job_id: _Optional[str] = ..., config: _Optional[_Union[_detection_pb2.DetectionConfig, _Mapping]] = ...) -> None: ...

class GetDetectionJobReportResponse(_message.Message):
    __slots__ = ("html",)
    HTML_FIELD_NUMBER: _ClassVar[int]
    html: str
    def __init__(self, html: _Optional[str] = ...) -> None: ...

class DetectRequest(_message.Message):
    __slots__ = ("start", "data")
    class Start(_message.Message):
        __slots__ = ("model_id", "config", "live")
        MODEL_ID_FIELD_NUMBER: _ClassVar[int]
        CONFIG_FIELD_NUMBER: _ClassVar[int]
        LIVE_FIELD_NUMBER: _ClassVar[int]
        model_id: str
        config: _detection_pb2.DetectionConfig
        live: _detection_pb2.LiveAudio
        def __init__(self, model_id: _Optional[str] = ..., config: _Optional[_Union[_detection_pb2.DetectionConfig, _Mapping]] = ..., live: _Optional[_Union[_detection_pb2.LiveAudio, _Mapping]] = ...) -> None: ...
    START_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    start: DetectRequest.Start
    data: bytes
    def __init__(self, start: _Optional[_Union[DetectRequest.Start, _Mapping]] = ..., data: _Optional[bytes] = ...) -> None: ...

class DetectResponse(_message.Message):
    __slots__ = ("detection", "summary", "heartbeat")
    class Summary(_message.Message):
        __slots__ = ("duration_ms", "detection_count", "model_id")
        DURATION_MS_FIELD_NUMBER: _ClassVar[int]
        DETECTION_COUNT_FIELD_NUMBER: _ClassVar[int]
        MODEL_ID_FIELD_NUMBER: _ClassVar[int]
        duration_ms: int
        detection_count: int
        model_id: str
        def __init__(self, duration_ms: _Optional[int] = ..., detection_count: _Optional[int] = ..., model_id: _Optional[str] = ...) -> None: ...
    DETECTION_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    detection: _detection_pb2.Detection
    summary: DetectResponse.Summary
    heartbeat: _detection_pb2.DetectionHeartbeat
    def __init__(self, detection: _Optional[_Union[_detection_pb2.Detection, _Mapping]] = ..., summary: _Optional[_Union[DetectResponse.Summary, _Mapping]] = ..., heartbeat: _Optional[_Union[_detection_pb2.DetectionHeartbeat, _Mapping]] = ...) -> None: ...
