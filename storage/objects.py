"""The object store for audio, features, checkpoints and models.

The URL selects a local folder, S3, Google Cloud Storage or Azure. In every backend `put` is atomic: an object
becomes visible complete or not at all. Every method raises ObjectStoreError if the store fails.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO
from urllib.parse import unquote
from uuid import UUID, uuid4

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, NotFoundError
from obstore.store import LocalStore, from_url
from obstore.store import ObjectStore as Backend

from earmark.storage import unfinished_writes

# A download that nobody reads keeps about five parts in memory.
PART_BYTES = 128 << 10
STORE_ID = "store-id"
_CHECK = "do all services have the same EARMARK_OBJECT_STORE or EARMARK_DATA_DIR, and is it mounted?"
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
    """Objects by key. Keys are slash-separated and made of ids, never of names that a client sent.

    A store has an id, which is in its object STORE_ID. With `store_id`, an object is called missing only if
    the store still has that id: an empty folder where a disk was mounted before has lost nothing.
    """

    backend: Backend
    store_id: str = ""
    # Of a store in a folder.
    folder: Path | None = None

    @classmethod
    def open(cls, url: str) -> "ObjectStore":
        """`url`: a folder (a path or file://), which is created if missing, or s3://, gs://, az://.

        Raises ObjectStoreError if the URL is wrong or the folder cannot be created.
        """
        with _wrapped("open", url):
            folder = local_folder(url)
            if folder is None:
                return cls(from_url(url))
            return cls(LocalStore(folder, mkdir=True, automatic_cleanup=True), folder=folder)

    def identified(self) -> "ObjectStore":
        """This store with its id. Raises ObjectStoreError if it has none."""
        try:
            store_id = str(UUID(replace(self, store_id="").get(STORE_ID).decode()))
        except ValueError as error:
            raise ObjectStoreError(
                f"the object store's {STORE_ID!r} is damaged, it contains no UUID: {_CHECK}"
            ) from error
        except ObjectNotFoundError as error:
            raise ObjectStoreError(
                f"the object store has no {STORE_ID!r}, which a gateway writes when it starts: {_CHECK}"
            ) from error
        return replace(self, store_id=store_id)

    def created(self) -> "ObjectStore":
        """This store with its id, which it gets if it has none."""
        with _wrapped("write", STORE_ID), suppress(AlreadyExistsError, FileExistsError):
            # Of several services that start at once, one creates it.
            obstore.put(self.backend, STORE_ID, str(uuid4()).encode(), mode="create")
        return self.identified()

    # The trainer's worker processes use the synchronous methods, the two services the asynchronous ones.

    def get(self, key: str) -> bytes:
        """Raises ObjectNotFoundError."""
        with _wrapped("read", key), suppress(*NOT_FOUND):
            return bytes(obstore.get(self.backend, key).bytes())
        raise self._missing(key)

    def put(self, key: str, data: bytes | Path) -> None:
        """Replaces any object with this key."""
        with _wrapped("write", key):
            obstore.put(self.backend, key, data)
            self._sync(key)

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
        with _wrapped("read", key), suppress(*NOT_FOUND):
            return bytes(await (await obstore.get_async(self.backend, key)).bytes_async())
        raise await asyncio.to_thread(self._missing, key)

    async def put_async(self, key: str, data: bytes | Path | IO[bytes]) -> None:
        """Replaces any object with this key. Streams a file in parts of 5 MiB, at most four in memory."""
        with _wrapped("write", key):
            await obstore.put_async(self.backend, key, data, max_concurrency=4)
            if self.folder is not None:
                await asyncio.to_thread(self._sync, key)

    async def delete_async(self, *keys: str) -> None:
        """Ignores keys that do not exist."""
        for key in keys:
            with _wrapped("delete", key), suppress(*NOT_FOUND):
                await obstore.delete_async(self.backend, key)

    async def clear_async(
        self, prefix: str, kept: Collection[str] = (), *, min_age_seconds: float = 0.0
    ) -> None:
        """Deletes every object below `prefix` but the `kept` ones, and what killed writers left there.

        Only what was written at least `min_age_seconds` ago.
        """
        before = datetime.now(UTC) - timedelta(seconds=min_age_seconds)
        with _wrapped("list", prefix):
            entries = [entry async for page in obstore.list(self.backend, prefix) for entry in page]
        old = (entry["path"] for entry in entries if entry["last_modified"] <= before)
        await self.delete_async(*(key for key in old if key not in kept))
        await self.clear_unfinished_async(prefix, min_age_seconds=min_age_seconds)

    async def clear_unfinished_async(self, prefix: str, *, min_age_seconds: float = 0.0) -> None:
        """Removes what writers that were killed at least `min_age_seconds` ago left below `prefix`.

        A bucket does so by a rule of its own.
        """
        if self.folder is not None:
            before = datetime.now(UTC) - timedelta(seconds=min_age_seconds)
            with _wrapped("delete", prefix):
                await asyncio.to_thread(unfinished_writes.remove, self.folder, prefix, before)

    async def stream(self, key: str) -> AsyncIterator[bytes]:
        """The object in parts of about PART_BYTES. Raises ObjectNotFoundError."""
        result = None
        with _wrapped("read", key), suppress(*NOT_FOUND):
            result = await obstore.get_async(self.backend, key)
        if result is None:
            raise await asyncio.to_thread(self._missing, key)
        parts = aiter(result.stream(min_chunk_size=PART_BYTES))
        while True:
            # What the caller does with a part is not wrapped.
            with _wrapped("read", key):
                part = await anext(parts, None)
            if part is None:
                return
            yield bytes(part)

    def _sync(self, key: str) -> None:
        """Returns once an object in a folder survives a loss of power. A bucket promises that itself."""
        if self.folder is None:
            return
        # The names of the object and of the folders made for it are in the folders above.
        path = self.folder / key
        # Another service may already have deleted it, and the folders that became empty.
        with suppress(FileNotFoundError):
            for each in (path, *path.parents):
                descriptor = os.open(each, os.O_RDONLY)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
                if each == self.folder:
                    return

    def _missing(self, key: str) -> Exception:
        """The error for an object that was not found: ObjectNotFoundError if the store can be believed."""
        try:
            if not self.store_id or self.identified().store_id == self.store_id:
                return ObjectNotFoundError(key)
        except ObjectStoreError as error:
            return error
        return ObjectStoreError(f"the object store is another one than before, without {key!r}: {_CHECK}")


def local_folder(url: str) -> Path | None:
    """The absolute folder that `url` names; None if it names a bucket.

    A path is taken as it is written, whatever characters it has. In a file:// URL, %XX is an escape, but #
    and ? need none. Raises ObjectStoreError if a file:// URL has no absolute path.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        return Path(url).absolute()
    if scheme != "file":
        return None
    path = unquote(rest.removeprefix("localhost"))
    if not path.startswith("/"):
        raise ObjectStoreError(
            f"{url!r} is no folder: file:// needs an absolute path, as in file:///data/objects"
        )
    return Path(path)


@contextmanager
def _wrapped(action: str, key: str) -> Iterator[None]:
    """Raises ObjectStoreError for what obstore raises; for a folder that is an OSError."""
    try:
        yield
    except (BaseError, OSError) as error:
        raise ObjectStoreError(f"the object store did not {action} {key!r}: {one_line(error)}") from error


def one_line(error: Exception) -> str:
    """What an error of obstore says, without the internals of its client."""
    text = str(error).partition("Debug source:")[0] or type(error).__name__
    return " ".join(text.split())[:500]
