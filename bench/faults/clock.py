"""Wall clocks of single services, which jump when a drill asks for it."""

import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SOURCE = Path(__file__).with_name("clock.c")


class ClockError(Exception):
    """No clock can be made on this machine. The message says what to do."""


def built(folder: Path) -> Path:
    """The library that services preload, compiled into `folder`. Raises ClockError."""
    compiler, library = shutil.which("cc"), folder / "clock.so"
    if compiler is None:
        raise ClockError("the drill needs a C compiler for its clocks: install gcc, so that there is a `cc`")
    command = (compiler, "-O2", "-shared", "-fPIC", "-o", library, SOURCE, "-ldl", "-pthread")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ClockError(f"{SOURCE.name} cannot be compiled here: {done.stderr.strip()}")
    return library


class Clock:
    """The wall clock of a service and of all its processes. Their monotonic clock is the machine's."""

    kind = "clock"

    def __init__(self, library: Path, folder: Path, service: str) -> None:
        self.name = f"clock of {service}"
        self._library = library
        self._file = folder / f"{service}.clock"
        self._set(0)

    @property
    def settings(self) -> dict[str, str]:
        """What the service needs in its environment to have this clock."""
        preloaded = (str(self._library), os.environ.get("LD_PRELOAD", ""))
        return {"LD_PRELOAD": " ".join(filter(None, preloaded)), "DRILL_CLOCK": str(self._file)}

    @contextmanager
    def moved(self, seconds: float) -> Iterator[None]:
        """Jumps so far ahead, or back if `seconds` is negative, and the other way at the end of the block."""
        self._set(round(seconds * 1e9))
        try:
            yield
        finally:
            self._set(0)

    def _set(self, nanoseconds: int) -> None:
        # The library has mapped this very file, so it is written in place.
        with self._file.open("r+b" if self._file.exists() else "wb") as file:
            file.write(struct.pack("=q", nanoseconds))
