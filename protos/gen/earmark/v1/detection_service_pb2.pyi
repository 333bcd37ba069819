from earmark.v1 import detection_pb2 as _detection_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

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
        __slots__ = ("duration_ms", "detection_count")
        DURATION_MS_FIELD_NUMBER: _ClassVar[int]
        DETECTION_COUNT_FIELD_NUMBER: _ClassVar[int]
        duration_ms: int
        detection_count: int
        def __init__(self, duration_ms: _Optional[int] = ..., detection_count: _Optional[int] = ...) -> None: ...
    DETECTION_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    detection: _detection_pb2.Detection
    summary: DetectResponse.Summary
    heartbeat: _detection_pb2.DetectionHeartbeat
    def __init__(self, detection: _Optional[_Union[_detection_pb2.Detection, _Mapping]] = ..., summary: _Optional[_Union[DetectResponse.Summary, _Mapping]] = ..., heartbeat: _Optional[_Union[_detection_pb2.DetectionHeartbeat, _Mapping]] = ...) -> None: ...
