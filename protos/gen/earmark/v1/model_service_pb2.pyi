from earmark.v1 import metrics_pb2 as _metrics_pb2
from earmark.v1 import scope_pb2 as _scope_pb2
from earmark.v1 import training_config_pb2 as _training_config_pb2
from google.protobuf import field_mask_pb2 as _field_mask_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ModelFormat(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MODEL_FORMAT_UNSPECIFIED: _ClassVar[ModelFormat]
    MODEL_FORMAT_NATIVE: _ClassVar[ModelFormat]
    MODEL_FORMAT_ONNX: _ClassVar[ModelFormat]
MODEL_FORMAT_UNSPECIFIED: ModelFormat
MODEL_FORMAT_NATIVE: ModelFormat
MODEL_FORMAT_ONNX: ModelFormat

class Model(_message.Message):
    __slots__ = ("id", "training_job_id", "dataset_id", "name", "description", "artifact_types", "eval_metrics", "recommended_thresholds", "is_active", "created_at", "updated_at", "deleted_at", "etag", "size_bytes", "sha256", "config", "best_epoch", "merge_windows_ms", "min_durations_ms", "aliases", "annotation_set_id", "annotation_set_version", "audio_file_count", "audio_duration_ms", "earmark_version", "frontend_version")
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
    ID_FIELD_NUMBER: _ClassVar[int]
    TRAINING_JOB_ID_FIELD_NUMBER: _ClassVar[int]
    DATASET_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    ARTIFACT_TYPES_FIELD_NUMBER: _ClassVar[int]
    EVAL_METRICS_FIELD_NUMBER: _ClassVar[int]
    RECOMMENDED_THRESHOLDS_FIELD_NUMBER: _ClassVar[int]
    IS_ACTIVE_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    UPDATED_AT_FIELD_NUMBER: _ClassVar[int]
    DELETED_AT_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    BEST_EPOCH_FIELD_NUMBER: _ClassVar[int]
    MERGE_WINDOWS_MS_FIELD_NUMBER: _ClassVar[int]
    MIN_DURATIONS_MS_FIELD_NUMBER: _ClassVar[int]
    ALIASES_FIELD_NUMBER: _ClassVar[int]
    ANNOTATION_SET_ID_FIELD_NUMBER: _ClassVar[int]
    ANNOTATION_SET_VERSION_FIELD_NUMBER: _ClassVar[int]
    AUDIO_FILE_COUNT_FIELD_NUMBER: _ClassVar[int]
    AUDIO_DURATION_MS_FIELD_NUMBER: _ClassVar[int]
    EARMARK_VERSION_FIELD_NUMBER: _ClassVar[int]
    FRONTEND_VERSION_FIELD_NUMBER: _ClassVar[int]
    id: str
    training_job_id: str
    dataset_id: str
    name: str
    description: str
    artifact_types: _containers.RepeatedScalarFieldContainer[str]
    eval_metrics: _metrics_pb2.EvalMetrics
    recommended_thresholds: _containers.ScalarMap[str, float]
    is_active: bool
    created_at: _timestamp_pb2.Timestamp
    updated_at: _timestamp_pb2.Timestamp
    deleted_at: _timestamp_pb2.Timestamp
    etag: str
    size_bytes: int
    sha256: str
    config: _training_config_pb2.TrainingConfig
    best_epoch: int
    merge_windows_ms: _containers.ScalarMap[str, int]
    min_durations_ms: _containers.ScalarMap[str, int]
    aliases: _containers.RepeatedScalarFieldContainer[str]
    annotation_set_id: str
    annotation_set_version: int
    audio_file_count: int
    audio_duration_ms: int
    earmark_version: str
    frontend_version: str
    def __init__(self, id: _Optional[str] = ..., training_job_id: _Optional[str] = ..., dataset_id: _Optional[str] = ..., name: _Optional[str] = ..., description: _Optional[str] = ..., artifact_types: _Optional[_Iterable[str]] = ..., eval_metrics: _Optional[_Union[_metrics_pb2.EvalMetrics, _Mapping]] = ..., recommended_thresholds: _Optional[_Mapping[str, float]] = ..., is_active: bool = ..., created_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., updated_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., deleted_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., etag: _Optional[str] = ..., size_bytes: _Optional[int] = ..., sha256: _Optional[str] = ..., config: _Optional[_Union[_training_config_pb2.TrainingConfig, _Mapping]] = ..., best_epoch: _Optional[int] = ..., merge_windows_ms: _Optional[_Mapping[str, int]] = ..., min_durations_ms: _Optional[_Mapping[str, int]] = ..., aliases: _Optional[_Iterable[str]] = ..., annotation_set_id: _Optional[str] = ..., annotation_set_version: _Optional[int] = ..., audio_file_count: _Optional[int] = ..., audio_duration_ms: _Optional[int] = ..., earmark_version: _Optional[str] = ..., frontend_version: _Optional[str] = ...) -> None: ...

class ModelAlias(_message.Message):
    __slots__ = ("alias", "model_id", "etag", "moved_at")
    ALIAS_FIELD_NUMBER: _ClassVar[int]
    MODEL_ID_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    MOVED_AT_FIELD_NUMBER: _ClassVar[int]
    alias: str
    model_id: str
    etag: str
    moved_at: _timestamp_pb2.Timestamp
    def __init__(self, alias: _Optional[str] = ..., model_id: _Optional[str] = ..., etag: _Optional[str] = ..., moved_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ModelAliasMove(_message.Message):
    __slots__ = ("from_model_id", "to_model_id", "etag", "moved_at", "moved_by")
    FROM_MODEL_ID_FIELD_NUMBER: _ClassVar[int]
    TO_MODEL_ID_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    MOVED_AT_FIELD_NUMBER: _ClassVar[int]
    MOVED_BY_FIELD_NUMBER: _ClassVar[int]
    from_model_id: str
    to_model_id: str
    etag: str
    moved_at: _timestamp_pb2.Timestamp
    moved_by: str
    def __init__(self, from_model_id: _Optional[str] = ..., to_model_id: _Optional[str] = ..., etag: _Optional[str] = ..., moved_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., moved_by: _Optional[str] = ...) -> None: ...

class ModelUsage(_message.Message):
    __slots__ = ("model_id", "aliases", "training_job_ids", "training_job_count", "derived_model_ids", "derived_model_count", "detection_count", "last_detected_at", "detection_job_ids", "detection_job_count")
    MODEL_ID_FIELD_NUMBER: _ClassVar[int]
    ALIASES_FIELD_NUMBER: _ClassVar[int]
    TRAINING_JOB_IDS_FIELD_NUMBER: _ClassVar[int]
    TRAINING_JOB_COUNT_FIELD_NUMBER: _ClassVar[int]
    DERIVED_MODEL_IDS_FIELD_NUMBER: _ClassVar[int]
    DERIVED_MODEL_COUNT_FIELD_NUMBER: _ClassVar[int]
    DETECTION_COUNT_FIELD_NUMBER: _ClassVar[int]
    LAST_DETECTED_AT_FIELD_NUMBER: _ClassVar[int]
    DETECTION_JOB_IDS_FIELD_NUMBER: _ClassVar[int]
    DETECTION_JOB_COUNT_FIELD_NUMBER: _ClassVar[int]
    model_id: str
    aliases: _containers.RepeatedScalarFieldContainer[str]
    training_job_ids: _containers.RepeatedScalarFieldContainer[str]
    training_job_count: int
    derived_model_ids: _containers.RepeatedScalarFieldContainer[str]
    derived_model_count: int
    detection_count: int
    last_detected_at: _timestamp_pb2.Timestamp
    detection_job_ids: _containers.RepeatedScalarFieldContainer[str]
    detection_job_count: int
    def __init__(self, model_id: _Optional[str] = ..., aliases: _Optional[_Iterable[str]] = ..., training_job_ids: _Optional[_Iterable[str]] = ..., training_job_count: _Optional[int] = ..., derived_model_ids: _Optional[_Iterable[str]] = ..., derived_model_count: _Optional[int] = ..., detection_count: _Optional[int] = ..., last_detected_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., detection_job_ids: _Optional[_Iterable[str]] = ..., detection_job_count: _Optional[int] = ...) -> None: ...

class GetModelRequest(_message.Message):
    __slots__ = ("model_id",)
    MODEL_ID_FIELD_NUMBER: _ClassVar[int]
    model_id: str
    def __init__(self, model_id: _Optional[str] = ...) -> None: ...

class GetModelResponse(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: Model
    def __init__(self, model: _Optional[_Union[Model, _Mapping]] = ...) -> None: ...

class ListModelsRequest(_message.Message):
    __slots__ = ("is_active", "artifact_types", "dataset_ids", "show_deleted", "page_size", "page_token", "view", "names", "name_prefix")
    IS_ACTIVE_FIELD_NUMBER: _ClassVar[int]
    ARTIFACT_TYPES_FIELD_NUMBER: _ClassVar[int]
    DATASET_IDS_FIELD_NUMBER: _ClassVar[int]
    SHOW_DELETED_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    NAMES_FIELD_NUMBER: _ClassVar[int]
    NAME_PREFIX_FIELD_NUMBER: _ClassVar[int]
    is_active: bool
    artifact_types: _containers.RepeatedScalarFieldContainer[str]
    dataset_ids: _containers.RepeatedScalarFieldContainer[str]
    show_deleted: bool
    page_size: int
    page_token: str
    view: _metrics_pb2.MetricsView
    names: _containers.RepeatedScalarFieldContainer[str]
    name_prefix: str
    def __init__(self, is_active: bool = ..., artifact_types: _Optional[_Iterable[str]] = ..., dataset_ids: _Optional[_Iterable[str]] = ..., show_deleted: bool = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., view: _Optional[_Union[_metrics_pb2.MetricsView, str]] = ..., names: _Optional[_Iterable[str]] = ..., name_prefix: _Optional[str] = ...) -> None: ...

class ListModelsResponse(_message.Message):
    __slots__ = ("models", "next_page_token")
    MODELS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[Model]
    next_page_token: str
    def __init__(self, models: _Optional[_Iterable[_Union[Model, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class UpdateModelRequest(_message.Message):
    __slots__ = ("model", "update_mask", "request_id")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    UPDATE_MASK_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    model: Model
    update_mask: _field_mask_pb2.FieldMask
    request_id: str
    def __init__(self, model: _Optional[_Union[Model, _Mapping]] = ..., update_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

class UpdateModelResponse(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: Model
    def __init__(self, model: _Optional[_Union[Model, _Mapping]] = ...) -> None: ...

class DeleteModelRequest(_message.Message):
    __slots__ = ("model_id", "request_id", "force")
    MODEL_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    model_id: str
    request_id: str
    force: bool
    def __init__(self, model_id: _Optional[str] = ..., request_id: _Optional[str] = ..., force: bool = ...) -> None: ...

class DeleteModelResponse(_message.Message):
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

class UndeleteModelRequest(_message.Message):
    __slots__ = ("model_id", "request_id")
    MODEL_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    model_id: str
    request_id: str
    def __init__(self, model_id: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class UndeleteModelResponse(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: Model
    def __init__(self, model: _Optional[_Union[Model, _Mapping]] = ...) -> None: ...

class SetModelAliasRequest(_message.Message):
    __slots__ = ("alias", "model_id", "etag", "request_id")
    ALIAS_FIELD_NUMBER: _ClassVar[int]
    MODEL_ID_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    alias: str
    model_id: str
    etag: str
    request_id: str
    def __init__(self, alias: _Optional[str] = ..., model_id: _Optional[str] = ..., etag: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class SetModelAliasResponse(_message.Message):
    __slots__ = ("model_alias",)
    MODEL_ALIAS_FIELD_NUMBER: _ClassVar[int]
    model_alias: ModelAlias
    def __init__(self, model_alias: _Optional[_Union[ModelAlias, _Mapping]] = ...) -> None: ...

class DeleteModelAliasRequest(_message.Message):
    __slots__ = ("alias", "etag", "request_id")
    ALIAS_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    alias: str
    etag: str
    request_id: str
    def __init__(self, alias: _Optional[str] = ..., etag: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class DeleteModelAliasResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListModelAliasesRequest(_message.Message):
    __slots__ = ("model_ids", "aliases", "page_size", "page_token")
    MODEL_IDS_FIELD_NUMBER: _ClassVar[int]
    ALIASES_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    model_ids: _containers.RepeatedScalarFieldContainer[str]
    aliases: _containers.RepeatedScalarFieldContainer[str]
    page_size: int
    page_token: str
    def __init__(self, model_ids: _Optional[_Iterable[str]] = ..., aliases: _Optional[_Iterable[str]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListModelAliasesResponse(_message.Message):
    __slots__ = ("model_aliases", "next_page_token")
    MODEL_ALIASES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    model_aliases: _containers.RepeatedCompositeFieldContainer[ModelAlias]
    next_page_token: str
    def __init__(self, model_aliases: _Optional[_Iterable[_Union[ModelAlias, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class ListModelAliasMovesRequest(_message.Message):
    __slots__ = ("alias", "page_size", "page_token")
    ALIAS_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    alias: str
    page_size: int
    page_token: str
    def __init__(self, alias: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListModelAliasMovesResponse(_message.Message):
    __slots__ = ("moves", "next_page_token")
    MOVES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    moves: _containers.RepeatedCompositeFieldContainer[ModelAliasMove]
    next_page_token: str
    def __init__(self, moves: _Optional[_Iterable[_Union[ModelAliasMove, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class GetModelUsageRequest(_message.Message):
    __slots__ = ("model_id",)
    MODEL_ID_FIELD_NUMBER: _ClassVar[int]
    model_id: str
    def __init__(self, model_id: _Optional[str] = ...) -> None: ...

class GetModelUsageResponse(_message.Message):
    __slots__ = ("usage",)
    USAGE_FIELD_NUMBER: _ClassVar[int]
    usage: ModelUsage
    def __init__(self, usage: _Optional[_Union[ModelUsage, _Mapping]] = ...) -> None: ...

class GetModelReportRequest(_message.Message):
    __slots__ = ("model_id",)
    MODEL_ID_FIELD_NUMBER: _ClassVar[int]
    model_id: str
    def __init__(self, model_id: _Optional[str] = ...) -> None: ...

class GetModelReportResponse(_message.Message):
    __slots__ = ("html",)
    HTML_FIELD_NUMBER: _ClassVar[int]
    html: str
    def __init__(self, html: _Optional[str] = ...) -> None: ...

class ExportModelRequest(_message.Message):
    __slots__ = ("model_id", "format", "sample_rate_hz")
    MODEL_ID_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_RATE_HZ_FIELD_NUMBER: _ClassVar[int]
    model_id: str
    format: ModelFormat
    sample_rate_hz: int
    def __init__(self, model_id: _Optional[str] = ..., format: _Optional[_Union[ModelFormat, str]] = ..., sample_rate_hz: _Optional[int] = ...) -> None: ...

class ExportModelResponse(_message.Message):
    __slots__ = ("file", "data")
    class File(_message.Message):
        __slots__ = ("filename", "size_bytes", "sha256", "media_type")
        FILENAME_FIELD_NUMBER: _ClassVar[int]
        SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
        SHA256_FIELD_NUMBER: _ClassVar[int]
        MEDIA_TYPE_FIELD_NUMBER: _ClassVar[int]
        filename: str
        size_bytes: int
        sha256: str
        media_type: str
        def __init__(self, filename: _Optional[str] = ..., size_bytes: _Optional[int] = ..., sha256: _Optional[str] = ..., media_type: _Optional[str] = ...) -> None: ...
    FILE_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    file: ExportModelResponse.File
    data: bytes
    def __init__(self, file: _Optional[_Union[ExportModelResponse.File, _Mapping]] = ..., data: _Optional[bytes] = ...) -> None: ...
