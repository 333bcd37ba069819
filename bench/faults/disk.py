"""Small disks of single services, which fill up when a drill asks for it."""

import errno
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

SIZE_MB = 256
PART = bytes(1 << 16)
# How soon what others have freed is taken.
AGAIN_SECONDS = 0.05


class Disk:
    """A file system in memory of SIZE_MB, mounted at `folder`. Mounting needs root; see `can_mount`."""

    def __init__(self, folder: Path, service: str) -> None:
        self.service = service
        self.folder = folder

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True)
        _run("mount", "-t", "tmpfs", "-o", f"size={SIZE_MB}m,mode=0700", "earmark-drill", str(self.folder))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Lazily, because a process that was killed may still be ending.
        _run("umount", "--lazy", str(self.folder))

    @contextmanager
    def filled(self) -> Iterator[None]:
        """Has no free byte, whatever others delete meanwhile, for the duration of the block."""
        stop, full, filler = threading.Event(), threading.Event(), self.folder / "filler"
        with filler.open("wb", buffering=0) as file:
            thread = threading.Thread(target=_fill, args=(file.fileno(), full, stop), name="filler")
            thread.start()
            try:
                full.wait()
                yield
            finally:
                stop.set()
                thread.join()
                filler.unlink()


def can_mount(folder: Path) -> bool:
    """Whether this process may mount disks."""
    try:
        with Disk(folder / "trial", "nobody"):
            return True
    except (OSError, subprocess.CalledProcessError):
        return False


def _fill(file: int, full: threading.Event, stop: threading.Event) -> None:
    part = PART
    while not stop.is_set():
        try:
            os.write(file, part)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            # What remains may be smaller than a part.
            part = part[: len(part) // 2] or PART
            if part is PART:
                full.set()
                stop.wait(AGAIN_SECONDS)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
