"""The rules for changes of audio files. Each function raises the error that the caller sees."""

from collections.abc import Sequence
from uuid import UUID

from earmark.gateway.errors import PreconditionError, Violation


def check_no_job(unfinished_jobs: Sequence[UUID]) -> None:
    """Raises PreconditionError, with one violation for each unfinished job of the dataset."""
    if unfinished_jobs:
        raise PreconditionError("IN_USE", [*map(_training, unfinished_jobs)])


def _training(job_id: UUID) -> Violation:
    return Violation(
        "IN_USE",
        f"training_job/{job_id}",
        f"training job {job_id} is not finished, and divides the audio by its groups: cancel it or wait for "
        "its end",
    )
