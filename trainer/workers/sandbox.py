"""Confines the process that decodes untrusted files, so that an exploited decoder harms nobody.

After `confine`, the process computes, and reads and writes the descriptors that it has. It opens no file,
uses no network, starts nothing and signals nobody. Each wall stands by itself; which a machine allows varies.
"""

import ctypes
import os
import platform
import resource
import signal
import struct
import sys
from collections.abc import Callable, Iterator

NOBODY = 65_534
PR_SET_PDEATHSIG = 1  # linux/prctl.h
PR_SET_NO_NEW_PRIVS = 38
CLONE_NEWUSER, CLONE_NEWNET = 0x1000_0000, 0x4000_0000  # linux/sched.h

# linux/landlock.h: the rights that each version of the interface added, by its number.
LANDLOCK_CREATE_RULESET, LANDLOCK_RESTRICT_SELF = 444, 446
LANDLOCK_GET_VERSION = 1
FILE_RIGHTS = {1: 0x1FFF, 2: 0x3FFF, 3: 0x7FFF, 4: 0x7FFF, 5: 0xFFFF}
NETWORK_RIGHTS_SINCE, NETWORK_RIGHTS = 4, 0b11
SCOPES_SINCE, SCOPES = 6, 0b11  # abstract sockets, signals

# linux/seccomp.h, linux/filter.h and linux/audit.h
SECCOMP_MODE_FILTER, PR_SET_SECCOMP = 2, 22
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, REFUSE, KILL = 0x7FFF_0000, 0x0005_0001, 0x8000_0000  # REFUSE: with EPERM
NUMBER_AT, ARCHITECTURE_AT, ARGUMENTS_AT = 0, 4, 16
ARCHITECTURES = {"x86_64": (0xC000_003E, 0), "aarch64": (0xC000_00B7, 1)}
F_DUPFD_CLOEXEC = 1030
# The system calls that decoding needs, by their numbers on x86-64 and on ARM64; all others are refused.
ALLOWED: dict[str, tuple[int, int]] = {
    "read": (0, 63),
    "write": (1, 64),
    "readv": (19, 65),
    "writev": (20, 66),
    "pread64": (17, 67),
    "pwrite64": (18, 68),
    "lseek": (8, 62),
    "close": (3, 57),
    "fstat": (5, 80),
    "newfstatat": (262, 79),
    "statx": (332, 291),
    "fstatfs": (138, 44),
    "ftruncate": (77, 46),
    "mmap": (9, 222),
    "munmap": (11, 215),
    "mprotect": (10, 226),
    "mremap": (25, 216),
    "madvise": (28, 233),
    "brk": (12, 214),
    "sendto": (44, 206),
    "recvfrom": (45, 207),
    "recvmsg": (47, 212),
    "futex": (202, 98),
    "sched_yield": (24, 124),
    "sched_getaffinity": (204, 123),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "sigaltstack": (131, 132),
    "restart_syscall": (219, 128),
    "getcwd": (79, 17),  # logging makes the paths of a traceback absolute
    "getpid": (39, 172),
    "getuid": (102, 174),
    "geteuid": (107, 175),
    "getgid": (104, 176),
    "getegid": (108, 177),
    "gettid": (186, 178),
    "getrandom": (318, 278),
    "getrusage": (98, 165),
    "clock_gettime": (228, 113),
    "clock_nanosleep": (230, 115),
    "gettimeofday": (96, 169),
    "times": (100, 153),
    "sysinfo": (99, 179),
    "exit": (60, 93),
    "exit_group": (231, 94),
}
# System calls that are allowed with one value of one argument: number, position of the argument, value.
FCNTL, PRLIMIT64, TGKILL = (72, 25), (302, 261), (234, 131)


class RefusedError(Exception):
    """This machine does not allow a protection. The message says why."""


def confine() -> list[str]:
    """Confines this process for good; it must have one thread. Returns what this machine does not allow.

    Memory, CPU time and the sizes of files are limited elsewhere, in trainer.workers.audio.
    """
    parent = os.getppid()
    walls: list[tuple[str, Callable[[], None]]] = [("no network, by a namespace", leave_network)]
    if os.geteuid() == 0:  # nobody else can become another user
        walls.append(("a user of its own", become_nobody))
    walls += [
        ("no files, by Landlock", refuse_files),
        ("no system calls but those of decoding, by seccomp", refuse_system_calls),
    ]
    missing = []
    for name, build in walls:
        try:
            build()
        except (RefusedError, OSError) as error:
            missing.append(f"{name} ({error})")
        if build is become_nobody:
            die_with(parent)  # the kernel forgets it when the user changes
    return missing


def die_with(parent: int) -> None:
    """Makes the kernel kill this process when `parent` dies."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("the trainer died while this process was starting")


def leave_network() -> None:
    """Moves this process into a network of its own, without any interface."""
    flags = CLONE_NEWNET if os.geteuid() == 0 else CLONE_NEWNET | CLONE_NEWUSER
    _checked(_libc().unshare(flags))


def become_nobody() -> None:
    """Gives up root's rights. Files that are open already stay so."""
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)


def refuse_files() -> None:
    """Makes every opening of a file fail, from now on, and all that Landlock refuses besides."""
    libc = _libc()
    version = _checked(libc.syscall(LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), LANDLOCK_GET_VERSION))
    refused = struct.pack(
        "=QQQ",
        FILE_RIGHTS[min(version, max(FILE_RIGHTS))],
        NETWORK_RIGHTS if version >= NETWORK_RIGHTS_SINCE else 0,
        SCOPES if version >= SCOPES_SINCE else 0,
    )
    ruleset = _checked(libc.syscall(LANDLOCK_CREATE_RULESET, refused, ctypes.c_size_t(len(refused)), 0))
    _gain_no_privileges()
    _checked(libc.syscall(LANDLOCK_RESTRICT_SELF, ruleset, 0))
    os.close(ruleset)


def refuse_system_calls() -> None:
    """Makes every system call fail with EPERM except those in ALLOWED; no process can be started."""
    if platform.machine() not in ARCHITECTURES or sys.platform != "linux":
        raise RefusedError(f"not known for {sys.platform} on {platform.machine()}")
    instructions = b"".join(_filter(*ARCHITECTURES[platform.machine()]))
    code = ctypes.create_string_buffer(instructions)
    # struct sock_fprog: the number of instructions, and where they are.
    program = struct.pack("HxxxxxxP", len(instructions) // 8, ctypes.addressof(code))
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
    _gain_no_privileges()
    _checked(_libc().prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program, 0, 0))


def _filter(architecture: int, column: int) -> Iterator[bytes]:
    """The instructions of classic BPF, 8 bytes each, for struct seccomp_data."""
    yield _instruction(LOAD, ARCHITECTURE_AT)
    yield _instruction(EQUAL, architecture, if_true=1)
    yield _instruction(RETURN, KILL)
    for number in (numbers[column] for numbers in ALLOWED.values()):
        yield _instruction(LOAD, NUMBER_AT)
        yield _instruction(EQUAL, number, if_false=1)
        yield _instruction(RETURN, ALLOW)
    for numbers, argument, value in (
        (FCNTL, 1, F_DUPFD_CLOEXEC),
        (PRLIMIT64, 0, 0),
        (TGKILL, 0, os.getpid()),
    ):
        yield _instruction(LOAD, NUMBER_AT)
        yield _instruction(EQUAL, numbers[column], if_false=3)
        yield _instruction(LOAD, ARGUMENTS_AT + 8 * argument)
        yield _instruction(EQUAL, value, if_false=1)
        yield _instruction(RETURN, ALLOW)
    yield _instruction(RETURN, REFUSE)


def _instruction(code: int, value: int, *, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)


def _gain_no_privileges() -> None:
    _checked(_libc().prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))


def _libc() -> ctypes.CDLL:
    if sys.platform != "linux":
        raise RefusedError(f"not known for {sys.platform}")
    return ctypes.CDLL(None, use_errno=True)


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
