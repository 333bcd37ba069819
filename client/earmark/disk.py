"""What both services ask of their disks: that some space stays free, and whether an error is the disk's."""

import errno
import shutil
from pathlib import Path

_DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EMFILE, errno.ENFILE}


def is_of_disk(error: BaseException) -> bool:
    """Whether the error says that this machine's disk is full or cannot be used."""
    return isinstance(error, OSError) and error.errno in _DISK_ERRORS


def problem(folder: Path, reserve_bytes: int, needed_bytes: int = 0) -> str:
    """Why the disk of `folder` has no room for so many bytes beside the reserve; empty if it has.

    Raises OSError.
    """
    free = shutil.disk_usage(folder).free
    if free - needed_bytes >= reserve_bytes:
        return ""
    needed = f" for {needed_bytes >> 20:,} MiB of uploads" if needed_bytes else ""
    return (
        f"the disk of {folder} has {free >> 20:,} MiB left{needed}, and {reserve_bytes >> 20:,} MiB are kept "
        "free: make room, or lower EARMARK_DISK_RESERVE_MB"
    )
