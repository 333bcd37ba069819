"""Environments of locked packages beside Earmark's own: the compiler's, and those of the clients' tests."""

import fcntl
import shutil
import subprocess
import sys
from pathlib import Path

QUIETLY = ["--quiet", "--disable-pip-version-check"]
LOCKED = ["--no-deps", "--require-hashes"]


def locked(folder: Path, lock: Path) -> Path:
    """Returns the interpreter of an environment with the packages of `lock`.

    Makes the environment first if it is missing or its lock file has changed. Processes that need the same
    one wait for the first of them. Raises subprocess.CalledProcessError.
    """
    installed = folder / lock.name
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.making").open("w") as making:
        fcntl.flock(making, fcntl.LOCK_EX)
        if not installed.exists() or installed.read_bytes() != lock.read_bytes():
            subprocess.run([sys.executable, "-m", "venv", "--clear", "--without-pip", folder], check=True)
            pip = [sys.executable, "-m", "pip", "--python", folder / "bin" / "python"]
            subprocess.run([*pip, "install", *QUIETLY, *LOCKED, "-r", lock], check=True)
            shutil.copyfile(lock, installed)
    return folder / "bin" / "python"
