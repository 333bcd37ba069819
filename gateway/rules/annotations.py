"""The rules for annotations: pure functions from facts to the list of all violations."""

from collections.abc import Iterator, Sequence
from itertools import chain
from uuid import UUID

from earmark.gateway.errors import FieldViolation, Violation
from earmark.storage.queries.annotations import ROUNDING_MS, AnnotatedFile, Facts, OutsideAudio
from earmark.storage.records import Annotation


def of_new(dataset_id: UUID, new: Sequence[Annotation], facts: Facts) -> list[FieldViolation]:
    """The violations of a batch of new annotations, by index in the request. Empty if it may be added.

    Annotations of a file that is not decoded yet may be anywhere: publishing the set checks them.
    """
    violations: list[FieldViolation] = []
    for index, annotation in enumerate(new):
        path = f"annotations[{index}]."
        file = facts.files.get(annotation.audio_file_id)
        violations += _file(path, dataset_id, annotation.audio_file_id, file)
        violations += _type(path, annotation.artifact_type, facts.types)
        violations += _within(path, annotation.start_ms, annotation.end_ms, file)
        violations += _channel(path, annotation.channel, file)
    return violations


def of_edit(edited: Annotation, facts: Facts) -> list[FieldViolation]:
    """The violations of an annotation as an edit leaves it. Empty if it may be stored."""
    path, file = "annotation.", facts.files.get(edited.audio_file_id)
    return [
        *_type(path, edited.artifact_type, facts.types),
        *_ordered(path, edited.start_ms, edited.end_ms),
        *_within(path, edited.start_ms, edited.end_ms, file),
        *_channel(path, edited.channel, file),
    ]


def of_publishing(files: Sequence[AnnotatedFile], outside: Sequence[OutsideAudio]) -> list[Violation]:
    """The violations of publishing a set: annotations of unusable `files`, and those `outside` their file."""
    return [*map(_unusable, files), *chain.from_iterable(map(_outside, outside))]


def _file(
    path: str, dataset_id: UUID, audio_file_id: UUID, file: AnnotatedFile | None
) -> Iterator[FieldViolation]:
    field = f"{path}audio_file_id"
    if file is None:
        yield FieldViolation(
            field, f"dataset {dataset_id} has no audio file {audio_file_id}: choose one of ListAudioFiles"
        )
    elif file.processing_status == "failed":
        yield FieldViolation(
            field, f"audio file {file.id} failed ({file.error_message}): delete it and upload it again"
        )


def _type(path: str, artifact_type: str, types: Sequence[str]) -> Iterator[FieldViolation]:
    if artifact_type not in types:
        yield FieldViolation(
            f"{path}artifact_type",
            f"the dataset does not define {artifact_type!r} (it defines: {', '.join(types) or 'none'}): "
            "choose among those, or add the type with UpdateDataset",
        )


def _ordered(path: str, start_ms: int, end_ms: int) -> Iterator[FieldViolation]:
    """For edits, which may change only one of the two: the contract's rules check new annotations."""
    if end_ms <= start_ms:
        yield FieldViolation(f"{path}end_ms", f"end_ms ({end_ms}) must be after start_ms ({start_ms})")


def _within(path: str, start_ms: int, end_ms: int, file: AnnotatedFile | None) -> Iterator[FieldViolation]:
    """The duration is in whole milliseconds, rounded down: an end may have been rounded up."""
    if file is None or file.duration_ms == 0:
        return
    starts_past, ends_past = start_ms >= file.duration_ms, end_ms > file.duration_ms + ROUNDING_MS
    if starts_past or ends_past:
        field, value = ("end_ms", end_ms) if ends_past else ("start_ms", start_ms)
        yield FieldViolation(
            f"{path}{field}",
            f"{value} ms is beyond the end of audio file {file.id}, which lasts {file.duration_ms} ms",
        )


def _channel(path: str, channel: int | None, file: AnnotatedFile | None) -> Iterator[FieldViolation]:
    if channel is None or file is None or file.duration_ms == 0:
        return
    if channel >= file.channels:
        yield FieldViolation(
            f"{path}channel",
            f"audio file {file.id} has no channel {channel}: {_channels(file.channels)}; choose another, or "
            "leave channel out",
        )


def _channels(count: int) -> str:
    """Which channels a file with so many has, in words."""
    return f"its channels are 0 to {count - 1}" if count > 1 else "its only channel is 0"


def _unusable(file: AnnotatedFile) -> Violation:
    subject = f"audio_file/{file.id}"
    if file.processing_status == "failed":
        return Violation(
            "AUDIO_FAILED",
            subject,
            f"audio file {file.id} failed ({file.error_message}): delete it, and its annotations with it",
        )
    return Violation(
        "AUDIO_DECODED",
        subject,
        f"audio file {file.id} is {file.processing_status}, and its length is not known yet: "
        "follow it with WatchAudioFiles, then publish",
    )


def _outside(annotation: OutsideAudio) -> Iterator[Violation]:
    subject, file = f"annotation/{annotation.id}", f"audio file {annotation.audio_file_id}"
    remedy = "change it with UpdateAnnotation, or delete it"
    if (
        annotation.start_ms >= annotation.duration_ms
        or annotation.end_ms > annotation.duration_ms + ROUNDING_MS
    ):
        yield Violation(
            "WITHIN_AUDIO",
            subject,
            f"annotation {annotation.id} ends at {annotation.end_ms} ms, beyond the end of {file}, which "
            f"lasts {annotation.duration_ms} ms: {remedy}",
        )
    if annotation.channel is not None and annotation.channel >= annotation.channels:
        yield Violation(
            "CHANNEL_IN_AUDIO",
            subject,
            f"annotation {annotation.id} is in channel {annotation.channel}, which {file} does not have: "
            f"{_channels(annotation.channels)}; {remedy}",
        )
