from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from typing import ClassVar as _ClassVar

DESCRIPTOR: _descriptor.FileDescriptor

class ErrorReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ERROR_REASON_UNSPECIFIED: _ClassVar[ErrorReason]
    ERROR_REASON_INVALID_FIELD: _ClassVar[ErrorReason]
    ERROR_REASON_INVALID_PAGE_TOKEN: _ClassVar[ErrorReason]
    ERROR_REASON_INVALID_UPDATE_MASK: _ClassVar[ErrorReason]
    ERROR_REASON_INVALID_UPLOAD: _ClassVar[ErrorReason]
    ERROR_REASON_INVALID_AUDIO: _ClassVar[ErrorReason]
    ERROR_REASON_NOT_FOUND: _ClassVar[ErrorReason]
    ERROR_REASON_REQUEST_ID_REUSED: _ClassVar[ErrorReason]
    ERROR_REASON_ALREADY_EXISTS: _ClassVar[ErrorReason]
    ERROR_REASON_STALE_ETAG: _ClassVar[ErrorReason]
    ERROR_REASON_PREREQUISITES_NOT_MET: _ClassVar[ErrorReason]
    ERROR_REASON_WRONG_STATE: _ClassVar[ErrorReason]
    ERROR_REASON_IN_USE: _ClassVar[ErrorReason]
    ERROR_REASON_CURSOR_OUT_OF_RANGE: _ClassVar[ErrorReason]
    ERROR_REASON_DATABASE_UNAVAILABLE: _ClassVar[ErrorReason]
    ERROR_REASON_TRAINER_UNAVAILABLE: _ClassVar[ErrorReason]
    ERROR_REASON_STOPPING: _ClassVar[ErrorReason]
    ERROR_REASON_INTERNAL: _ClassVar[ErrorReason]
    ERROR_REASON_LOSS_NOT_FINITE: _ClassVar[ErrorReason]
    ERROR_REASON_NO_TRAINING_DATA: _ClassVar[ErrorReason]
    ERROR_REASON_STORED_DATA_DAMAGED: _ClassVar[ErrorReason]
    ERROR_REASON_TRAINER_LOST: _ClassVar[ErrorReason]
    ERROR_REASON_TRAINING_CRASHED: _ClassVar[ErrorReason]
ERROR_REASON_UNSPECIFIED: ErrorReason
ERROR_REASON_INVALID_FIELD: ErrorReason
ERROR_REASON_INVALID_PAGE_TOKEN: ErrorReason
ERROR_REASON_INVALID_UPDATE_MASK: ErrorReason
ERROR_REASON_INVALID_UPLOAD: ErrorReason
ERROR_REASON_INVALID_AUDIO: ErrorReason
ERROR_REASON_NOT_FOUND: ErrorReason
ERROR_REASON_REQUEST_ID_REUSED: ErrorReason
ERROR_REASON_ALREADY_EXISTS: ErrorReason
ERROR_REASON_STALE_ETAG: ErrorReason
ERROR_REASON_PREREQUISITES_NOT_MET: ErrorReason
ERROR_REASON_WRONG_STATE: ErrorReason
ERROR_REASON_IN_USE: ErrorReason
ERROR_REASON_CURSOR_OUT_OF_RANGE: ErrorReason
ERROR_REASON_DATABASE_UNAVAILABLE: ErrorReason
ERROR_REASON_TRAINER_UNAVAILABLE: ErrorReason
ERROR_REASON_STOPPING: ErrorReason
ERROR_REASON_INTERNAL: ErrorReason
ERROR_REASON_LOSS_NOT_FINITE: ErrorReason
ERROR_REASON_NO_TRAINING_DATA: ErrorReason
ERROR_REASON_STORED_DATA_DAMAGED: ErrorReason
ERROR_REASON_TRAINER_LOST: ErrorReason
ERROR_REASON_TRAINING_CRASHED: ErrorReason
