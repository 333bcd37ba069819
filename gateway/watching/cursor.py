"""The cursor of a watch of many things: an event of the tenant's log."""

import base64
import struct
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from earmark.gateway.errors import CursorOutOfRangeError, FieldViolation, InvalidArgumentError
from earmark.storage.queries.events import LogEnd, LogPage
from earmark.storage.records import Event

_PACKED = struct.Struct("!QQQ")
# Of the database.
_LARGEST_NUMBER = (1 << 63) - 1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Cursor:
    """An event's number and time, 0 and 0 before all events, and how far the log was compacted at that time.

    `time` is in microseconds since 1970. It identifies the event: a log that was restored from a backup gives
    the number to another event.
    """

    sequence: int
    time: int
    compacted: int

    @classmethod
    def at(cls, event: Event, compacted: int) -> "Cursor":
        """The cursor after the event."""
        return cls(event.sequence, _microseconds(event.time), compacted)

    @classmethod
    def at_end(cls, end: LogEnd) -> "Cursor":
        """The cursor after the last event."""
        return cls(end.last_sequence, _microseconds(end.time or _EPOCH), end.compacted_sequence)

    @classmethod
    def parse(cls, text: str) -> "Cursor":
        """Parses the output of `str`. Raises InvalidArgumentError."""
        try:
            numbers = _PACKED.unpack(base64.b64decode(text, altchars=b"-_", validate=True))
        except (ValueError, struct.error):
            raise _not_a_cursor() from None
        if max(numbers) > _LARGEST_NUMBER:
            raise _not_a_cursor()
        return cls(*numbers)

    def __str__(self) -> str:
        packed = _PACKED.pack(self.sequence, self.time, self.compacted)
        return base64.urlsafe_b64encode(packed).decode()

    def check(self, page: LogPage) -> None:
        """Raises CursorOutOfRangeError unless `page`, read after this cursor, has all events after it."""
        first = page.first
        is_removed = first is None and self.sequence <= page.compacted_sequence
        if not is_removed and (first is None or self.time != _microseconds(first.time)) and self.sequence:
            raise _out_of_range("belongs to another log, or to one that was restored from a backup since")
        if self.sequence < page.compacted_sequence != self.compacted:
            raise _out_of_range("is too old: events after it were removed for their age")


def _not_a_cursor() -> InvalidArgumentError:
    return InvalidArgumentError(
        [FieldViolation("after_cursor", "not a cursor; pass that of the last response")]
    )


def _microseconds(time: datetime) -> int:
    return (time - _EPOCH) // timedelta(microseconds=1)


def _out_of_range(why: str) -> CursorOutOfRangeError:
    return CursorOutOfRangeError(
        f"the cursor {why}; set from_start for all events that are kept, or watch from now on "
        "and then list the resources as they are"
    )
