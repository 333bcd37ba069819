"""Environments of locked packages beside Earmark's own: the compiler's, and those of the clients' tests."""

import fcntl
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

QUIETLY = ["--quiet", "--disable-pip-version-check"]
LOCKED = ["--no-deps", "--require-hashes"]


def made(folder: Path, lock: Path, make: Callable[[], None]) -> Path:
    """Returns `folder`, which `make` makes first if it is missing or its lock file has changed.

    Processes that need the same folder wait for the first of them.
    """
    installed = folder / lock.name
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.making").open("w") as making:
        fcntl.flock(making, fcntl.LOCK_EX)
        if not installed.exists() or installed.read_bytes() != lock.read_bytes():
            shutil.rmtree(folder, ignore_errors=True)
            make()
            shutil.copyfile(lock, installed)
    return folder


def locked(folder: Path, lock: Path) -> Path:
    """Returns the interpreter of an environment in `folder` with the packages of `lock`.

    Raises subprocess.CalledProcessError.
    """
    python = folder / "bin" / "python"

    def make() -> None:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
        pip = [sys.executable, "-m", "pip", "--python", python]
        subprocess.run([*pip, "install", *QUIETLY, *LOCKED, "-r", lock], check=True)

    made(folder, lock, make)
    return python
