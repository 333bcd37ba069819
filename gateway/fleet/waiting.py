"""Explains why a queued job waits, from its place in the queue and the trainers' slots."""

from dataclasses import dataclass
from datetime import datetime

from storage.queries.training import Place


@dataclass(frozen=True, slots=True)
class Waiting:
    """`waiting_for`: "trainer", "slot", "tenant" or "retry"; "unspecified" if the job is about to start."""

    place: int
    waiting_for: str
    message: str
    not_before: datetime | None


@dataclass(frozen=True, slots=True)
class Slots:
    """The training slots of the trainers that answer. `tried`: all entries of the settings."""

    tried: tuple[str, ...]
    answering: int
    total: int
    free: int


def waiting(place: Place, slots: Slots, running_limit: int | None) -> Waiting:
    """The first condition that must change before the job can start. `running_limit`: None for no limit."""
    if not place.is_due and place.not_before is not None:
        return Waiting(place.place, "retry", _retry_message(place.not_before), place.not_before)
    kind, message = _reason(place, slots, running_limit)
    return Waiting(place.place, kind, message, None)


def _reason(place: Place, slots: Slots, running_limit: int | None) -> tuple[str, str]:
    if not slots.answering:
        tried = f"tried {', '.join(slots.tried)}" if slots.tried else "none is configured"
        return "trainer", f"no trainer answers ({tried}): start one, or see its log"
    if running_limit is not None and place.turn > running_limit:
        return "tenant", (
            f"{running_limit} of your jobs may train at a time, and this one would be number {place.turn}: "
            "it begins when one of the others ends"
        )
    if not slots.total:
        return (
            "trainer",
            f"{_trainers_have(slots)} no training slot yet: a process is starting; see the trainer's log",
        )
    if slots.free < place.place:
        taken, before = slots.total - slots.free, place.place - 1
        return "slot", (
            f"{taken} of {slots.total} training slots are taken, and {before} "
            f"{'job comes' if before == 1 else 'jobs come'} first"
        )
    return "unspecified", "about to be given to a trainer"


def _trainers_have(slots: Slots) -> str:
    return (
        "the trainer that answers has"
        if slots.answering == 1
        else f"the {slots.answering} trainers that answer have"
    )


def _retry_message(not_before: datetime) -> str:
    at = not_before.strftime("%H:%M:%S UTC")
    return f"its trainer was lost: the next attempt may begin at {at}"
