"""The prerequisites of an evaluation: pure functions from facts to violations."""

from collections.abc import Iterator, Sequence

from earmark.gateway.errors import FieldViolation, InvalidArgumentError, PreconditionError, Violation
from earmark.storage.records import AnnotationSet, DetectionJob


def check_comparable(annotated: AnnotationSet, *jobs: DetectionJob) -> None:
    """Raises PreconditionError unless these jobs can be compared with this set."""
    _raise([*_searched(*jobs), *_same_dataset(annotated, jobs[0]), *_published(annotated)])


def check_markable(marked: AnnotationSet | None, *jobs: DetectionJob) -> None:
    """Raises PreconditionError unless these jobs can say which files to mark next in this set."""
    _raise([*_searched(*jobs), *(_same_dataset(marked, jobs[0]) if marked is not None else ())])


def shared_types(first: Sequence[str], second: Sequence[str]) -> list[str]:
    """The types that both models have. Raises InvalidArgumentError if there are none."""
    shared = [name for name in first if name in second]
    if not shared:
        description = (
            f"its model has {', '.join(second)}, but that of the first job has {', '.join(first)}: "
            "choose jobs whose models have a type in common"
        )
        raise InvalidArgumentError([FieldViolation("other_detection_job_id", description)])
    return shared


def _searched(*jobs: DetectionJob) -> Iterator[Violation]:
    for job in jobs:
        subject = f"detection_job/{job.id}"
        if job.status != "completed":
            description = f"detection job {job.id} is {job.status}: only a completed one can be evaluated"
            yield Violation("WRONG_STATE", subject, description)
        if job.dataset_id is None:
            description = (
                f"detection job {job.id} searched no dataset, so its files have no annotations: "
                "create one with a dataset_id"
            )
            yield Violation("SAME_DATASET", subject, description)
        elif job.dataset_id != jobs[0].dataset_id:
            description = f"detection job {job.id} searched another dataset than detection job {jobs[0].id}"
            yield Violation("SAME_DATASET", subject, description)


def _same_dataset(annotated: AnnotationSet, job: DetectionJob) -> Iterator[Violation]:
    if job.dataset_id not in (None, annotated.dataset_id):
        yield Violation(
            "SAME_DATASET",
            f"annotation_set/{annotated.id}",
            f"annotation set {annotated.id} belongs to dataset {annotated.dataset_id}, but detection job "
            f"{job.id} searched {job.dataset_id}: choose a set of this dataset",
        )


def _published(annotated: AnnotationSet) -> Iterator[Violation]:
    if annotated.status != "published":
        yield Violation(
            "ANNOTATION_SET_PUBLISHED",
            f"annotation_set/{annotated.id}",
            f"annotation set {annotated.id} (version {annotated.version}) is a {annotated.status}: "
            "publish it first with PublishAnnotationSet",
        )


def _raise(violations: list[Violation]) -> None:
    if violations:
        raise PreconditionError("PREREQUISITES_NOT_MET", violations)
