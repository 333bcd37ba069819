"""Receives an upload into a temporary file and checks it against its metadata.

Parts are written and hashed in threads, not on the event loop. The temporary file has no name, so it
disappears however the upload ends, even if the process is killed.
"""

import asyncio
import hashlib
import tempfile
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Generic, Protocol, TypeVar

from earmark.gateway.disk import errors_of_disk
from earmark.gateway.errors import FieldViolation, InvalidArgumentError
from earmark.gateway.shares import Scratch

T = TypeVar("T")


class Metadata(Protocol):
    """What an upload of any kind says of its bytes."""

    size_bytes: int
    sha256: str


M = TypeVar("M", bound=Metadata)

# Messages with `metadata` in the first and a `part` in the others.
Requests = AsyncIterator[Any]


@dataclass(frozen=True, slots=True)
class Upload(Generic[M]):
    """A completely received file; `file` is positioned at its start."""

    metadata: M
    file: IO[bytes]
    sha256: str


async def metadata_of(requests: Requests) -> Any:
    """The metadata of the first message. Raises InvalidArgumentError if there is none."""
    async for request in requests:
        if request.HasField("metadata"):
            return request.metadata
        raise _invalid("metadata", "missing: the first message must carry metadata, and only the first")
    raise _invalid("metadata", "missing: the stream ended before its first message")


@asynccontextmanager
async def received(
    requests: Requests, metadata: M, folder: Path, scratch: Scratch
) -> AsyncIterator[Upload[M]]:
    """Receives the rest of the stream into a file in `folder` that is deleted when the block ends.

    `scratch` counts its bytes meanwhile. Raises InvalidArgumentError if the bytes do not match the metadata,
    QuotaError, and UnavailableError if the disk is full.
    """
    with _temporary(folder) as file, closing(_PartialFile(file, scratch)) as partial:
        async for request in requests:
            _check_next(request, partial.size, metadata.size_bytes)
            with errors_of_disk():
                await partial.add(request.part.data)
        sha256 = partial.sha256()
        _check_whole(metadata, partial.size, sha256)
        with errors_of_disk():
            file.seek(0)
        yield Upload(metadata, file, sha256)


async def uninterrupted(work: Coroutine[Any, Any, T]) -> T:
    """Awaits `work`. A cancel does not interrupt it, but is raised after it has finished."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


class _PartialFile:
    """The bytes received so far, on disk, with their number and SHA-256."""

    def __init__(self, file: IO[bytes], scratch: Scratch) -> None:
        self._file = file
        self._scratch = scratch
        self._hash = hashlib.sha256()
        self.size = 0

    async def add(self, data: bytes) -> None:
        self._scratch.add(len(data))
        self.size += len(data)
        await asyncio.to_thread(self._write, data)

    def close(self) -> None:
        self._scratch.remove(self.size)

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._hash.update(data)

    def sha256(self) -> str:
        return self._hash.hexdigest()


@contextmanager
def _temporary(folder: Path) -> Iterator[IO[bytes]]:
    with errors_of_disk():
        folder.mkdir(parents=True, exist_ok=True)
        file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 closed below
    try:
        yield file
    finally:
        # After a cancel a write may still be running; closing waits for it, because of the file's own lock.
        # What could not be written is not needed any more.
        with suppress(OSError):
            file.close()


def _check_next(request: Any, received_bytes: int, size_bytes: int) -> None:
    if request.HasField("metadata"):
        raise _invalid("metadata", "sent twice: only the first message may carry it")
    part = request.part
    if part.HasField("offset") and part.offset != received_bytes:
        raise _invalid(
            "part.offset",
            f"is {part.offset}, but {received_bytes} bytes came before: send the parts in order, "
            "each with the number of bytes before it, or leave offset out",
        )
    if received_bytes + len(part.data) > size_bytes:
        raise _invalid(
            "part.data",
            f"more than the {size_bytes} bytes that metadata.size_bytes announced: "
            f"{received_bytes + len(part.data)} so far; announce the file's exact size",
        )


def _check_whole(metadata: Metadata, size: int, sha256: str) -> None:
    if size != metadata.size_bytes:
        raise _invalid(
            "metadata.size_bytes",
            f"announced {metadata.size_bytes} bytes, but the stream ended after {size}: send the whole file",
        )
    if metadata.sha256 and metadata.sha256 != sha256:
        raise _invalid(
            "metadata.sha256",
            f"announced {metadata.sha256}, but the bytes received have {sha256}: send the file again",
        )


def _invalid(field: str, description: str) -> InvalidArgumentError:
    return InvalidArgumentError([FieldViolation(field, description)], reason="INVALID_UPLOAD")
