"""What must hold for annotations: pure functions from facts to violations, every one of them."""

from collections.abc import Iterator, Sequence
from uuid import UUID

from gateway.errors import FieldViolation, Violation
from storage.queries.annotations import Facts, MarkedFile, Misplaced
from storage.records import Annotation


def of_new(dataset_id: UUID, new: Sequence[Annotation], facts: Facts) -> list[FieldViolation]:
    """What forbids adding annotations, by their index in the request. Empty where they may be added.

    An annotation of a file that is not decoded yet may lie anywhere: its end is checked when the set is
    published.
    """
    found: list[FieldViolation] = []
    for index, annotation in enumerate(new):
        path = f"annotations[{index}]."
        file = facts.files.get(annotation.audio_file_id)
        found += _file(path, dataset_id, annotation.audio_file_id, file)
        found += _type(path, annotation.artifact_type, facts.types)
        found += _end(path, annotation.end_ms, file)
    return found


def of_update(
    artifact_type: str, end_ms: int, file: MarkedFile | None, types: Sequence[str]
) -> list[FieldViolation]:
    """What forbids replacing an annotation of `file`."""
    return [*_type("", artifact_type, types), *_end("", end_ms, file)]


def of_publishing(files: Sequence[MarkedFile], marks: Sequence[Misplaced]) -> list[Violation]:
    """What forbids publishing a set with annotations in unusable `files`, and with `marks` beyond the end."""
    return [*map(_unusable, files), *map(_beyond, marks)]


def _file(
    path: str, dataset_id: UUID, audio_file_id: UUID, file: MarkedFile | None
) -> Iterator[FieldViolation]:
    field = f"{path}audio_file_id"
    if file is None:
        yield FieldViolation(
            field, f"dataset {dataset_id} has no audio file {audio_file_id}: choose one of ListAudioFiles"
        )
    elif file.processing_status == "failed":
        yield FieldViolation(
            field, f"audio file {file.id} failed ({file.error_message}): delete it and upload it anew"
        )


def _type(path: str, artifact_type: str, types: Sequence[str]) -> Iterator[FieldViolation]:
    if artifact_type not in types:
        yield FieldViolation(
            f"{path}artifact_type",
            f"the dataset does not define {artifact_type!r} (it defines: {', '.join(types) or 'none'}): "
            "choose among those, or add the type with UpdateDataset",
        )


def _end(path: str, end_ms: int, file: MarkedFile | None) -> Iterator[FieldViolation]:
    if file and 0 < file.duration_ms < end_ms:
        yield FieldViolation(
            f"{path}end_ms",
            f"{end_ms} ms is beyond the end of audio file {file.id}, which lasts {file.duration_ms} ms",
        )


def _unusable(file: MarkedFile) -> Violation:
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


def _beyond(mark: Misplaced) -> Violation:
    return Violation(
        "WITHIN_AUDIO",
        f"annotation/{mark.id}",
        f"annotation {mark.id} ends at {mark.end_ms} ms, beyond the end of audio file {mark.audio_file_id}, "
        f"which lasts {mark.duration_ms} ms: change it with UpdateAnnotation, or delete it",
    )
