from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class TrainingConfig(_message.Message):
    __slots__ = ("artifact_types", "epochs", "validation_split", "learning_rate", "batch_size", "chunk_size_ms", "stride_ms", "seed", "base_model_id", "early_stopping_epochs")
    ARTIFACT_TYPES_FIELD_NUMBER: _ClassVar[int]
    EPOCHS_FIELD_NUMBER: _ClassVar[int]
    VALIDATION_SPLIT_FIELD_NUMBER: _ClassVar[int]
    LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    BATCH_SIZE_FIELD_NUMBER: _ClassVar[int]
    CHUNK_SIZE_MS_FIELD_NUMBER: _ClassVar[int]
    STRIDE_MS_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    BASE_MODEL_ID_FIELD_NUMBER: _ClassVar[int]
    EARLY_STOPPING_EPOCHS_FIELD_NUMBER: _ClassVar[int]
    artifact_types: _containers.RepeatedScalarFieldContainer[str]
    epochs: int
    validation_split: float
    learning_rate: float
    batch_size: int
    chunk_size_ms: int
    stride_ms: int
    seed: int
    base_model_id: str
    early_stopping_epochs: int
    def __init__(self, artifact_types: _Optional[_Iterable[str]] = ..., epochs: _Optional[int] = ..., validation_split: _Optional[float] = ..., learning_rate: _Optional[float] = ..., batch_size: _Optional[int] = ..., chunk_size_ms: _Optional[int] = ..., stride_ms: _Optional[int] = ..., seed: _Optional[int] = ..., base_model_id: _Optional[str] = ..., early_stopping_epochs: _Optional[int] = ...) -> None: ...
