"""Pages of lists: their sizes, and opaque tokens that are valid only for the list that issued them."""

import base64
import binascii
import hashlib
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeAlias, TypeVar
from uuid import UUID

from google.protobuf.message import Message

from earmark.gateway.errors import FieldViolation, InvalidArgumentError
from earmark.gateway.pieces import Pieces

DEFAULT_SIZE = 50
MAX_SIZE = 1000
# By default, a gRPC client accepts messages of up to 4 MiB.
PAGE_BYTES = 3 << 20
# How many rows are read first, when their size is not known, and how many at most at once.
FIRST_ROWS = 20
MOST_ROWS = 250
# Bytes of a row in the response in addition to its message: a tag of one byte and a length of at most four.
_ROW_BYTES = 5
_LARGEST_NUMBER = (1 << 31) - 1

Pair: TypeAlias = tuple[int, int]
Moment: TypeAlias = tuple[datetime, UUID]
Position = TypeVar("Position", UUID, int, str, Pair, Moment)
Row = TypeVar("Row")
M = TypeVar("M", bound=Message)


@dataclass(frozen=True, slots=True)
class PageRequest(Generic[Position]):
    """The start and size of a page.

    `after` is the position of the previous page's last row in the list's order, None for the first page.
    """

    size: int
    after: Position | None
    _fingerprint: str

    @staticmethod
    def of(request: Any) -> "PageRequest[UUID]":
        """Parses the request of a list in order of id.

        Raises InvalidArgumentError for a token of another list or other arguments.
        """
        return _parsed(request, _id)

    @staticmethod
    def by_number(request: Any) -> "PageRequest[int]":
        """Parses the request of a list in order of a number. Raises as `of` does."""
        return _parsed(request, _number)

    @staticmethod
    def by_pair(request: Any) -> "PageRequest[Pair]":
        """Parses the request of a list in order of two numbers. Raises as `of` does."""
        return _parsed(request, _pair)

    @staticmethod
    def by_name(request: Any) -> "PageRequest[str]":
        """Parses the request of a list in order of a name in printable ASCII. Raises as `of` does."""
        return _parsed(request, _name)

    @staticmethod
    def by_time(request: Any) -> "PageRequest[Moment]":
        """Parses the request of a list in order of a time and an id. Raises as `of` does."""
        return _parsed(request, _moment)

    async def page(
        self,
        read: Callable[[Position | None, int], Awaitable[Sequence[Row]]],
        message: Callable[[Row], M],
        position: Callable[[Row], Position],
    ) -> "Page[M]":
        """Reads and converts the page's rows. It ends before the row that would exceed PAGE_BYTES.

        `read` returns at most so many rows after a position. Large rows are read in small numbers, so that
        few are read in vain. `message` converts a row; `position` is its position in the list's order.
        """
        messages: list[M] = []
        after, room, count, pieces = self.after, PAGE_BYTES, FIRST_ROWS, Pieces()
        while True:
            count = min(count, self.size - len(messages))
            # One more row shows whether another page follows.
            rows = await read(after, count + 1)
            for row in rows[:count]:
                converted = message(row)
                room -= converted.ByteSize() + _ROW_BYTES
                if messages and room < 0:
                    return Page(messages, self._token(after))
                messages.append(converted)
                after = position(row)
                await pieces.next()
            if len(rows) <= count:
                return Page(messages, "")
            if len(messages) == self.size:
                return Page(messages, self._token(after))
            count = _fitting(room, PAGE_BYTES - room, len(messages))

    def _token(self, after: Position | None) -> str:
        text = json.dumps([self._fingerprint, after], default=str)
        return base64.urlsafe_b64encode(text.encode()).decode()


@dataclass(frozen=True, slots=True)
class Page(Generic[M]):
    """The messages of a page, and the token of the next page; the token is empty on the last page."""

    messages: Sequence[M]
    next_page_token: str


def _fitting(room: int, used: int, count: int) -> int:
    """How many more rows to read if `count` rows have `used` bytes of the page, and `room` bytes are left."""
    return max(1, min(MOST_ROWS, room * count // max(used, 1)))


def _parsed(request: Any, parse: Callable[[object], Position]) -> PageRequest[Position]:
    fingerprint = _fingerprint(request)
    after = _after(request.page_token, fingerprint, parse) if request.page_token else None
    return PageRequest(min(request.page_size or DEFAULT_SIZE, MAX_SIZE), after, fingerprint)


def _fingerprint(request: Any) -> str:
    """A hash of the request without page_size and page_token."""
    arguments = type(request)()
    arguments.CopyFrom(request)
    arguments.ClearField("page_size")
    arguments.ClearField("page_token")
    body = arguments.SerializeToString(deterministic=True)
    return hashlib.sha256(request.DESCRIPTOR.full_name.encode() + b"\0" + body).hexdigest()[:16]


def _id(value: object) -> UUID:
    return UUID(str(value))


def _number(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LARGEST_NUMBER:
        return value
    raise ValueError(value)


def _pair(value: object) -> Pair:
    if not isinstance(value, list):
        raise TypeError(value)
    first, second = value
    return _number(first), _number(second)


def _moment(value: object) -> Moment:
    if not isinstance(value, list):
        raise TypeError(value)
    time, id_ = value
    at = datetime.fromisoformat(time)
    if at.tzinfo is None:
        raise ValueError(value)
    return at, UUID(str(id_))


def _name(value: object) -> str:
    if isinstance(value, str) and value.isascii() and value.isprintable():
        return value
    raise ValueError(value)


def _after(token: str, fingerprint: str, parse: Callable[[object], Position]) -> Position:
    try:
        token_fingerprint, after = json.loads(base64.urlsafe_b64decode(token))
        if token_fingerprint == fingerprint:
            return parse(after)
    except (ValueError, TypeError, AttributeError, RecursionError, binascii.Error):
        pass
    raise InvalidArgumentError(
        [
            FieldViolation(
                "page_token",
                "not a token of this list with these arguments; pass next_page_token of the page before with "
                "all other arguments unchanged, or nothing for the first page",
            )
        ],
        reason="INVALID_PAGE_TOKEN",
    )
