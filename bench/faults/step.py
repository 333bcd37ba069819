"""One step of a plan of faults."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Step:
    """A planned fault, `gap` seconds after the one before.

    `kind`: what happens; `target_kind`: the kind of a process, a link or the store; `choice`: a number from 0
    to 1 that selects the target among those of this kind; `seconds`: how long the fault lasts, or how long a
    process stays down.
    """

    kind: str
    target_kind: str
    choice: float
    gap: float
    seconds: float
