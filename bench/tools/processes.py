"""The memory of a system's processes, on Linux."""

from collections import defaultdict
from contextlib import suppress
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # has no stubs

_WORKER = "earmark.trainer.workers.child"


def peak_memory_mib() -> dict[str, float] | None:
    """Peak resident memory of each service started below this process, by its name.

    The audio processes, of which there are several, are added up. None if the system has no /proc.
    """
    if not Path("/proc/self/status").exists():
        return None
    peaks: dict[str, float] = defaultdict(float)
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
            if name := service(process.cmdline()):
                peaks[name] += peak_bytes(Path(f"/proc/{process.pid}/status").read_text()) / 2**20
    return {name: round(peak, 1) for name, peak in sorted(peaks.items())}


def service(command: list[str]) -> str | None:
    """The service that a command line runs, such as "gateway" or "trainer audio"; None if it is not ours."""
    match [argument for argument in command[1:] if argument != "-P"]:
        case ["-m", "earmark.gateway", *_]:
            return "gateway"
        case ["-m", "earmark.trainer", *_]:
            return "trainer front"
        case ["-m", worker, module, *_] if worker == _WORKER:
            return f"trainer {module.rpartition('.')[2]}"
    return None


def peak_bytes(status: str) -> int:
    """VmHWM of the text of a /proc/PID/status; 0 if the process has ended and has no memory."""
    lines = (line.split() for line in status.splitlines())
    return next((int(words[1]) << 10 for words in lines if words[0] == "VmHWM:"), 0)
