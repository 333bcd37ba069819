"""The object store for audio, features, checkpoints and models.

The URL selects a local folder, S3, Google Cloud Storage or Azure. In every backend `put` is atomic: an object
becomes visible complete or not at all. Every method raises ObjectStoreError if the store fails.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import urlparse

import obstore
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import LocalStore, from_url
from obstore.store import ObjectStore as Backend

PART_BYTES = 1 << 20
# obstore raises NotFoundError, or FileNotFoundError from a folder.
NOT_FOUND = (NotFoundError, FileNotFoundError)


class ObjectNotFoundError(LookupError):
    """No object has this key."""

    def __init__(self, key: str) -> None:
        super().__init__(f"no object {key!r}")
        self.key = key


class ObjectStoreError(Exception):
    """The store did not do what it was asked for: it is away, full, refuses, or is not the right one."""


@dataclass(frozen=True, slots=True)
class ObjectStore:
    """Objects by key. Keys are slash-separated and made of ids, never of names that a client sent."""

    backend: Backend

    @classmethod
    def open(cls, url: str) -> "ObjectStore":
        """`url`: a folder (a path or file://), which is created if missing, or s3://, gs://, az://."""
        parsed = urlparse(url)
        if parsed.scheme in ("", "file"):
            return cls(LocalStore(Path(parsed.path).absolute(), mkdir=True))
        return cls(from_url(url))

    # The trainer's worker processes use the synchronous methods, the two services the asynchronous ones.

    def get(self, key: str) -> bytes:
        """Raises ObjectNotFoundError."""
        with _reading(key):
            return bytes(obstore.get(self.backend, key).bytes())

    def put(self, key: str, data: bytes | Path) -> None:
        """Replaces any object with this key."""
        with _wrapped("write", key):
            obstore.put(self.backend, key, data)

    def delete(self, *keys: str) -> None:
        """Ignores keys that do not exist."""
        for key in keys:
            with _wrapped("delete", key), suppress(*NOT_FOUND):
                obstore.delete(self.backend, key)

    def keys(self, prefix: str) -> Iterator[str]:
        """Every key below `prefix`, in no particular order."""
        with _wrapped("list", prefix):
            for page in obstore.list(self.backend, prefix):
                for entry in page:
                    yield entry["path"]

    async def get_async(self, key: str) -> bytes:
        """Raises ObjectNotFoundError."""
        with _reading(key):
            return bytes(await (await obstore.get_async(self.backend, key)).bytes_async())

    async def put_async(self, key: str, data: bytes | Path | IO[bytes]) -> None:
        """Replaces any object with this key. Streams a file in parts of 5 MiB, at most four in memory."""
        with _wrapped("write", key):
            await obstore.put_async(self.backend, key, data, max_concurrency=4)

    async def delete_async(self, *keys: str) -> None:
        """Ignores keys that do not exist."""
        for key in keys:
            with _wrapped("delete", key), suppress(*NOT_FOUND):
                await obstore.delete_async(self.backend, key)

    async def stream(self, key: str) -> AsyncIterator[bytes]:
        """The object in parts of about 1 MiB. Raises ObjectNotFoundError."""
        with _reading(key):
            result = await obstore.get_async(self.backend, key)
        parts = aiter(result.stream(min_chunk_size=PART_BYTES))
        while True:
            # What the caller does with a part is not wrapped.
            with _wrapped("read", key):
                part = await anext(parts, None)
            if part is None:
                return
            yield bytes(part)


@contextmanager
def _reading(key: str) -> Iterator[None]:
    """Raises ObjectNotFoundError, and ObjectStoreError for any other failure."""
    with _wrapped("read", key):
        try:
            yield
        except NOT_FOUND as error:
            raise ObjectNotFoundError(key) from error


@contextmanager
def _wrapped(action: str, key: str) -> Iterator[None]:
    """Raises ObjectStoreError for what obstore raises; for a folder that is an OSError."""
    try:
        yield
    except (BaseError, OSError) as error:
        problem = " ".join(str(error).split())[:500]
        raise ObjectStoreError(f"the object store did not {action} {key!r}: {problem}") from error
