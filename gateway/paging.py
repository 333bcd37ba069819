"""Pages of lists: their sizes, and opaque tokens that are valid only for the list that issued them."""

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
    """The start and size of a page. `after` is the last id of the previous page, None for the first page."""

    size: int
    after: UUID | None
    _fingerprint: str

    @classmethod
    def of(cls, request: Any) -> "PageRequest":
        """Parses a List request. Raises InvalidArgumentError for a token of another list or arguments."""
        fingerprint = _fingerprint(request)
        after = _after(request.page_token, fingerprint) if request.page_token else None
        return cls(min(request.page_size or DEFAULT_SIZE, MAX_SIZE), after, fingerprint)

    @property
    def limit(self) -> int:
        """Number of rows to read: one more than the page size shows whether another page follows."""
        return self.size + 1

    def cut(self, rows: Sequence[Row], key: Callable[[Row], UUID]) -> "Page[Row]":
        """The page made of at most `limit` rows; `key` returns the id that the next page starts after."""
        if len(rows) <= self.size:
            return Page(rows, "")
        rows = rows[: self.size]
        token = json.dumps([self._fingerprint, str(key(rows[-1]))]).encode()
        return Page(rows, base64.urlsafe_b64encode(token).decode())


@dataclass(frozen=True, slots=True)
class Page(Generic[Row]):
    """The rows of a page, and the token of the next page; the token is empty on the last page."""

    rows: Sequence[Row]
    next_page_token: str


def _fingerprint(request: Any) -> str:
    """A hash of the request without page_size and page_token."""
    arguments = type(request)()
    arguments.CopyFrom(request)
    arguments.ClearField("page_size")
    arguments.ClearField("page_token")
    body = arguments.SerializeToString(deterministic=True)
    return hashlib.sha256(request.DESCRIPTOR.full_name.encode() + b"\0" + body).hexdigest()[:16]


def _after(token: str, fingerprint: str) -> UUID:
    try:
        token_fingerprint, after = json.loads(base64.urlsafe_b64decode(token))
        if token_fingerprint == fingerprint:
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
