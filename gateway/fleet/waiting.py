"""Why a queued job waits, from the queue's facts and the trainers'."""

from dataclasses import dataclass
from datetime import datetime

from storage.queries.training import Place


@dataclass(frozen=True, slots=True)
class Waiting:
    """`waiting_for`: "trainer", "slot", "tenant" or "retry"; "unspecified" where it is about to begin."""

    place: int
    waiting_for: str
    message: str
    not_before: datetime | None


@dataclass(frozen=True, slots=True)
class Slots:
    """Training slots of the trainers that answer, out of those that were `tried`."""

    tried: tuple[str, ...]
    answering: int
    total: int
    free: int


def waiting(place: Place, slots: Slots, running_limit: int | None) -> Waiting:
    """The first of what keeps the job that has to change before it can begin."""
    if not place.is_due and place.not_before is not None:
        return Waiting(place.place, "retry", _retry(place.not_before), place.not_before)
    kind, message = _reason(place, slots, running_limit)
    return Waiting(place.place, kind, message, None)


def _reason(place: Place, slots: Slots, running_limit: int | None) -> tuple[str, str]:
    if not slots.answering:
        tried = ", ".join(slots.tried) or "none is configured"
        return "trainer", f"no trainer answers (tried {tried}): start one, or see its log"
    if running_limit is not None and place.turn > running_limit:
        return "tenant", (
            f"{running_limit} of your jobs may train at a time, and this one would be number {place.turn}: "
            "it begins when one of the others ends"
        )
    if not slots.total:
        return (
            "trainer",
            f"{_trainers(slots)} no training slot yet: a process is starting; see the trainer's log",
        )
    if slots.free < place.place:
        taken = slots.total - slots.free
        return "slot", (
            f"{taken} of {slots.total} training slots are taken, and {place.place - 1} "
            f"job{'' if place.place == 2 else 's'} come first"  # noqa: PLR2004
        )
    return "unspecified", "about to be given to a trainer"


def _trainers(slots: Slots) -> str:
    return (
        "the trainer that answers has"
        if slots.answering == 1
        else f"the {slots.answering} trainers that answer have"
    )


def _retry(not_before: datetime) -> str:
    at = not_before.strftime("%H:%M:%S UTC")
    return f"its trainer was lost: the next attempt may begin at {at}"
