"""Converts evaluations to messages."""

from collections.abc import Collection, Iterator
from uuid import UUID

from earmark.gateway.convert import values
from earmark.gateway.evaluation.comparison import Difference, differences
from earmark.gateway.evaluation.errors import Error
from earmark.gateway.evaluation.marking import Disagreement, Uncertainty
from earmark.gateway.evaluation.tally import Tally
from earmark.metrics_messages import to_interval, to_metrics
from earmark.v1 import evaluation_pb2 as pb

_KIND_PREFIX = "EVALUATION_ERROR_KIND_"


def evaluation_response(tally: Tally, failed_files: int) -> pb.EvaluateDetectionJobResponse:
    """The figures of all files that were counted."""
    return pb.EvaluateDetectionJobResponse(
        metrics=to_metrics(tally.metrics()),
        confusion=_confusion_rows(tally),
        evaluated_files=tally.files,
        unannotated_files=tally.unannotated_files,
        failed_files=failed_files,
    )


def evaluation_error_message(file_id: UUID, filename: str, error: Error) -> pb.EvaluationError:
    """The error as the API shows it."""
    return pb.EvaluationError(
        file_id=str(file_id),
        filename=filename,
        kind=values.enum_number(pb.EvaluationErrorKind, _KIND_PREFIX, error.kind),
        artifact_type=error.artifact_type,
        start_ms=error.start_ms,
        end_ms=error.end_ms,
        confidence=error.confidence,
        other_type=error.other_type,
    )


def comparison_response(first: Tally, second: Tally, total_files: int) -> pb.CompareDetectionJobsResponse:
    """The figures of both, and how they differ. `total_files` are those of the first job."""
    *of_types, micro, macro = map(_difference, differences(first.by_file(), second.by_file()))
    return pb.CompareDetectionJobsResponse(
        metrics=to_metrics(first.metrics()),
        other_metrics=to_metrics(second.metrics()),
        micro=micro,
        macro=macro,
        per_type=dict(zip(first.types, of_types, strict=True)),
        compared_files=first.files,
        left_out_files=total_files - first.files,
    )


def file_to_mark_message(
    file_id: UUID, filename: str, duration_ms: int, score: float, reason: Uncertainty | Disagreement
) -> pb.FileToMark:
    """The file as the API shows it."""
    message = pb.FileToMark(file_id=str(file_id), filename=filename, duration_ms=duration_ms, score=score)
    if isinstance(reason, Uncertainty):
        message.uncertainty.detection_count = reason.detections
        message.uncertainty.total = reason.total
    else:
        message.disagreement.only_first = reason.only_first
        message.disagreement.only_other = reason.only_second
        message.disagreement.both = reason.both
    return message


def error_kind_names(numbers: Collection[int]) -> list[str]:
    """The names of kinds of errors."""
    return values.enum_names(pb.EvaluationErrorKind, _KIND_PREFIX, numbers)


def _confusion_rows(tally: Tally) -> Iterator[pb.ConfusionRow]:
    for annotated_type, (*counts, missed) in zip([*tally.names, ""], tally.confusion.tolist(), strict=True):
        detected = {name: count for name, count in zip(tally.names, counts, strict=True) if count}
        if detected or missed:
            yield pb.ConfusionRow(
                annotated_type=annotated_type, detected_counts=detected, missed_count=missed
            )


def _difference(difference: Difference) -> pb.F1Difference:
    return pb.F1Difference(
        difference=difference.value,
        interval=to_interval(difference.interval),
        first_better_share=difference.first_better,
    )
