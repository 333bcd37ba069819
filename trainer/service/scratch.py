"""Temporary folders for files in use. A trainer removes those that a killed trainer left behind."""

import asyncio
import fcntl
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path


class ScratchDirectory:
    """This trainer's own folder below `parent`, locked as long as the trainer runs."""

    def __init__(self, parent: Path) -> None:
        parent.mkdir(parents=True, exist_ok=True)
        with _open(parent) as parent_lock:
            # A folder that exists but is not yet locked looks abandoned: no other trainer may look meanwhile.
            fcntl.flock(parent_lock, fcntl.LOCK_EX)
            for folder in parent.iterdir():
                if _abandoned(folder):
                    shutil.rmtree(folder, ignore_errors=True)
            self._folder = Path(tempfile.mkdtemp(dir=parent))
            self._lock = os.open(self._folder, os.O_RDONLY)
            fcntl.flock(self._lock, fcntl.LOCK_EX)

    @contextmanager
    def folder(self) -> Iterator[Path]:
        """Yields an empty folder and removes it with its contents afterwards."""
        with tempfile.TemporaryDirectory(dir=self._folder, ignore_cleanup_errors=True) as folder:
            yield Path(folder)

    def close(self) -> None:
        """Removes this trainer's folder and unlocks it."""
        shutil.rmtree(self._folder, ignore_errors=True)
        os.close(self._lock)


async def write_file(path: Path, parts: AsyncIterator[bytes]) -> None:
    """Writes `parts` to a file in a thread, off the event loop. Raises what `parts` raises."""
    with path.open("wb") as file:
        async for part in parts:
            await asyncio.to_thread(file.write, part)


@contextmanager
def _open(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _abandoned(folder: Path) -> bool:
    with _open(folder) as descriptor:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
