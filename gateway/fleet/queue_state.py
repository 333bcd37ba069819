"""Explains why a queued job waits, from its place in the queue and the trainers' slots."""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime

from earmark.storage.records import QueuePlace


@dataclass(frozen=True, slots=True)
class QueueState:
    """`reason`: the name of a WaitReason in lower case, without its prefix."""

    place: int
    reason: str
    message: str
    not_before: datetime | None


@dataclass(frozen=True, slots=True)
class Slots:
    """The number of trainers that answer, their training slots, and the versions of their front ends."""

    answering: int
    total: int
    free: int
    frontends: AbstractSet[str]


def queue_state(place: QueuePlace, slots: Slots, running_limit: int | None) -> QueueState:
    """The first condition that must change before the job can start. `running_limit`: None for no limit.

    Tenants see it, so it names no trainer, and counts no jobs of others.
    """
    if not place.is_due and place.not_before is not None:
        return QueueState(place.place, "backoff", _backoff_message(place.not_before), place.not_before)
    reason, message = _reason(place, slots, running_limit)
    return QueueState(place.place, reason, message, None)


def _reason(place: QueuePlace, slots: Slots, running_limit: int | None) -> tuple[str, str]:
    if not slots.answering:
        return "no_trainer", "no trainer answers: the job starts when one does"
    if running_limit is not None and place.turn > running_limit:
        return "tenant_limit", (
            f"{running_limit} of your jobs may train at a time, and this one would be number {place.turn}: "
            "it begins when one of the others ends"
        )
    if not slots.total:
        return "no_trainer", "no trainer has a training slot yet: they are starting"
    if left := _outdated_files(place, slots):
        return "features", (
            f"the features of {left} of its files are of another front end than the trainers': they are "
            "computed again once all trainers have the same one, and the job begins when none is left"
        )
    if slots.free < place.overall_place:
        return "no_free_slot", _no_free_slot_message(place.place - 1)
    return "starting", "about to be given to a trainer"


def _outdated_files(place: QueuePlace, slots: Slots) -> int:
    """The number of files whose features must be computed again before one of the trainers can begin."""
    files = sum(place.files_by_frontend.values())
    return min(files - place.files_by_frontend.get(frontend, 0) for frontend in slots.frontends)


def _no_free_slot_message(own_jobs_before: int) -> str:
    message = "every training slot is taken or goes to a job that comes first"
    if not own_jobs_before:
        return message
    return f"{message}; {own_jobs_before} of these {'is' if own_jobs_before == 1 else 'are'} yours"


def _backoff_message(not_before: datetime) -> str:
    at = not_before.strftime("%H:%M:%S UTC")
    return f"its trainer was lost: the next attempt may begin at {at}"
