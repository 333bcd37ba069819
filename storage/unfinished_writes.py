"""What processes that were killed while they wrote objects left in a store's folder.

A LocalStore of obstore writes an object KEY to the file KEY#N, which it renames when the object is complete.
It neither lists nor deletes such files.
"""

import os
import re
from contextlib import suppress
from datetime import datetime
from pathlib import Path

_UNFINISHED = re.compile(r".#\d+$")


def remove(folder: Path, prefix: str, before: datetime) -> None:
    """Removes those below `prefix` that were last written before that time, and empty folders.

    A writer whose folder is removed makes it again.
    """
    for parent, _, names in os.walk(folder / prefix, topdown=False):
        for path in (Path(parent, name) for name in names if _UNFINISHED.search(name)):
            # Its writer may live, and complete or remove it at this moment.
            with suppress(FileNotFoundError):
                if path.stat().st_mtime <= before.timestamp():
                    path.unlink()
        _remove_empty(Path(parent), folder)


def _remove_empty(folder: Path, top: Path) -> None:
    """Removes the folder and those above it up to the first that is not empty."""
    with suppress(OSError):
        while folder != top:
            folder.rmdir()
            folder = folder.parent
