"""`python -m earmark.trainer.workers.child MODULE CONNECTION FD PARENT`: a child process of the front.

FD is this process's end of a socket pair, CONNECTION the class that speaks over it, PARENT the front's
process id. The first message is the settings; MODULE's `serve(connection, settings)` does the rest. The child
never outlives the front: the kernel kills it when the front dies, and an idle child exits when its connection
is closed.
"""

import importlib
import os
import signal
import sys
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

from earmark.trainer.workers.packets import PacketConnection
from earmark.trainer.workers.sandbox import die_with

CONNECTIONS = {kind.__name__: kind for kind in (Connection, PacketConnection)}
NICENESS = 5  # the front, and any other service on this machine that answers callers, has priority


def main(module: str, kind: str, descriptor: int, parent: int) -> None:
    """Exits with status 0 when the front closes the connection or dies."""
    die_with(parent)
    with suppress(OSError):  # when memory runs out, the kernel should kill a child and not the front
        Path("/proc/self/oom_score_adj").write_text("500")
    os.nice(NICENESS)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the front decides
    connection = CONNECTIONS[kind](descriptor)
    try:
        importlib.import_module(module).serve(connection, connection.recv())
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
