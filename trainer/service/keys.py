"""The objects that a call may use: those whose keys its gateway has granted, and no others."""

import re
from collections.abc import Iterable
from contextvars import ContextVar
from dataclasses import dataclass

from earmark.grants import covers
from earmark.trainer.service.errors import CallError

# A part of a key, none of which can lead upwards.
_PART = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")
_UPLOAD = "source"
_SHOWN_CHARACTERS = 100


@dataclass(frozen=True, slots=True)
class Granted:
    """The prefixes of the keys that the call may read, and of those that it may write."""

    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()


_NOTHING = Granted()
_granted: ContextVar[Granted] = ContextVar("granted", default=_NOTHING)


def set_granted(granted: Granted) -> None:
    """Begins a call. Without this, none of its keys is granted."""
    _granted.set(granted)


def check_read(**keys: str) -> None:
    """Raises CallError for a key that the call may not read. The names are those of the fields."""
    for field, key in keys.items():
        _check("read", _granted.get().reads, field, key)


def check_written(**keys: str) -> None:
    """Raises CallError for a key that the call may not write, or that is named twice.

    Uploads are never written, whatever is granted.
    """
    for field, key in keys.items():
        _check("write", _granted.get().writes, field, key)
        if key.rpartition("/")[2] == _UPLOAD or list(keys.values()).count(key) > 1:
            raise CallError(
                "INVALID_FIELD", f"{field} is {key!r}, which is not of an object of its own", field
            )


def _check(use: str, prefixes: Iterable[str], field: str, key: str) -> None:
    if not all(map(_PART.fullmatch, key.split("/"))):
        raise CallError("INVALID_FIELD", f"{field} is {key[:_SHOWN_CHARACTERS]!r}, which is no key", field)
    if not covers(prefixes, key):
        raise CallError(
            "NOT_GRANTED",
            f"{field} is {key[:_SHOWN_CHARACTERS]!r}, which the grant of this call does not let it {use}",
            field,
        )
