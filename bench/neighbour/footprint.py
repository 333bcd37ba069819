"""Memory and scratch files of the services, sampled while they run."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # has no stubs

from bench.load.system import Server
from bench.neighbour.system import System

SAMPLE_SECONDS = 0.25
_BLOCK_BYTES = 512  # the unit of st_blocks


@dataclass(slots=True)
class Footprint:
    """The largest samples, in bytes; for the trainers those of both, with all their processes."""

    gateway_memory: int = 0
    gateway_scratch: int = 0
    trainer_memory: int = 0
    trainer_scratch: int = 0


@asynccontextmanager
async def measured(system: System) -> AsyncIterator[Footprint]:
    """The footprint of what happens in the block."""
    largest = Footprint()
    sampling = asyncio.create_task(_sample(system, largest))
    try:
        yield largest
    finally:
        sampling.cancel()
        await asyncio.wait([sampling])


async def _sample(system: System, largest: Footprint) -> None:
    while True:
        now = await asyncio.to_thread(_footprint, system)
        for name in Footprint.__slots__:
            setattr(largest, name, max(getattr(largest, name), getattr(now, name)))
        await asyncio.sleep(SAMPLE_SECONDS)


def _footprint(system: System) -> Footprint:
    gateway, trainers = _tree([system.gateway]), _tree(system.trainers)
    return Footprint(
        gateway_memory=memory(gateway),
        gateway_scratch=scratch(gateway, system.data_dir("gateway")),
        trainer_memory=memory(trainers),
        trainer_scratch=scratch(trainers, system.data_dir("trainer")),
    )


def _tree(servers: Iterable[Server]) -> list[psutil.Process]:
    processes: list[psutil.Process] = []
    for server in servers:
        with suppress(psutil.NoSuchProcess):
            processes += [server.process, *server.process.children(recursive=True)]
    return processes


def memory(processes: Iterable[psutil.Process]) -> int:
    """Bytes of resident memory. What processes share is counted in each."""
    total = 0
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            total += process.memory_info().rss
    return total


def scratch(processes: Iterable[psutil.Process], folder: Path) -> int:
    """Bytes on disk of the files in the folder, and of the deleted ones that the processes have open."""
    files = [Path(root) / name for root, _, names in os.walk(folder) for name in names]
    for process in processes:
        with suppress(OSError):
            files += [link for link in Path(f"/proc/{process.pid}/fd").iterdir() if _lies_in(link, folder)]
    sizes = {}
    for file in files:
        with suppress(OSError):
            status = file.stat()
            sizes[status.st_dev, status.st_ino] = status.st_blocks * _BLOCK_BYTES
    return sum(sizes.values())


def _lies_in(link: Path, folder: Path) -> bool:
    with suppress(OSError):
        return link.readlink().is_relative_to(folder)
    return False
