"""Each wall around the process that decodes stands by itself."""

import socket
import subprocess
import sys

import pytest

from tests.trainer.process import SECONDS

OPEN = "open('/etc/hostname')"
CONNECT = "socket.socket().connect(('127.0.0.1', {port}))"
# With them, /etc/hostname can still be opened, and the port connected to.
NOTHING = "none"


def refused(wall: str, action: str) -> bool:
    """Whether a new process that has built this wall, or none, is refused the action."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        done = action.format(port=server.getsockname()[1])
        built = "" if wall == NOTHING else f"sandbox.{wall}()"
        code = f"import os, resource, socket\nfrom earmark.trainer.workers import sandbox\n{built}\n{done}"
        command = [sys.executable, "-c", code]
        run = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert run.returncode == 0 or "OSError" in run.stderr or "PermissionError" in run.stderr, run.stderr
    return run.returncode != 0


@pytest.mark.parametrize(
    ("wall", "action"),
    [
        ("leave_network", CONNECT),
        ("refuse_files", OPEN),
        ("refuse_files", "open('/tmp/written', 'w')"),
        ("refuse_files", "os.kill(os.getppid(), 0)"),
        ("refuse_system_calls", OPEN),
        ("refuse_system_calls", CONNECT),
        ("refuse_system_calls", "os.fork()"),
        ("refuse_system_calls", "os.kill(os.getppid(), 0)"),
        ("refuse_system_calls", "resource.prlimit(os.getppid(), 7)"),
    ],
)
def test_a_wall_refuses_what_would_be_allowed_without_it(wall, action):
    assert not refused(NOTHING, action.replace("/tmp/written", "/dev/null"))
    assert refused(wall, action)


def test_a_traceback_through_a_module_without_a_path_can_be_logged():
    """The logger makes the paths of its frames absolute: those of compiled modules are relative."""
    assert not refused("refuse_system_calls", "os.path.abspath('av/container/core.py')")
