"""What was found beside what was planted, by the rule that the metrics count with."""

from collections.abc import Sequence
from typing import Protocol

from rich.table import Table

_COLLAR_MS = 200


class Event(Protocol):
    """An artifact's type and place."""

    @property
    def artifact_type(self) -> str:
        """Its type."""

    @property
    def start_ms(self) -> int:
        """Onset."""

    @property
    def end_ms(self) -> int:
        """Offset."""


class Detected(Event, Protocol):
    """An artifact that was found."""

    @property
    def confidence(self) -> float:
        """Between 0 and 1."""


def pair(truth: Sequence[Event], found: Sequence[Detected]) -> list[tuple[Event | None, Detected | None]]:
    """Pair each true event with the nearest detection of its type within the collar, by time.

    The onset may be off by 200 ms, the offset by 200 ms or half the event, whichever is larger. An event
    that was missed has no detection, a false detection no event.
    """
    left = list(found)
    pairs: list[tuple[Event | None, Detected | None]] = []
    for event in truth:
        near = [one for one in left if _matches(event, one)]
        best = min(near, key=lambda one: abs(one.start_ms - event.start_ms), default=None)
        if best is not None:
            left.remove(best)
        pairs.append((event, best))
    pairs += [(None, one) for one in left]
    return sorted(pairs, key=lambda both: min(one.start_ms for one in both if one))


def comparison_table(pairs: Sequence[tuple[Event | None, Detected | None]]) -> Table:
    """Return one row for each event and each false detection."""
    table = Table()
    for name in ("artifact type", "planted", "found"):
        table.add_column(name, no_wrap=True)
    table.add_column("confidence", justify="right")
    table.add_column("")
    for event, one in pairs:
        table.add_row(
            event.artifact_type if event else one.artifact_type if one else "",
            _place(event),
            _place(one),
            f"{one.confidence:.2f}" if one else "",
            _verdict(event, one),
        )
    return table


def tally(pairs: Sequence[tuple[Event | None, Detected | None]]) -> str:
    """Return how many were found, missed and false, in words."""
    matched = sum(event is not None and one is not None for event, one in pairs)
    false = sum(event is None for event, _ in pairs)
    return f"{matched} of {len(pairs) - false} found, {len(pairs) - false - matched} missed, {false} false"


def _matches(event: Event, found: Detected) -> bool:
    return (
        event.artifact_type == found.artifact_type
        and abs(event.start_ms - found.start_ms) <= _COLLAR_MS
        and abs(event.end_ms - found.end_ms) <= max(_COLLAR_MS, (event.end_ms - event.start_ms) / 2)
    )


def _place(event: Event | None) -> str:
    return f"{event.start_ms / 1000:6.2f} - {event.end_ms / 1000:5.2f} s" if event else ""


def _verdict(event: Event | None, found: Detected | None) -> str:
    if event is None:
        return "[yellow]false[/yellow]"
    return "[red]missed[/red]" if found is None else "[green]found[/green]"
