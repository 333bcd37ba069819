"""Compares detections with the planted artifacts, by the same rule as the metrics."""

from collections.abc import Sequence
from typing import Protocol

from rich.table import Table

_COLLAR_MS = 200


class Event(Protocol):
    """An artifact in a recording, planted or detected."""

    @property
    def artifact_type(self) -> str:
        """The type of the artifact."""

    @property
    def start_ms(self) -> int:
        """Onset, in ms."""

    @property
    def end_ms(self) -> int:
        """Offset, in ms."""


class Detected(Event, Protocol):
    """A detection with its confidence."""

    @property
    def confidence(self) -> float:
        """Between 0 and 1."""


def pair(
    truth: Sequence[Event], detections: Sequence[Detected]
) -> list[tuple[Event | None, Detected | None]]:
    """Return pairs of each true event and the nearest detection of its type within the collar, by time.

    The onset may be off by 200 ms, the offset by 200 ms or half the event, whichever is larger. A missed
    event has no detection, and a false detection has no event.
    """
    unmatched = list(detections)
    pairs: list[tuple[Event | None, Detected | None]] = []
    for event in truth:
        near = [one for one in unmatched if _matches(event, one)]
        best = min(near, key=lambda one: abs(one.start_ms - event.start_ms), default=None)
        if best is not None:
            unmatched.remove(best)
        pairs.append((event, best))
    pairs += [(None, one) for one in unmatched]
    return sorted(pairs, key=lambda both: min(one.start_ms for one in both if one))


def comparison_table(pairs: Sequence[tuple[Event | None, Detected | None]]) -> Table:
    """Return a table with one row for each event and for each false detection."""
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
    """Return the counts as text: `9 of 9 found, 0 missed, 0 false`."""
    matched = sum(event is not None and one is not None for event, one in pairs)
    false = sum(event is None for event, _ in pairs)
    return f"{matched} of {len(pairs) - false} found, {len(pairs) - false - matched} missed, {false} false"


def _matches(event: Event, detection: Detected) -> bool:
    return (
        event.artifact_type == detection.artifact_type
        and abs(event.start_ms - detection.start_ms) <= _COLLAR_MS
        and abs(event.end_ms - detection.end_ms) <= max(_COLLAR_MS, (event.end_ms - event.start_ms) / 2)
    )


def _place(event: Event | None) -> str:
    return f"{event.start_ms / 1000:6.2f} - {event.end_ms / 1000:5.2f} s" if event else ""


def _verdict(event: Event | None, detection: Detected | None) -> str:
    if event is None:
        return "[yellow]false[/yellow]"
    return "[red]missed[/red]" if detection is None else "[green]found[/green]"
