"""Keeps disk space free: an upload is refused before what runs has no room to write."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import structlog

from earmark import disk
from earmark.gateway.errors import UnavailableError

CHECK_SECONDS = 5.0
# Somebody has to make room.
RETRY_SECONDS = 10.0

log = structlog.get_logger("gateway")


class Disk:
    """The disks of the gateway's data and of an object store in a folder.

    `problem` is why there is too little room for the uploads so far, in words; empty while there is enough.
    """

    def __init__(self, folders: Sequence[Path] = (), reserve_bytes: int = 0) -> None:
        self.problem = ""
        self._folders = folders
        self._reserve_bytes = reserve_bytes
        # The bytes that the uploads in progress have announced.
        self._announced = 0

    async def run(self) -> None:
        """Checks until cancelled."""
        while True:
            await self.check()
            await asyncio.sleep(CHECK_SECONDS)

    async def check(self) -> None:
        """Finds out whether there is room, and logs a change."""
        found = await asyncio.to_thread(self._check)
        if bool(found) != bool(self.problem):
            if found:
                log.warning("the gateway takes no uploads", problem=found)
            else:
                log.info("the gateway takes uploads")
        self.problem = found

    @asynccontextmanager
    async def room_for(self, size_bytes: int) -> AsyncIterator[None]:
        """Counts an upload of this size inside the block. Raises UnavailableError if there is no room."""
        self._announced += size_bytes
        try:
            if problem := await asyncio.to_thread(self._check):
                log.warning("an upload is refused", problem=problem)
                raise _full()
            yield
        finally:
            self._announced -= size_bytes

    def _check(self) -> str:
        try:
            # An upload is received into a file, and then copied to the store.
            devices = [folder.stat().st_dev for folder in self._folders]
            for folder, device in zip(self._folders, devices, strict=True):
                needed = self._announced * devices.count(device)
                if problem := disk.problem(folder, self._reserve_bytes, needed):
                    return problem
        except OSError as error:
            return f"a disk of the gateway fails: {error}"
        return ""


@contextmanager
def errors_of_disk() -> Iterator[None]:
    """Raises UnavailableError if the disk is full or cannot be used."""
    try:
        yield
    except OSError as error:
        log.warning("the gateway's disk fails", error=str(error))
        raise _full() from error


def _full() -> UnavailableError:
    return UnavailableError(
        "DISK_FULL", "the gateway has no room for uploads at the moment; try again later", RETRY_SECONDS
    )
