"""Converts audio files between records and messages."""

from collections.abc import Iterable

from earmark.gateway.convert import values
from earmark.storage.records import AudioFile, Event
from earmark.v1 import audio_service_pb2 as pb

_STATUS_PREFIX = "AUDIO_PROCESSING_STATUS_"
_EVENT_KIND_PREFIX = "AUDIO_FILE_EVENT_KIND_"


def audio_file_message(audio_file: AudioFile) -> pb.AudioFile:
    """The audio file as the API shows it."""
    return pb.AudioFile(
        id=str(audio_file.id),
        dataset_id=str(audio_file.dataset_id),
        original_filename=audio_file.original_filename,
        content_type=audio_file.content_type,
        group=audio_file.group,
        size_bytes=audio_file.size_bytes,
        sha256=audio_file.sha256,
        duration_ms=audio_file.duration_ms,
        sample_rate_hz=audio_file.sample_rate_hz,
        channels=audio_file.channels,
        processing_status=values.enum_number(
            pb.AudioProcessingStatus, _STATUS_PREFIX, audio_file.processing_status
        ),
        error_message=audio_file.error_message,
        created_at=values.timestamp(audio_file.created_at),
        updated_at=values.timestamp(audio_file.updated_at),
        etag=values.etag(audio_file.revision),
    )


def audio_file_event_message(event: Event) -> pb.AudioFileEvent:
    """The event as watchers receive it."""
    message = values.from_json(event.body, pb.AudioFileEvent)
    if event.resource == "audio_file":
        message.audio_file_id = str(event.resource_id)
    message.dataset_id = str(event.dataset_id)
    message.time.FromDatetime(event.time)
    return message


def audio_file_event_kind_names(numbers: Iterable[int]) -> list[str]:
    """The fields of AudioFileEvent's oneof of these kinds."""
    return values.enum_names(pb.AudioFileEventKind, _EVENT_KIND_PREFIX, numbers)


def audio_status_names(numbers: Iterable[int]) -> list[str]:
    """The stored names of processing statuses."""
    return values.enum_names(pb.AudioProcessingStatus, _STATUS_PREFIX, numbers)
