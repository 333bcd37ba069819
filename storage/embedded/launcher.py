"""The launcher of the embedded PostgreSQL: becomes a program that is not root and ends with its owner.

    python -I -S launcher.py OWNER_PID IDENTITY PROGRAM ARGUMENT...

A program of its own, because what it does is not safe between fork and exec of a process with threads, and
because only a process with one thread may enter a user namespace. It runs alone: the standard library only.
"""

import ctypes
import os
import pwd
import signal
import sys
from pathlib import Path

OWN = "own"
NAMESPACE = "namespace"

_CLONE_NEWUSER = 0x10000000  # linux/sched.h
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main(owner: str, identity: str, program: str, *arguments: str) -> None:
    """Becomes `program`. `identity`: OWN, NAMESPACE or UID:GID. Raises OSError."""
    if identity == NAMESPACE:
        _enter_namespace()
    elif identity != OWN:
        _become(*map(int, identity.split(":")))
    # After the change of user, which would clear it.
    _end_with(int(owner))
    os.execv(program, [program, *arguments])  # noqa: S606 - no shell is wanted


def _enter_namespace() -> None:
    """Stays the same user outside, and is nobody inside: not root, and with a name."""
    nobody = pwd.getpwnam("nobody")
    uid, gid = os.geteuid(), os.getegid()
    _call("unshare", _CLONE_NEWUSER)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{nobody.pw_uid} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{nobody.pw_gid} {gid} 1")


def _become(uid: int, gid: int) -> None:
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)


def _end_with(owner: int) -> None:
    """Has the kernel send SIGINT, PostgreSQL's fast shutdown, when the owner dies (Linux)."""
    # An ignored SIGINT, as under nohup, would be inherited.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if sys.platform == "linux":
        _call("prctl", _PR_SET_PDEATHSIG, signal.SIGINT)
    if os.getppid() != owner:
        sys.exit(f"the owner, process {owner}, is gone")


def _call(name: str, *arguments: int) -> None:
    function = getattr(ctypes.CDLL(None, use_errno=True), name, None)
    if function is None:
        raise OSError(f"this system has no {name}")
    if function(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except (OSError, KeyError) as error:
        sys.exit(f"cannot launch {sys.argv[3]}: {error}")
