"""`python -m earmark.trainer.workers.child MODULE FD PARENT`: a child process of the trainer's front.

FD is this process's end of a socket pair, PARENT the front's process id. The first message is the settings;
MODULE's `serve(connection, settings)` does the rest. The child never outlives the front: the kernel kills it
when the front dies, and an idle child exits when its connection is closed.
"""

import ctypes
import importlib
import os
import signal
import sys
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

PR_SET_PDEATHSIG = 1  # linux/prctl.h
NICENESS = 5  # the front, and any other service on this machine that answers callers, has priority


def main(module: str, descriptor: int, parent: int) -> None:
    """Exits with status 0 when the front closes the connection or dies."""
    die_with(parent)
    with suppress(OSError):  # when memory runs out, the kernel should kill a child and not the front
        Path("/proc/self/oom_score_adj").write_text("500")
    os.nice(NICENESS)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the front decides
    connection = Connection(descriptor)
    try:
        importlib.import_module(module).serve(connection, connection.recv())
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return


def die_with(parent: int) -> None:
    """Makes the kernel kill this process when `parent` dies."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("the trainer died while this process was starting")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
