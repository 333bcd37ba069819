"""Objects outside of Earmark's own store that detection jobs may search where they are.

An operator names the places; a caller names an object below one of them by its URI. A URI is taken as it is
written: %XX is no escape. In a folder, no link below the place is followed.
"""

import asyncio
import os
import stat
from collections.abc import AsyncIterator
from datetime import timedelta
from errno import ELOOP
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import unquote

import obstore
from obstore.exceptions import BaseError
from obstore.store import ObjectStore as Backend
from obstore.store import from_url

from earmark.storage.objects import NOT_FOUND, PART_BYTES, one_line

if TYPE_CHECKING:
    from obstore.store import RetryConfig

EXPECTED = "file:///FOLDER, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX"
_SCHEMES = ("file", "s3", "gs", "az")
_HOST_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ._-")
# What a reply has in its text if it is the bucket that is missing.
_NO_BUCKET = ("NoSuchBucket", "bucket does not exist", "ContainerNotFound")
# A place that is away is tried again later: the others should not wait for it.
_RETRIES: "RetryConfig" = {"max_retries": 3, "retry_timeout": timedelta(seconds=20)}


class ReferenceRefusedError(ValueError):
    """The URI is of no object that may be read. The message says why."""


class SourceObjectError(Exception):
    """This object cannot be read, which says nothing about the others. The message says why."""


class SourceAwayError(Exception):
    """The place of an object does not answer, or refuses: the object may be there."""


class Sources:
    """The places that an operator allows, separated by commas. Raises ValueError if one is wrong."""

    def __init__(self, places: str) -> None:
        self.places = tuple(_place(entry.strip()) for entry in places.split(",") if entry.strip())
        self._backends: dict[str, Backend] = {}

    def place_of(self, uri: str) -> str:
        """The place that the object is below, whose name ends with a slash. Raises ReferenceRefusedError."""
        if not self.places:
            raise ReferenceRefusedError(
                "no object can be searched by reference here: the operator allows none "
                "(EARMARK_DETECTION_SOURCES); upload the files instead"
            )
        # Of places in each other, the outer one.
        place = next((place for place in sorted(self.places, key=len) if uri.startswith(place)), None)
        if place is None:
            raise ReferenceRefusedError(
                "is below none of the places that the operator allows (EARMARK_DETECTION_SOURCES): ask which"
                f" they are; expected is {EXPECTED}, with the object's key"
            )
        if problem := _problem(uri.removeprefix(place)):
            raise ReferenceRefusedError(problem)
        return place

    async def stream(self, uri: str, most_bytes: int) -> AsyncIterator[bytes]:
        """The object in parts of about PART_BYTES.

        Raises ReferenceRefusedError, SourceObjectError and SourceAwayError.
        """
        place = self.place_of(uri)
        key = uri.removeprefix(place)
        is_folder = place.startswith("file://")
        parts = _of_folder(place, key, most_bytes) if is_folder else self._of_bucket(place, key, most_bytes)
        async for part in parts:
            yield part

    async def _of_bucket(self, place: str, key: str, most_bytes: int) -> AsyncIterator[bytes]:
        try:
            if place not in self._backends:
                self._backends[place] = from_url(place, retry_config=_RETRIES)
            found = await obstore.get_async(self._backends[place], key)
            _check_size(found.meta["size"], most_bytes)
            async for part in found.stream(min_chunk_size=PART_BYTES):
                yield bytes(part)
        except NOT_FOUND as error:
            if any(sign in str(error) for sign in _NO_BUCKET):
                raise SourceAwayError(f"{place} does not exist: {one_line(error)}") from error
            raise SourceObjectError(f"{place}{key} does not exist") from error
        except (BaseError, OSError) as error:
            raise SourceAwayError(f"{place} did not give {key!r}: {one_line(error)}") from error


async def _of_folder(place: str, key: str, most_bytes: int) -> AsyncIterator[bytes]:
    try:
        file = await asyncio.to_thread(_opened, place, key)
        with file:
            _check_size(os.fstat(file.fileno()).st_size, most_bytes)
            size = 0
            while part := await asyncio.to_thread(file.read, PART_BYTES):
                size += len(part)
                _check_size(size, most_bytes)
                yield part
    except OSError as error:
        raise SourceAwayError(f"{place} did not give {key!r}: {error}") from error


def _opened(place: str, key: str) -> BinaryIO:
    """Opens folder by folder, so that a link that somebody makes meanwhile is not followed either."""
    *folders, name = key.split("/")
    here = os.open(place.removeprefix("file://"), os.O_RDONLY | os.O_DIRECTORY)
    try:
        with os.scandir(here) as entries:
            if next(entries, None) is None:
                raise SourceAwayError(f"{place} is empty: is it mounted?")
        for folder in folders:
            inner = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=here)
            os.close(here)
            here = inner
        # Opening a pipe would wait for its writer.
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=here)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise SourceObjectError(
            f"{place}{key} does not exist, or a link leads to it: none is followed"
        ) from error
    except OSError as error:
        if error.errno != ELOOP:
            raise
        raise SourceObjectError(f"{place}{key} is a link, and none is followed") from error
    finally:
        os.close(here)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    raise SourceObjectError(f"{place}{key} is no file")


def _check_size(size: int, most_bytes: int) -> None:
    if size > most_bytes:
        raise SourceObjectError(f"it has {size:,} bytes, and at most {most_bytes:,} are searched: split it")


def _place(entry: str) -> str:
    scheme, _, rest = entry.partition("://")
    host, _, path = rest.partition("/")
    path = path.strip("/")
    if scheme not in _SCHEMES:
        raise ValueError(f"{entry!r} is no place of objects: expected is {EXPECTED}")
    if scheme == "file" and (host or not path):
        raise ValueError(f"{entry!r} is no folder below /: expected is file:///FOLDER, with three slashes")
    if scheme != "file" and not (host and _HOST_CHARACTERS.issuperset(host)):
        raise ValueError(f"{entry!r} names no bucket: expected is {EXPECTED}")
    if path and (problem := _problem(path)):
        raise ValueError(f"{entry!r} {problem}")
    return f"{scheme}://{host}/{path}/" if path else f"{scheme}://{host}/"


def _problem(key: str) -> str:
    """What is wrong with a key, however often it is unescaped; empty if nothing is."""
    while True:
        if "\\" in key or not key.isprintable():
            return "has a backslash or a control character"
        if any(part in ("", ".", "..") for part in key.split("/")):
            return "has an empty part, . or .. between its slashes, perhaps as %2e or %2f"
        unescaped = unquote(key)
        if unescaped == key:
            return ""
        key = unescaped
