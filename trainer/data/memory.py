"""Measures how much memory a dataset may take."""

from contextlib import suppress
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")  # cgroup version 2, as seen from inside a container
MEMINFO = Path("/proc/meminfo")


def available_bytes(cgroup: Path = CGROUP, meminfo: Path = MEMINFO) -> float:
    """Return the memory that the machine and the container have available; infinite if neither states it."""
    return min(_machine(meminfo), _container(cgroup))


def _machine(meminfo: Path) -> float:
    with suppress(OSError):
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return float("inf")


def _container(cgroup: Path) -> float:
    with suppress(OSError, ValueError):
        limit = int((cgroup / "memory.max").read_text())  # ValueError: it is "max" if there is no limit
        return limit - int((cgroup / "memory.current").read_text())
    return float("inf")
