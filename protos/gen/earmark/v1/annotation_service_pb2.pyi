from earmark.v1 import scope_pb2 as _scope_pb2
from google.protobuf import field_mask_pb2 as _field_mask_pb2
from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AnnotationSetStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ANNOTATION_SET_STATUS_UNSPECIFIED: _ClassVar[AnnotationSetStatus]
    ANNOTATION_SET_STATUS_DRAFT: _ClassVar[AnnotationSetStatus]
    ANNOTATION_SET_STATUS_PUBLISHED: _ClassVar[AnnotationSetStatus]
ANNOTATION_SET_STATUS_UNSPECIFIED: AnnotationSetStatus
ANNOTATION_SET_STATUS_DRAFT: AnnotationSetStatus
ANNOTATION_SET_STATUS_PUBLISHED: AnnotationSetStatus

class AnnotationSet(_message.Message):
    __slots__ = ("id", "dataset_id", "version", "status", "total_annotations", "annotations_by_type", "total_positive_duration_ms", "created_at", "published_at", "etag")
    class AnnotationsByTypeEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    DATASET_ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_ANNOTATIONS_FIELD_NUMBER: _ClassVar[int]
    ANNOTATIONS_BY_TYPE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_POSITIVE_DURATION_MS_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    PUBLISHED_AT_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    id: str
    dataset_id: str
    version: int
    status: AnnotationSetStatus
    total_annotations: int
    annotations_by_type: _containers.ScalarMap[str, int]
    total_positive_duration_ms: int
    created_at: _timestamp_pb2.Timestamp
    published_at: _timestamp_pb2.Timestamp
    etag: str
    def __init__(self, id: _Optional[str] = ..., dataset_id: _Optional[str] = ..., version: _Optional[int] = ..., status: _Optional[_Union[AnnotationSetStatus, str]] = ..., total_annotations: _Optional[int] = ..., annotations_by_type: _Optional[_Mapping[str, int]] = ..., total_positive_duration_ms: _Optional[int] = ..., created_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., published_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., etag: _Optional[str] = ...) -> None: ...

class Annotation(_message.Message):
    __slots__ = ("id", "annotation_set_id", "audio_file_id", "artifact_type", "start_ms", "end_ms", "confidence", "extra_data", "etag", "channel")
    ID_FIELD_NUMBER: _ClassVar[int]
    ANNOTATION_SET_ID_FIELD_NUMBER: _ClassVar[int]
    AUDIO_FILE_ID_FIELD_NUMBER: _ClassVar[int]
    ARTIFACT_TYPE_FIELD_NUMBER: _ClassVar[int]
    START_MS_FIELD_NUMBER: _ClassVar[int]
    END_MS_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    EXTRA_DATA_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    id: str
    annotation_set_id: str
    audio_file_id: str
    artifact_type: str
    start_ms: int
    end_ms: int
    confidence: float
    extra_data: _struct_pb2.Struct
    etag: str
    channel: int
    def __init__(self, id: _Optional[str] = ..., annotation_set_id: _Optional[str] = ..., audio_file_id: _Optional[str] = ..., artifact_type: _Optional[str] = ..., start_ms: _Optional[int] = ..., end_ms: _Optional[int] = ..., confidence: _Optional[float] = ..., extra_data: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., etag: _Optional[str] = ..., channel: _Optional[int] = ...) -> None: ...

class CreateAnnotationSetRequest(_message.Message):
    __slots__ = ("dataset_id", "copy_of", "request_id")
    DATASET_ID_FIELD_NUMBER: _ClassVar[int]
    COPY_OF_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    dataset_id: str
    copy_of: str
    request_id: str
    def __init__(self, dataset_id: _Optional[str] = ..., copy_of: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class CreateAnnotationSetResponse(_message.Message):
    __slots__ = ("annotation_set",)
    ANNOTATION_SET_FIELD_NUMBER: _ClassVar[int]
    annotation_set: AnnotationSet
    def __init__(self, annotation_set: _Optional[_Union[AnnotationSet, _Mapping]] = ...) -> None: ...

class GetAnnotationSetRequest(_message.Message):
    __slots__ = ("annotation_set_id",)
    ANNOTATION_SET_ID_FIELD_NUMBER: _ClassVar[int]
    annotation_set_id: str
    def __init__(self, annotation_set_id: _Optional[str] = ...) -> None: ...

class GetAnnotationSetResponse(_message.Message):
    __slots__ = ("annotation_set",)
    ANNOTATION_SET_FIELD_NUMBER: _ClassVar[int]
    annotation_set: AnnotationSet
    def __init__(self, annotation_set: _Optional[_Union[AnnotationSet, _Mapping]] = ...) -> None: ...

class ListAnnotationSetsRequest(_message.Message):
    __slots__ = ("dataset_id", "statuses", "page_size", "page_token")
    DATASET_ID_FIELD_NUMBER: _ClassVar[int]
    STATUSES_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    dataset_id: str
    statuses: _containers.RepeatedScalarFieldContainer[AnnotationSetStatus]
    page_size: int
    page_token: str
    def __init__(self, dataset_id: _Optional[str] = ..., statuses: _Optional[_Iterable[_Union[AnnotationSetStatus, str]]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListAnnotationSetsResponse(_message.Message):
    __slots__ = ("annotation_sets", "next_page_token")
    ANNOTATION_SETS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    annotation_sets: _containers.RepeatedCompositeFieldContainer[AnnotationSet]
    next_page_token: str
    def __init__(self, annotation_sets: _Optional[_Iterable[_Union[AnnotationSet, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class PublishAnnotationSetRequest(_message.Message):
    __slots__ = ("annotation_set_id", "request_id", "etag")
    ANNOTATION_SET_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    annotation_set_id: str
    request_id: str
    etag: str
    def __init__(self, annotation_set_id: _Optional[str] = ..., request_id: _Optional[str] = ..., etag: _Optional[str] = ...) -> None: ...

class PublishAnnotationSetResponse(_message.Message):
    __slots__ = ("annotation_set",)
    ANNOTATION_SET_FIELD_NUMBER: _ClassVar[int]
    annotation_set: AnnotationSet
    def __init__(self, annotation_set: _Optional[_Union[AnnotationSet, _Mapping]] = ...) -> None: ...

class DeleteAnnotationSetRequest(_message.Message):
    __slots__ = ("annotation_set_id", "request_id", "etag", "force")
    ANNOTATION_SET_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    annotation_set_id: str
    request_id: str
    etag: str
    force: bool
    def __init__(self, annotation_set_id: _Optional[str] = ..., request_id: _Optional[str] = ..., etag: _Optional[str] = ..., force: bool = ...) -> None: ...

class DeleteAnnotationSetResponse(_message.Message):
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

class AnnotationSpec(_message.Message):
    __slots__ = ("audio_file_id", "artifact_type", "start_ms", "end_ms", "confidence", "extra_data", "channel")
    AUDIO_FILE_ID_FIELD_NUMBER: _ClassVar[int]
    ARTIFACT_TYPE_FIELD_NUMBER: _ClassVar[int]
    START_MS_FIELD_NUMBER: _ClassVar[int]
    END_MS_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    EXTRA_DATA_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    audio_file_id: str
    artifact_type: str
    start_ms: int
    end_ms: int
    confidence: float
    extra_data: _struct_pb2.Struct
    channel: int
    def __init__(self, audio_file_id: _Optional[str] = ..., artifact_type: _Optional[str] = ..., start_ms: _Optional[int] = ..., end_ms: _Optional[int] = ..., confidence: _Optional[float] = ..., extra_data: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., channel: _Optional[int] = ...) -> None: ...

class BatchCreateAnnotationsRequest(_message.Message):
    __slots__ = ("annotation_set_id", "annotations", "request_id")
    ANNOTATION_SET_ID_FIELD_NUMBER: _ClassVar[int]
    ANNOTATIONS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    annotation_set_id: str
    annotations: _containers.RepeatedCompositeFieldContainer[AnnotationSpec]
    request_id: str
    def __init__(self, annotation_set_id: _Optional[str] = ..., annotations: _Optional[_Iterable[_Union[AnnotationSpec, _Mapping]]] = ..., request_id: _Optional[str] = ...) -> None: ...

class BatchCreateAnnotationsResponse(_message.Message):
    __slots__ = ("annotation_ids",)
    ANNOTATION_IDS_FIELD_NUMBER: _ClassVar[int]
    annotation_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, annotation_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class ListAnnotationsRequest(_message.Message):
    __slots__ = ("annotation_set_id", "audio_file_ids", "artifact_types", "page_size", "page_token", "channels")
    ANNOTATION_SET_ID_FIELD_NUMBER: _ClassVar[int]
    AUDIO_FILE_IDS_FIELD_NUMBER: _ClassVar[int]
    ARTIFACT_TYPES_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    CHANNELS_FIELD_NUMBER: _ClassVar[int]
    annotation_set_id: str
    audio_file_ids: _containers.RepeatedScalarFieldContainer[str]
    artifact_types: _containers.RepeatedScalarFieldContainer[str]
    page_size: int
    page_token: str
    channels: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, annotation_set_id: _Optional[str] = ..., audio_file_ids: _Optional[_Iterable[str]] = ..., artifact_types: _Optional[_Iterable[str]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., channels: _Optional[_Iterable[int]] = ...) -> None: ...

class ListAnnotationsResponse(_message.Message):
    __slots__ = ("annotations", "next_page_token")
    ANNOTATIONS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    annotations: _containers.RepeatedCompositeFieldContainer[Annotation]
    next_page_token: str
    def __init__(self, annotations: _Optional[_Iterable[_Union[Annotation, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class UpdateAnnotationRequest(_message.Message):
    __slots__ = ("annotation", "update_mask", "request_id")
    ANNOTATION_FIELD_NUMBER: _ClassVar[int]
    UPDATE_MASK_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    annotation: Annotation
    update_mask: _field_mask_pb2.FieldMask
    request_id: str
    def __init__(self, annotation: _Optional[_Union[Annotation, _Mapping]] = ..., update_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

class UpdateAnnotationResponse(_message.Message):
    __slots__ = ("annotation",)
    ANNOTATION_FIELD_NUMBER: _ClassVar[int]
    annotation: Annotation
    def __init__(self, annotation: _Optional[_Union[Annotation, _Mapping]] = ...) -> None: ...

class DeleteAnnotationRequest(_message.Message):
    __slots__ = ("annotation_id", "request_id")
    ANNOTATION_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    annotation_id: str
    request_id: str
    def __init__(self, annotation_id: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class DeleteAnnotationResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
