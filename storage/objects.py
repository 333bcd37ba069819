"""The object store for audio, features, checkpoints and models.

The URL selects a local folder, S3, Google Cloud Storage or Azure. In every backend `put` is atomic: an object
becomes visible complete or not at all.
"""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import urlparse

import obstore
from obstore.exceptions import NotFoundError
from obstore.store import LocalStore, from_url
from obstore.store import ObjectStore as Backend

PART_BYTES = 1 << 20


class ObjectNotFoundError(LookupError):
    """No object has this key."""

    def __init__(self, key: str) -> None:
        super().__init__(f"no object {key!r}")
        self.key = key


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
        try:
            return bytes(obstore.get(self.backend, key).bytes())
        except (NotFoundError, FileNotFoundError) as error:
            raise ObjectNotFoundError(key) from error

    def put(self, key: str, data: bytes | Path) -> None:
        """Replaces any object with this key."""
        obstore.put(self.backend, key, data)

    def delete(self, *keys: str) -> None:
        """Ignores keys that do not exist."""
        for key in keys:
            try:
                obstore.delete(self.backend, key)
            except (NotFoundError, FileNotFoundError):
                continue

    def keys(self, prefix: str) -> Iterator[str]:
        """Every key below `prefix`, in no particular order."""
        for page in obstore.list(self.backend, prefix):
            for entry in page:
                yield entry["path"]

    async def get_async(self, key: str) -> bytes:
        """Raises ObjectNotFoundError."""
        try:
            return bytes(await (await obstore.get_async(self.backend, key)).bytes_async())
        except (NotFoundError, FileNotFoundError) as error:
            raise ObjectNotFoundError(key) from error

    async def put_async(self, key: str, data: bytes | Path | IO[bytes]) -> None:
        """Replaces any object with this key. Streams a file in parts of 5 MiB, at most four in memory."""
        await obstore.put_async(self.backend, key, data, max_concurrency=4)

    async def delete_async(self, *keys: str) -> None:
        """Ignores keys that do not exist."""
        for key in keys:
            try:
                await obstore.delete_async(self.backend, key)
            except (NotFoundError, FileNotFoundError):
                continue

    async def stream(self, key: str) -> AsyncIterator[bytes]:
        """The object in parts of about 1 MiB. Raises ObjectNotFoundError."""
        try:
            result = await obstore.get_async(self.backend, key)
        except (NotFoundError, FileNotFoundError) as error:
            raise ObjectNotFoundError(key) from error
        async for part in result.stream(min_chunk_size=PART_BYTES):
            yield bytes(part)
