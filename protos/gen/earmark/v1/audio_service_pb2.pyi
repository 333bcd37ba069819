from earmark.v1 import scope_pb2 as _scope_pb2
from google.protobuf import field_mask_pb2 as _field_mask_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AudioProcessingStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    AUDIO_PROCESSING_STATUS_UNSPECIFIED: _ClassVar[AudioProcessingStatus]
    AUDIO_PROCESSING_STATUS_PENDING: _ClassVar[AudioProcessingStatus]
    AUDIO_PROCESSING_STATUS_NORMALIZING: _ClassVar[AudioProcessingStatus]
    AUDIO_PROCESSING_STATUS_EMBEDDING: _ClassVar[AudioProcessingStatus]
    AUDIO_PROCESSING_STATUS_READY: _ClassVar[AudioProcessingStatus]
    AUDIO_PROCESSING_STATUS_FAILED: _ClassVar[AudioProcessingStatus]

class AudioFileEventKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    AUDIO_FILE_EVENT_KIND_UNSPECIFIED: _ClassVar[AudioFileEventKind]
    AUDIO_FILE_EVENT_KIND_CREATED: _ClassVar[AudioFileEventKind]
    AUDIO_FILE_EVENT_KIND_STATUS_CHANGED: _ClassVar[AudioFileEventKind]
    AUDIO_FILE_EVENT_KIND_DELETED: _ClassVar[AudioFileEventKind]
    AUDIO_FILE_EVENT_KIND_DATASET_DELETED: _ClassVar[AudioFileEventKind]
AUDIO_PROCESSING_STATUS_UNSPECIFIED: AudioProcessingStatus
AUDIO_PROCESSING_STATUS_PENDING: AudioProcessingStatus
AUDIO_PROCESSING_STATUS_NORMALIZING: AudioProcessingStatus
AUDIO_PROCESSING_STATUS_EMBEDDING: AudioProcessingStatus
AUDIO_PROCESSING_STATUS_READY: AudioProcessingStatus
AUDIO_PROCESSING_STATUS_FAILED: AudioProcessingStatus
AUDIO_FILE_EVENT_KIND_UNSPECIFIED: AudioFileEventKind
AUDIO_FILE_EVENT_KIND_CREATED: AudioFileEventKind
AUDIO_FILE_EVENT_KIND_STATUS_CHANGED: AudioFileEventKind
AUDIO_FILE_EVENT_KIND_DELETED: AudioFileEventKind
AUDIO_FILE_EVENT_KIND_DATASET_DELETED: AudioFileEventKind

class AudioFile(_message.Message):
    __slots__ = ("id", "dataset_id", "original_filename", "content_type", "size_bytes", "sha256", "duration_ms", "sample_rate_hz", "channels", "processing_status", "error_message", "created_at", "updated_at", "group", "etag")
    ID_FIELD_NUMBER: _ClassVar[int]
    DATASET_ID_FIELD_NUMBER: _ClassVar[int]
    ORIGINAL_FILENAME_FIELD_NUMBER: _ClassVar[int]
    CONTENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    DURATION_MS_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_RATE_HZ_FIELD_NUMBER: _ClassVar[int]
    CHANNELS_FIELD_NUMBER: _ClassVar[int]
    PROCESSING_STATUS_FIELD_NUMBER: _ClassVar[int]
    ERROR_MESSAGE_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    UPDATED_AT_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    id: str
    dataset_id: str
    original_filename: str
    content_type: str
    size_bytes: int
    sha256: str
    duration_ms: int
    sample_rate_hz: int
    channels: int
    processing_status: AudioProcessingStatus
    error_message: str
    created_at: _timestamp_pb2.Timestamp
    updated_at: _timestamp_pb2.Timestamp
    group: str
    etag: str
    def __init__(self, id: _Optional[str] = ..., dataset_id: _Optional[str] = ..., original_filename: _Optional[str] = ..., content_type: _Optional[str] = ..., size_bytes: _Optional[int] = ..., sha256: _Optional[str] = ..., duration_ms: _Optional[int] = ..., sample_rate_hz: _Optional[int] = ..., channels: _Optional[int] = ..., processing_status: _Optional[_Union[AudioProcessingStatus, str]] = ..., error_message: _Optional[str] = ..., created_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., updated_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., group: _Optional[str] = ..., etag: _Optional[str] = ...) -> None: ...

class AudioFileEvent(_message.Message):
    __slots__ = ("audio_file_id", "dataset_id", "time", "created", "status_changed", "deleted", "dataset_deleted")
    class Created(_message.Message):
        __slots__ = ()
        def __init__(self) -> None: ...
    class StatusChanged(_message.Message):
        __slots__ = ("to", "error_message")
        FROM_FIELD_NUMBER: _ClassVar[int]
        TO_FIELD_NUMBER: _ClassVar[int]
        ERROR_MESSAGE_FIELD_NUMBER: _ClassVar[int]
        to: AudioProcessingStatus
        error_message: str
        def __init__(self, to: _Optional[_Union[AudioProcessingStatus, str]] = ..., error_message: _Optional[str] = ..., **kwargs) -> None: ...
    class Deleted(_message.Message):
        __slots__ = ()
        def __init__(self) -> None: ...
    class DatasetDeleted(_message.Message):
        __slots__ = ()
        def __init__(self) -> None: ...
    AUDIO_FILE_ID_FIELD_NUMBER: _ClassVar[int]
    DATASET_ID_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    STATUS_CHANGED_FIELD_NUMBER: _ClassVar[int]
    DELETED_FIELD_NUMBER: _ClassVar[int]
    DATASET_DELETED_FIELD_NUMBER: _ClassVar[int]
    audio_file_id: str
    dataset_id: str
    time: _timestamp_pb2.Timestamp
    created: AudioFileEvent.Created
    status_changed: AudioFileEvent.StatusChanged
    deleted: AudioFileEvent.Deleted
    dataset_deleted: AudioFileEvent.DatasetDeleted
    def __init__(self, audio_file_id: _Optional[str] = ..., dataset_id: _Optional[str] = ..., time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., created: _Optional[_Union[AudioFileEvent.Created, _Mapping]] = ..., status_changed: _Optional[_Union[AudioFileEvent.StatusChanged, _Mapping]] = ..., deleted: _Optional[_Union[AudioFileEvent.Deleted, _Mapping]] = ..., dataset_deleted: _Optional[_Union[AudioFileEvent.DatasetDeleted, _Mapping]] = ...) -> None: ...

class UploadAudioRequest(_message.Message):
    __slots__ = ("metadata", "part")
    class Metadata(_message.Message):
        __slots__ = ("dataset_id", "filename", "content_type", "size_bytes", "sha256", "request_id", "group")
        DATASET_ID_FIELD_NUMBER: _ClassVar[int]
        FILENAME_FIELD_NUMBER: _ClassVar[int]
        CONTENT_TYPE_FIELD_NUMBER: _ClassVar[int]
        SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
        SHA256_FIELD_NUMBER: _ClassVar[int]
        REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
        GROUP_FIELD_NUMBER: _ClassVar[int]
        dataset_id: str
        filename: str
        content_type: str
        size_bytes: int
        sha256: str
        request_id: str
        group: str
        def __init__(self, dataset_id: _Optional[str] = ..., filename: _Optional[str] = ..., content_type: _Optional[str] = ..., size_bytes: _Optional[int] = ..., sha256: _Optional[str] = ..., request_id: _Optional[str] = ..., group: _Optional[str] = ...) -> None: ...
    class Part(_message.Message):
        __slots__ = ("offset", "data")
        OFFSET_FIELD_NUMBER: _ClassVar[int]
        DATA_FIELD_NUMBER: _ClassVar[int]
        offset: int
        data: bytes
        def __init__(self, offset: _Optional[int] = ..., data: _Optional[bytes] = ...) -> None: ...
    METADATA_FIELD_NUMBER: _ClassVar[int]
    PART_FIELD_NUMBER: _ClassVar[int]
    metadata: UploadAudioRequest.Metadata
    part: UploadAudioRequest.Part
    def __init__(self, metadata: _Optional[_Union[UploadAudioRequest.Metadata, _Mapping]] = ..., part: _Optional[_Union[UploadAudioRequest.Part, _Mapping]] = ...) -> None: ...

class UploadAudioResponse(_message.Message):
    __slots__ = ("audio_file",)
    AUDIO_FILE_FIELD_NUMBER: _ClassVar[int]
    audio_file: AudioFile
    def __init__(self, audio_file: _Optional[_Union[AudioFile, _Mapping]] = ...) -> None: ...

class GetAudioFileRequest(_message.Message):
    __slots__ = ("audio_file_id",)
    AUDIO_FILE_ID_FIELD_NUMBER: _ClassVar[int]
    audio_file_id: str
    def __init__(self, audio_file_id: _Optional[str] = ...) -> None: ...

class GetAudioFileResponse(_message.Message):
    __slots__ = ("audio_file",)
    AUDIO_FILE_FIELD_NUMBER: _ClassVar[int]
    audio_file: AudioFile
    def __init__(self, audio_file: _Optional[_Union[AudioFile, _Mapping]] = ...) -> None: ...

class ListAudioFilesRequest(_message.Message):
    __slots__ = ("dataset_id", "processing_statuses", "page_size", "page_token", "groups")
    DATASET_ID_FIELD_NUMBER: _ClassVar[int]
    PROCESSING_STATUSES_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    dataset_id: str
    processing_statuses: _containers.RepeatedScalarFieldContainer[AudioProcessingStatus]
    page_size: int
    page_token: str
    groups: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, dataset_id: _Optional[str] = ..., processing_statuses: _Optional[_Iterable[_Union[AudioProcessingStatus, str]]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., groups: _Optional[_Iterable[str]] = ...) -> None: ...

class ListAudioFilesResponse(_message.Message):
    __slots__ = ("audio_files", "next_page_token")
    AUDIO_FILES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    audio_files: _containers.RepeatedCompositeFieldContainer[AudioFile]
    next_page_token: str
    def __init__(self, audio_files: _Optional[_Iterable[_Union[AudioFile, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class UpdateAudioFileRequest(_message.Message):
    __slots__ = ("audio_file", "update_mask", "request_id")
    AUDIO_FILE_FIELD_NUMBER: _ClassVar[int]
    UPDATE_MASK_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    audio_file: AudioFile
    update_mask: _field_mask_pb2.FieldMask
    request_id: str
    def __init__(self, audio_file: _Optional[_Union[AudioFile, _Mapping]] = ..., update_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

class UpdateAudioFileResponse(_message.Message):
    __slots__ = ("audio_file",)
    AUDIO_FILE_FIELD_NUMBER: _ClassVar[int]
    audio_file: AudioFile
    def __init__(self, audio_file: _Optional[_Union[AudioFile, _Mapping]] = ...) -> None: ...

class RetryAudioFileRequest(_message.Message):
    __slots__ = ("audio_file_id", "request_id")
    AUDIO_FILE_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    audio_file_id: str
    request_id: str
    def __init__(self, audio_file_id: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class RetryAudioFileResponse(_message.Message):
    __slots__ = ("audio_file",)
    AUDIO_FILE_FIELD_NUMBER: _ClassVar[int]
    audio_file: AudioFile
    def __init__(self, audio_file: _Optional[_Union[AudioFile, _Mapping]] = ...) -> None: ...

class DeleteAudioFileRequest(_message.Message):
    __slots__ = ("audio_file_id", "request_id", "force")
    AUDIO_FILE_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    audio_file_id: str
    request_id: str
    force: bool
    def __init__(self, audio_file_id: _Optional[str] = ..., request_id: _Optional[str] = ..., force: bool = ...) -> None: ...

class DeleteAudioFileResponse(_message.Message):
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

class DownloadAudioRequest(_message.Message):
    __slots__ = ("audio_file_id",)
    AUDIO_FILE_ID_FIELD_NUMBER: _ClassVar[int]
    audio_file_id: str
    def __init__(self, audio_file_id: _Optional[str] = ...) -> None: ...

class DownloadAudioResponse(_message.Message):
    __slots__ = ("offset", "data")
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    offset: int
    data: bytes
    def __init__(self, offset: _Optional[int] = ..., data: _Optional[bytes] = ...) -> None: ...

class WatchAudioFilesRequest(_message.Message):
    __slots__ = ("after_cursor", "from_start", "dataset_ids", "processing_statuses", "kinds", "until_idle")
    AFTER_CURSOR_FIELD_NUMBER: _ClassVar[int]
    FROM_START_FIELD_NUMBER: _ClassVar[int]
    DATASET_IDS_FIELD_NUMBER: _ClassVar[int]
    PROCESSING_STATUSES_FIELD_NUMBER: _ClassVar[int]
    KINDS_FIELD_NUMBER: _ClassVar[int]
    UNTIL_IDLE_FIELD_NUMBER: _ClassVar[int]
    after_cursor: str
    from_start: bool
    dataset_ids: _containers.RepeatedScalarFieldContainer[str]
    processing_statuses: _containers.RepeatedScalarFieldContainer[AudioProcessingStatus]
    kinds: _containers.RepeatedScalarFieldContainer[AudioFileEventKind]
    until_idle: bool
    def __init__(self, after_cursor: _Optional[str] = ..., from_start: bool = ..., dataset_ids: _Optional[_Iterable[str]] = ..., processing_statuses: _Optional[_Iterable[_Union[AudioProcessingStatus, str]]] = ..., kinds: _Optional[_Iterable[_Union[AudioFileEventKind, str]]] = ..., until_idle: bool = ...) -> None: ...

class WatchAudioFilesResponse(_message.Message):
    __slots__ = ("event", "heartbeat", "cursor")
    class Heartbeat(_message.Message):
        __slots__ = ("in_progress_count",)
        IN_PROGRESS_COUNT_FIELD_NUMBER: _ClassVar[int]
        in_progress_count: int
        def __init__(self, in_progress_count: _Optional[int] = ...) -> None: ...
    EVENT_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    event: AudioFileEvent
    heartbeat: WatchAudioFilesResponse.Heartbeat
    cursor: str
    def __init__(self, event: _Optional[_Union[AudioFileEvent, _Mapping]] = ..., heartbeat: _Optional[_Union[WatchAudioFilesResponse.Heartbeat, _Mapping]] = ..., cursor: _Optional[str] = ...) -> None: ...
