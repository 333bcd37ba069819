"""Pages of lists: sizes, and opaque tokens that are bound to the list they belong to."""

import base64
import binascii
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from uuid import UUID

from gateway.errors import FieldViolation, InvalidArgumentError

DEFAULT_SIZE = 50
MAX_SIZE = 1000

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class PageRequest:
    """Where a page starts and how long it is. `after`: the last id of the page before, None for the first."""

    size: int
    after: UUID | None
    _list: str

    @classmethod
    def of(cls, request: Any) -> "PageRequest":
        """From a List request. Raises InvalidArgumentError for a token of another list or other arguments."""
        name = _fingerprint(request)
        after = _after(request.page_token, name) if request.page_token else None
        return cls(min(request.page_size or DEFAULT_SIZE, MAX_SIZE), after, name)

    @property
    def limit(self) -> int:
        """Rows to read: one more than the page holds tells whether another page follows."""
        return self.size + 1

    def cut(self, rows: Sequence[Row], key: Callable[[Row], UUID]) -> "Page[Row]":
        """The page, from `limit` rows or fewer."""
        if len(rows) <= self.size:
            return Page(rows, "")
        rows = rows[: self.size]
        token = json.dumps([self._list, str(key(rows[-1]))]).encode()
        return Page(rows, base64.urlsafe_b64encode(token).decode())


@dataclass(frozen=True, slots=True)
class Page(Generic[Row]):
    """Some rows, and the token of the page behind them; empty on the last page."""

    rows: Sequence[Row]
    next_page_token: str


def _fingerprint(request: Any) -> str:
    """The same for requests that differ in page_size and page_token alone."""
    arguments = type(request)()
    arguments.CopyFrom(request)
    arguments.ClearField("page_size")
    arguments.ClearField("page_token")
    body = arguments.SerializeToString(deterministic=True)
    return hashlib.sha256(request.DESCRIPTOR.full_name.encode() + b"\0" + body).hexdigest()[:16]


def _after(token: str, name: str) -> UUID:
    try:
        of_list, after = json.loads(base64.urlsafe_b64decode(token))
        if of_list == name:
            return UUID(after)
    except (ValueError, TypeError, AttributeError, binascii.Error):
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
