from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class MetricsView(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    METRICS_VIEW_UNSPECIFIED: _ClassVar[MetricsView]
    METRICS_VIEW_BASIC: _ClassVar[MetricsView]
    METRICS_VIEW_FULL: _ClassVar[MetricsView]
METRICS_VIEW_UNSPECIFIED: MetricsView
METRICS_VIEW_BASIC: MetricsView
METRICS_VIEW_FULL: MetricsView

class DetectionFigures(_message.Message):
    __slots__ = ("precision", "recall", "f1_score", "support")
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    RECALL_FIELD_NUMBER: _ClassVar[int]
    F1_SCORE_FIELD_NUMBER: _ClassVar[int]
    SUPPORT_FIELD_NUMBER: _ClassVar[int]
    precision: float
    recall: float
    f1_score: float
    support: int
    def __init__(self, precision: _Optional[float] = ..., recall: _Optional[float] = ..., f1_score: _Optional[float] = ..., support: _Optional[int] = ...) -> None: ...

class OperatingPoint(_message.Message):
    __slots__ = ("threshold", "precision", "recall")
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    RECALL_FIELD_NUMBER: _ClassVar[int]
    threshold: float
    precision: float
    recall: float
    def __init__(self, threshold: _Optional[float] = ..., precision: _Optional[float] = ..., recall: _Optional[float] = ...) -> None: ...

class ConfidenceInterval(_message.Message):
    __slots__ = ("low", "high")
    LOW_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    low: float
    high: float
    def __init__(self, low: _Optional[float] = ..., high: _Optional[float] = ...) -> None: ...

class TypeMetrics(_message.Message):
    __slots__ = ("precision", "recall", "f1_score", "support", "chunk", "average_precision", "best_threshold", "segment", "precision_recall_curve", "f1_score_interval")
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    RECALL_FIELD_NUMBER: _ClassVar[int]
    F1_SCORE_FIELD_NUMBER: _ClassVar[int]
    SUPPORT_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    AVERAGE_PRECISION_FIELD_NUMBER: _ClassVar[int]
    BEST_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    SEGMENT_FIELD_NUMBER: _ClassVar[int]
    PRECISION_RECALL_CURVE_FIELD_NUMBER: _ClassVar[int]
    F1_SCORE_INTERVAL_FIELD_NUMBER: _ClassVar[int]
    precision: float
    recall: float
    f1_score: float
    support: int
    chunk: DetectionFigures
    average_precision: float
    best_threshold: float
    segment: DetectionFigures
    precision_recall_curve: _containers.RepeatedCompositeFieldContainer[OperatingPoint]
    f1_score_interval: ConfidenceInterval
    def __init__(self, precision: _Optional[float] = ..., recall: _Optional[float] = ..., f1_score: _Optional[float] = ..., support: _Optional[int] = ..., chunk: _Optional[_Union[DetectionFigures, _Mapping]] = ..., average_precision: _Optional[float] = ..., best_threshold: _Optional[float] = ..., segment: _Optional[_Union[DetectionFigures, _Mapping]] = ..., precision_recall_curve: _Optional[_Iterable[_Union[OperatingPoint, _Mapping]]] = ..., f1_score_interval: _Optional[_Union[ConfidenceInterval, _Mapping]] = ...) -> None: ...

class EvalMetrics(_message.Message):
    __slots__ = ("overall", "per_type", "macro_f1_score", "chunk", "segment", "f1_score_interval")
    class PerTypeEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: TypeMetrics
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[TypeMetrics, _Mapping]] = ...) -> None: ...
    OVERALL_FIELD_NUMBER: _ClassVar[int]
    PER_TYPE_FIELD_NUMBER: _ClassVar[int]
    MACRO_F1_SCORE_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    SEGMENT_FIELD_NUMBER: _ClassVar[int]
    F1_SCORE_INTERVAL_FIELD_NUMBER: _ClassVar[int]
    overall: DetectionFigures
    per_type: _containers.MessageMap[str, TypeMetrics]
    macro_f1_score: float
    chunk: DetectionFigures
    segment: DetectionFigures
    f1_score_interval: ConfidenceInterval
    def __init__(self, overall: _Optional[_Union[DetectionFigures, _Mapping]] = ..., per_type: _Optional[_Mapping[str, TypeMetrics]] = ..., macro_f1_score: _Optional[float] = ..., chunk: _Optional[_Union[DetectionFigures, _Mapping]] = ..., segment: _Optional[_Union[DetectionFigures, _Mapping]] = ..., f1_score_interval: _Optional[_Union[ConfidenceInterval, _Mapping]] = ...) -> None: ...
