"""Converts annotation sets and annotations between records and messages."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

from google.protobuf import json_format
from uuid_utils.compat import uuid7

from earmark.gateway.convert import values
from earmark.gateway.errors import FieldViolation, InvalidArgumentError
from earmark.storage.records import Annotation, AnnotationSet
from earmark.v1 import annotation_service_pb2 as pb

_STATUS_PREFIX = "ANNOTATION_SET_STATUS_"


def annotation_set_message(annotation_set: AnnotationSet) -> pb.AnnotationSet:
    """The annotation set as the API shows it."""
    totals = annotation_set.totals
    return pb.AnnotationSet(
        id=str(annotation_set.id),
        dataset_id=str(annotation_set.dataset_id),
        version=annotation_set.version,
        status=values.enum_number(pb.AnnotationSetStatus, _STATUS_PREFIX, annotation_set.status),
        total_annotations=sum(of_type.count for of_type in totals.values()),
        annotations_by_type={name: of_type.count for name, of_type in totals.items()},
        total_positive_duration_ms=sum(of_type.duration_ms for of_type in totals.values()),
        created_at=values.timestamp(annotation_set.created_at),
        published_at=values.timestamp(annotation_set.published_at),
        etag=values.etag(annotation_set.revision),
    )


def annotation_set_status_names(numbers: Iterable[int]) -> list[str]:
    """The stored names of statuses."""
    return values.enum_names(pb.AnnotationSetStatus, _STATUS_PREFIX, numbers)


def annotation_message(annotation: Annotation) -> pb.Annotation:
    """The annotation as the API shows it."""
    message = pb.Annotation(
        id=str(annotation.id),
        annotation_set_id=str(annotation.annotation_set_id),
        audio_file_id=str(annotation.audio_file_id),
        artifact_type=annotation.artifact_type,
        start_ms=annotation.start_ms,
        end_ms=annotation.end_ms,
        confidence=annotation.confidence,
        channel=annotation.channel,
        etag=values.etag(annotation.version),
    )
    if annotation.extra_data is not None:
        # Several times faster than json_format.ParseDict.
        message.extra_data.update(annotation.extra_data)
    return message


def annotation_records(set_id: UUID, batch: Sequence[pb.AnnotationSpec]) -> list[Annotation]:
    """Records, with new ids, of a batch of annotations. Raises as `_extra_data` does."""
    return [_annotation_record(set_id, index, new) for index, new in enumerate(batch)]


def edited_annotation(old: Annotation, new: pb.Annotation, paths: Collection[str]) -> Annotation:
    """`old` with those fields of `new` that `paths` names. Raises as `_extra_data` does."""
    values_of_new = {
        "artifact_type": new.artifact_type,
        "start_ms": new.start_ms,
        "end_ms": new.end_ms,
        "confidence": _confidence(new),
        "channel": _channel(new),
    }
    changed: dict[str, Any] = {name: value for name, value in values_of_new.items() if name in paths}
    if "extra_data" in paths:
        changed["extra_data"] = _extra_data(new, "annotation.extra_data")
    return replace(old, **changed)


def _confidence(message: pb.AnnotationSpec | pb.Annotation) -> float:
    """The annotator's confidence; 1 if the message has none."""
    return message.confidence if message.HasField("confidence") else 1.0


def _channel(message: pb.AnnotationSpec | pb.Annotation) -> int | None:
    return message.channel if message.HasField("channel") else None


def _extra_data(message: pb.AnnotationSpec | pb.Annotation, field: str) -> dict[str, Any] | None:
    """The annotation's extra data as it is stored; None if the message has none.

    Raises InvalidArgumentError, naming `field`, if it has numbers that JSON cannot represent.
    """
    if not message.HasField("extra_data"):
        return None
    try:
        value: dict[str, Any] = json_format.MessageToDict(message.extra_data)
    except ValueError:
        problem = "has a number that JSON cannot say: numbers must be finite"
        raise InvalidArgumentError([FieldViolation(field, problem)]) from None
    return value


def _annotation_record(set_id: UUID, index: int, new: pb.AnnotationSpec) -> Annotation:
    return Annotation(
        id=uuid7(),
        annotation_set_id=set_id,
        audio_file_id=UUID(new.audio_file_id),
        artifact_type=new.artifact_type,
        start_ms=new.start_ms,
        end_ms=new.end_ms,
        confidence=_confidence(new),
        extra_data=_extra_data(new, f"annotations[{index}].extra_data"),
        channel=_channel(new),
    )
