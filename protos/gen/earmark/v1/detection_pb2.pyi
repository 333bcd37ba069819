from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PcmEncoding(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PCM_ENCODING_UNSPECIFIED: _ClassVar[PcmEncoding]
    PCM_ENCODING_S16LE: _ClassVar[PcmEncoding]
    PCM_ENCODING_F32LE: _ClassVar[PcmEncoding]
PCM_ENCODING_UNSPECIFIED: PcmEncoding
PCM_ENCODING_S16LE: PcmEncoding
PCM_ENCODING_F32LE: PcmEncoding

class Detection(_message.Message):
    __slots__ = ("artifact_type", "start_ms", "end_ms", "confidence", "channels")
    ARTIFACT_TYPE_FIELD_NUMBER: _ClassVar[int]
    START_MS_FIELD_NUMBER: _ClassVar[int]
    END_MS_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    CHANNELS_FIELD_NUMBER: _ClassVar[int]
    artifact_type: str
    start_ms: int
    end_ms: int
    confidence: float
    channels: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, artifact_type: _Optional[str] = ..., start_ms: _Optional[int] = ..., end_ms: _Optional[int] = ..., confidence: _Optional[float] = ..., channels: _Optional[_Iterable[int]] = ...) -> None: ...

class LiveAudio(_message.Message):
    __slots__ = ("pcm", "start_ms", "silent_channels")
    class Pcm(_message.Message):
        __slots__ = ("sample_rate_hz", "channels", "encoding")
        SAMPLE_RATE_HZ_FIELD_NUMBER: _ClassVar[int]
        CHANNELS_FIELD_NUMBER: _ClassVar[int]
        ENCODING_FIELD_NUMBER: _ClassVar[int]
        sample_rate_hz: int
        channels: int
        encoding: PcmEncoding
        def __init__(self, sample_rate_hz: _Optional[int] = ..., channels: _Optional[int] = ..., encoding: _Optional[_Union[PcmEncoding, str]] = ...) -> None: ...
    PCM_FIELD_NUMBER: _ClassVar[int]
    START_MS_FIELD_NUMBER: _ClassVar[int]
    SILENT_CHANNELS_FIELD_NUMBER: _ClassVar[int]
    pcm: LiveAudio.Pcm
    start_ms: int
    silent_channels: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, pcm: _Optional[_Union[LiveAudio.Pcm, _Mapping]] = ..., start_ms: _Optional[int] = ..., silent_channels: _Optional[_Iterable[int]] = ...) -> None: ...

class DetectionHeartbeat(_message.Message):
    __slots__ = ("judged_until_ms", "silent_channels")
    JUDGED_UNTIL_MS_FIELD_NUMBER: _ClassVar[int]
    SILENT_CHANNELS_FIELD_NUMBER: _ClassVar[int]
    judged_until_ms: int
    silent_channels: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, judged_until_ms: _Optional[int] = ..., silent_channels: _Optional[_Iterable[int]] = ...) -> None: ...

class DetectionConfig(_message.Message):
    __slots__ = ("threshold", "thresholds", "merge_window_ms", "min_duration_ms", "merge_windows_ms", "min_durations_ms")
    class ThresholdsEntry(_message.Message):
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
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    THRESHOLDS_FIELD_NUMBER: _ClassVar[int]
    MERGE_WINDOW_MS_FIELD_NUMBER: _ClassVar[int]
    MIN_DURATION_MS_FIELD_NUMBER: _ClassVar[int]
    MERGE_WINDOWS_MS_FIELD_NUMBER: _ClassVar[int]
    MIN_DURATIONS_MS_FIELD_NUMBER: _ClassVar[int]
    threshold: float
    thresholds: _containers.ScalarMap[str, float]
    merge_window_ms: int
    min_duration_ms: int
    merge_windows_ms: _containers.ScalarMap[str, int]
    min_durations_ms: _containers.ScalarMap[str, int]
    def __init__(self, threshold: _Optional[float] = ..., thresholds: _Optional[_Mapping[str, float]] = ..., merge_window_ms: _Optional[int] = ..., min_duration_ms: _Optional[int] = ..., merge_windows_ms: _Optional[_Mapping[str, int]] = ..., min_durations_ms: _Optional[_Mapping[str, int]] = ...) -> None: ...
