"""Launches a program of the embedded PostgreSQL as a user other than root, and ties it to its owner's life.

    python -I -S launcher.py OWNER_PID IDENTITY PROGRAM ARGUMENT...

It is a separate program for two reasons: these steps are not safe between fork and exec in a process with
threads, and only a process with one thread may enter a user namespace. It imports only the standard library.
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
    """Replaces this process with `program`. `identity`: OWN, NAMESPACE or UID:GID. Raises OSError."""
    if identity == NAMESPACE:
        _enter_namespace()
    elif identity != OWN:
        _change_user(*map(int, identity.split(":")))
    # This follows the change of user, which clears the death signal.
    _end_with_owner(int(owner))
    os.execv(program, [program, *arguments])  # noqa: S606 - no shell is needed


def _enter_namespace() -> None:
    """Enters a user namespace that maps this user to nobody, who is not root and has a name."""
    nobody = pwd.getpwnam("nobody")
    uid, gid = os.geteuid(), os.getegid()
    _call("unshare", _CLONE_NEWUSER)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{nobody.pw_uid} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{nobody.pw_gid} {gid} 1")


def _change_user(uid: int, gid: int) -> None:
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)


def _end_with_owner(owner: int) -> None:
    """Asks the kernel to send SIGINT, PostgreSQL's fast shutdown, when the owner dies (Linux only)."""
    # Under nohup SIGINT is ignored, and exec would pass that on to PostgreSQL.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if sys.platform == "linux":
        _call("prctl", _PR_SET_PDEATHSIG, signal.SIGINT)
    if os.getppid() != owner:
        sys.exit(f"the owner, process {owner}, has exited")


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
