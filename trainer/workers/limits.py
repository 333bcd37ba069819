"""Limits of this process, which the kernel enforces."""

import resource

from earmark.trainer.workers.wire import DecodeLimits

OPEN_FILES = 64


def limit_resources(limits: DecodeLimits) -> None:
    """Makes allocations beyond the memory limit raise MemoryError. Files mapped for reading do not count.

    Limits open files, file sizes and core dumps too.
    """
    for name, limit in (
        (resource.RLIMIT_DATA, limits.memory_bytes),
        (resource.RLIMIT_NOFILE, OPEN_FILES),
        (resource.RLIMIT_FSIZE, limits.scratch_bytes),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(name, (limit, limit))


def cpu_seconds() -> float:
    """The CPU time that this process has used."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def limit_cpu(seconds: float | None, since: float | None = None) -> None:
    """Lets the kernel kill this process, by SIGXCPU, when it has used so much more CPU time.

    More than at `since`, a value of cpu_seconds, or else than now. None for `seconds` removes the limit.
    """
    used = cpu_seconds() if since is None else since
    limit = resource.RLIM_INFINITY if seconds is None else int(used + seconds)
    resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))
