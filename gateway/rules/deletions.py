"""What prevents a deletion for good: pure functions from what would be deleted to the list of violations."""

from collections.abc import Sequence
from uuid import UUID

from earmark.gateway.errors import PreconditionError, ResourceType, Violation
from earmark.storage.queries.deletions import Removal


def check_deletable(
    removal: Removal,
    unfinished_jobs: Sequence[UUID],
    unfinished_searches: Sequence[UUID] = (),
    *,
    force: bool,
) -> None:
    """Raises PreconditionError, with one violation for each resource that is still needed.

    Unfinished jobs of both kinds always prevent a deletion. What is published or finished does so unless
    `force` is set.
    """
    violations = [*map(_unfinished, unfinished_jobs), *map(_unfinished_search, unfinished_searches)]
    if not force:
        violations += _finished(removal, frozenset(unfinished_jobs))
    if violations:
        raise PreconditionError("IN_USE", violations)


def _unfinished(job_id: UUID) -> Violation:
    return _violation(
        "training_job", job_id, f"training job {job_id} is not finished: cancel it or wait for its end"
    )


def _unfinished_search(job_id: UUID) -> Violation:
    return _violation(
        "detection_job", job_id, f"detection job {job_id} is not finished: cancel it or wait for its end"
    )


def _finished(removal: Removal, unfinished_jobs: frozenset[UUID]) -> list[Violation]:
    return [
        *(
            _violation("annotation_set", set_id, f"annotation set {set_id} is published: set force")
            for set_id in removal.published_set_ids
        ),
        *(
            _violation("training_job", job_id, f"training job {job_id} used it: set force to delete it too")
            for job_id in removal.job_ids
            if job_id not in unfinished_jobs
        ),
        *(
            _violation("model", model_id, f"model {model_id} comes from it: set force to delete it too")
            for model_id in removal.model_ids
        ),
        *(
            _violation("model_alias", alias, f"{alias} names one of its models: set force to remove it too")
            for alias in removal.aliases
        ),
    ]


def _violation(kind: ResourceType, resource_id: UUID | str, description: str) -> Violation:
    return Violation("IN_USE", f"{kind}/{resource_id}", description)
