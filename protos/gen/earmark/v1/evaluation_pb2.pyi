from earmark.v1 import detection_pb2 as _detection_pb2
from earmark.v1 import metrics_pb2 as _metrics_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class EvaluationErrorKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EVALUATION_ERROR_KIND_UNSPECIFIED: _ClassVar[EvaluationErrorKind]
    EVALUATION_ERROR_KIND_MISSED: _ClassVar[EvaluationErrorKind]
    EVALUATION_ERROR_KIND_FALSE_DETECTION: _ClassVar[EvaluationErrorKind]
EVALUATION_ERROR_KIND_UNSPECIFIED: EvaluationErrorKind
EVALUATION_ERROR_KIND_MISSED: EvaluationErrorKind
EVALUATION_ERROR_KIND_FALSE_DETECTION: EvaluationErrorKind

class ConfusionRow(_message.Message):
    __slots__ = ("annotated_type", "detected_counts", "missed_count")
    class DetectedCountsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    ANNOTATED_TYPE_FIELD_NUMBER: _ClassVar[int]
    DETECTED_COUNTS_FIELD_NUMBER: _ClassVar[int]
    MISSED_COUNT_FIELD_NUMBER: _ClassVar[int]
    annotated_type: str
    detected_counts: _containers.ScalarMap[str, int]
    missed_count: int
    def __init__(self, annotated_type: _Optional[str] = ..., detected_counts: _Optional[_Mapping[str, int]] = ..., missed_count: _Optional[int] = ...) -> None: ...

class EvaluationError(_message.Message):
    __slots__ = ("file_id", "filename", "kind", "artifact_type", "start_ms", "end_ms", "confidence", "other_type")
    FILE_ID_FIELD_NUMBER: _ClassVar[int]
    FILENAME_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    ARTIFACT_TYPE_FIELD_NUMBER: _ClassVar[int]
    START_MS_FIELD_NUMBER: _ClassVar[int]
    END_MS_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    OTHER_TYPE_FIELD_NUMBER: _ClassVar[int]
    file_id: str
    filename: str
    kind: EvaluationErrorKind
    artifact_type: str
    start_ms: int
    end_ms: int
    confidence: float
    other_type: str
    def __init__(self, file_id: _Optional[str] = ..., filename: _Optional[str] = ..., kind: _Optional[_Union[EvaluationErrorKind, str]] = ..., artifact_type: _Optional[str] = ..., start_ms: _Optional[int] = ..., end_ms: _Optional[int] = ..., confidence: _Optional[float] = ..., other_type: _Optional[str] = ...) -> None: ...

class F1Difference(_message.Message):
    __slots__ = ("difference", "interval", "first_better_share")
    DIFFERENCE_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_FIELD_NUMBER: _ClassVar[int]
    FIRST_BETTER_SHARE_FIELD_NUMBER: _ClassVar[int]
    difference: float
    interval: _metrics_pb2.ConfidenceInterval
    first_better_share: float
    def __init__(self, difference: _Optional[float] = ..., interval: _Optional[_Union[_metrics_pb2.ConfidenceInterval, _Mapping]] = ..., first_better_share: _Optional[float] = ...) -> None: ...

class FileToMark(_message.Message):
    __slots__ = ("file_id", "filename", "duration_ms", "score", "uncertainty", "disagreement")
    class Uncertainty(_message.Message):
        __slots__ = ("detection_count", "total")
        DETECTION_COUNT_FIELD_NUMBER: _ClassVar[int]
        TOTAL_FIELD_NUMBER: _ClassVar[int]
        detection_count: int
        total: float
        def __init__(self, detection_count: _Optional[int] = ..., total: _Optional[float] = ...) -> None: ...
    class Disagreement(_message.Message):
        __slots__ = ("only_first", "only_other", "both")
        ONLY_FIRST_FIELD_NUMBER: _ClassVar[int]
        ONLY_OTHER_FIELD_NUMBER: _ClassVar[int]
        BOTH_FIELD_NUMBER: _ClassVar[int]
        only_first: int
        only_other: int
        both: int
        def __init__(self, only_first: _Optional[int] = ..., only_other: _Optional[int] = ..., both: _Optional[int] = ...) -> None: ...
    FILE_ID_FIELD_NUMBER: _ClassVar[int]
    FILENAME_FIELD_NUMBER: _ClassVar[int]
    DURATION_MS_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    UNCERTAINTY_FIELD_NUMBER: _ClassVar[int]
    DISAGREEMENT_FIELD_NUMBER: _ClassVar[int]
    file_id: str
    filename: str
    duration_ms: int
    score: float
    uncertainty: FileToMark.Uncertainty
    disagreement: FileToMark.Disagreement
    def __init__(self, file_id: _Optional[str] = ..., filename: _Optional[str] = ..., duration_ms: _Optional[int] = ..., score: _Optional[float] = ..., uncertainty: _Optional[_Union[FileToMark.Uncertainty, _Mapping]] = ..., disagreement: _Optional[_Union[FileToMark.Disagreement, _Mapping]] = ...) -> None: ...

class EvaluateDetectionJobRequest(_message.Message):
    __slots__ = ("detection_job_id", "annotation_set_id", "config")
    DETECTION_JOB_ID_FIELD_NUMBER: _ClassVar[int]
    ANNOTATION_SET_ID_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    detection_job_id: str
    annotation_set_id: str
    config: _detection_pb2.DetectionConfig
    def __init__(self, detection_job_id: _Optional[str] = ..., annotation_set_id: _Optional[str] = ..., config: _Optional[_Union[_detection_pb2.DetectionConfig, _Mapping]] = ...) -> None: ...

class EvaluateDetectionJobResponse(_message.Message):
    __slots__ = ("metrics", "confusion", "evaluated_files", "unannotated_files", "failed_files")
    METRICS_FIELD_NUMBER: _ClassVar[int]
    CONFUSION_FIELD_NUMBER: _ClassVar[int]
    EVALUATED_FILES_FIELD_NUMBER: _ClassVar[int]
    UNANNOTATED_FILES_FIELD_NUMBER: _ClassVar[int]
    FAILED_FILES_FIELD_NUMBER: _ClassVar[int]
    metrics: _metrics_pb2.EvalMetrics
    confusion: _containers.RepeatedCompositeFieldContainer[ConfusionRow]
    evaluated_files: int
    unannotated_files: int
    failed_files: int
    def __init__(self, metrics: _Optional[_Union[_metrics_pb2.EvalMetrics, _Mapping]] = ..., confusion: _Optional[_Iterable[_Union[ConfusionRow, _Mapping]]] = ..., evaluated_files: _Optional[int] = ..., unannotated_files: _Optional[int] = ..., failed_files: _Optional[int] = ...) -> None: ...

class ListEvaluationErrorsRequest(_message.Message):
    __slots__ = ("detection_job_id", "annotation_set_id", "config", "file_ids", "artifact_types", "kinds", "page_size", "page_token")
    DETECTION_JOB_ID_FIELD_NUMBER: _ClassVar[int]
    ANNOTATION_SET_ID_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    FILE_IDS_FIELD_NUMBER: _ClassVar[int]
    ARTIFACT_TYPES_FIELD_NUMBER: _ClassVar[int]
    KINDS_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    detection_job_id: str
    annotation_set_id: str
    config: _detection_pb2.DetectionConfig
    file_ids: _containers.RepeatedScalarFieldContainer[str]
    artifact_types: _containers.RepeatedScalarFieldContainer[str]
    kinds: _containers.RepeatedScalarFieldContainer[EvaluationErrorKind]
    page_size: int
    page_token: str
    def __init__(self, detection_job_id: _Optional[str] = ..., annotation_set_id: _Optional[str] = ..., config: _Optional[_Union[_detection_pb2.DetectionConfig, _Mapping]] = ..., file_ids: _Optional[_Iterable[str]] = ..., artifact_types: _Optional[_Iterable[str]] = ..., kinds: _Optional[_Iterable[_Union[EvaluationErrorKind, str]]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListEvaluationErrorsResponse(_message.Message):
    __slots__ = ("errors", "next_page_token")
    ERRORS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    errors: _containers.RepeatedCompositeFieldContainer[EvaluationError]
    next_page_token: str
    def __init__(self, errors: _Optional[_Iterable[_Union[EvaluationError, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class CompareDetectionJobsRequest(_message.Message):
    __slots__ = ("detection_job_id", "other_detection_job_id", "annotation_set_id", "config", "other_config")
    DETECTION_JOB_ID_FIELD_NUMBER: _ClassVar[int]
    OTHER_DETECTION_JOB_ID_FIELD_NUMBER: _ClassVar[int]
    ANNOTATION_SET_ID_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    OTHER_CONFIG_FIELD_NUMBER: _ClassVar[int]
    detection_job_id: str
    other_detection_job_id: str
    annotation_set_id: str
    config: _detection_pb2.DetectionConfig
    other_config: _detection_pb2.DetectionConfig
    def __init__(self, detection_job_id: _Optional[str] = ..., other_detection_job_id: _Optional[str] = ..., annotation_set_id: _Optional[str] = ..., config: _Optional[_Union[_detection_pb2.DetectionConfig, _Mapping]] = ..., other_config: _Optional[_Union[_detection_pb2.DetectionConfig, _Mapping]] = ...) -> None: ...

class CompareDetectionJobsResponse(_message.Message):
    __slots__ = ("metrics", "other_metrics", "micro", "macro", "per_type", "compared_files", "left_out_files")
    class PerTypeEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: F1Difference
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[F1Difference, _Mapping]] = ...) -> None: ...
    METRICS_FIELD_NUMBER: _ClassVar[int]
    OTHER_METRICS_FIELD_NUMBER: _ClassVar[int]
    MICRO_FIELD_NUMBER: _ClassVar[int]
    MACRO_FIELD_NUMBER: _ClassVar[int]
    PER_TYPE_FIELD_NUMBER: _ClassVar[int]
    COMPARED_FILES_FIELD_NUMBER: _ClassVar[int]
    LEFT_OUT_FILES_FIELD_NUMBER: _ClassVar[int]
    metrics: _metrics_pb2.EvalMetrics
    other_metrics: _metrics_pb2.EvalMetrics
    micro: F1Difference
    macro: F1Difference
    per_type: _containers.MessageMap[str, F1Difference]
    compared_files: int
    left_out_files: int
    def __init__(self, metrics: _Optional[_Union[_metrics_pb2.EvalMetrics, _Mapping]] = ..., other_metrics: _Optional[_Union[_metrics_pb2.EvalMetrics, _Mapping]] = ..., micro: _Optional[_Union[F1Difference, _Mapping]] = ..., macro: _Optional[_Union[F1Difference, _Mapping]] = ..., per_type: _Optional[_Mapping[str, F1Difference]] = ..., compared_files: _Optional[int] = ..., left_out_files: _Optional[int] = ...) -> None: ...

class ListFilesToMarkRequest(_message.Message):
    __slots__ = ("detection_job_id", "other_detection_job_id", "config", "other_config", "annotation_set_id", "page_size", "page_token")
    DETECTION_JOB_ID_FIELD_NUMBER: _ClassVar[int]
    OTHER_DETECTION_JOB_ID_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    OTHER_CONFIG_FIELD_NUMBER: _ClassVar[int]
    ANNOTATION_SET_ID_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    detection_job_id: str
    other_detection_job_id: str
    config: _detection_pb2.DetectionConfig
    other_config: _detection_pb2.DetectionConfig
    annotation_set_id: str
    page_size: int
    page_token: str
    def __init__(self, detection_job_id: _Optional[str] = ..., other_detection_job_id: _Optional[str] = ..., config: _Optional[_Union[_detection_pb2.DetectionConfig, _Mapping]] = ..., other_config: _Optional[_Union[_detection_pb2.DetectionConfig, _Mapping]] = ..., annotation_set_id: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListFilesToMarkResponse(_message.Message):
    __slots__ = ("files", "next_page_token")
    FILES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    files: _containers.RepeatedCompositeFieldContainer[FileToMark]
    next_page_token: str
    def __init__(self, files: _Optional[_Iterable[_Union[FileToMark, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...
