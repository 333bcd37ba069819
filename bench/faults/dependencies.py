"""The second plan: what the services stand on refuses, fails, is slow, jumps or is the wrong one."""

import asyncio
import ctypes
import os
import random
import socket
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, suppress
from pathlib import Path
from typing import cast

import psutil  # type: ignore[import-untyped]  # has no stubs
from grpc import aio

from bench.faults.clock import Clock
from bench.faults.disk import Disk
from bench.faults.step import Step
from bench.faults.store import STORE_FAULTS, Store, StoreFault
from bench.faults.system import ROLE, Postgres, Service, System
from bench.tools.processes import service
from earmark.internal.v1 import trainer_service_pb2 as pb
from earmark.internal.v1.trainer_service_pb2_grpc import TrainerServiceStub
from earmark.storage.database import Database
from earmark.storage.objects import ObjectStore

TRAINER_FAULTS = ("other store", "trainer's disk full", "jobs die", "decoder dies", "decoder writes garbage")
LOGIN_REFUSED = "login refused"
# Seconds. At the end of the fault, the clock jumps the other way.
JUMPS = {"clock ahead": 7200.0, "clock behind": -7200.0}
FAULTS = (
    *((fault, Store.kind) for fault in STORE_FAULTS),
    *((fault, "trainer") for fault in TRAINER_FAULTS),
    *((fault, Clock.kind) for fault in JUMPS),
    ("gateway's disk full", "gateway"),
    (LOGIN_REFUSED, Postgres.kind),
)
KINDS = frozenset(kind for kind, _ in FAULTS)
GAP = (1.0, 3.0)
SECONDS = (3.0, 10.0)
# Faults that do not last 3 to 10 s. A decoder fails as soon as it has a file.
SECONDS_OF = {LOGIN_REFUSED: 10.0, "decoder dies": 20.0, "decoder writes garbage": 20.0}
# The longest wait for an upload.
UPLOAD_SECONDS = 5.0
TRAINING = "trainer training"
# More than any disk has free.
ENDLESS_MB = str(1 << 40)
GARBAGE = b"\xff" * 64
PIDFD_GETFD = 438  # the number of the system call, which Python does not offer


def plan(seed: int, faults: int) -> Iterator[Step]:
    """`faults` faults, of each kind equally many."""
    rng = random.Random(f"{seed} dependencies")
    done = 0
    while done < faults:
        for kind, target_kind in rng.sample(FAULTS, len(FAULTS))[: faults - done]:
            seconds = SECONDS_OF.get(kind, rng.uniform(*SECONDS))
            yield Step(kind, target_kind, rng.random(), rng.uniform(*GAP), seconds)
            done += 1


async def disturb(system: System, target: Service | Postgres | Store | Clock, step: Step) -> None:
    """Injects a fault of KINDS. Returns when it is over.

    It begins when a file has been uploaded, so that a file has to be processed meanwhile.
    """
    for store in system.stores:
        store.uploaded.clear()
        await asyncio.to_thread(store.uploaded.wait, UPLOAD_SECONDS)
    if isinstance(target, Store):
        with target.faulty(cast("StoreFault", step.kind)):
            await asyncio.sleep(step.seconds)
    elif isinstance(target, Clock):
        with target.moved(JUMPS[step.kind]):
            await asyncio.sleep(step.seconds)
    elif isinstance(target, Postgres):
        await _refuse_login(target, step.seconds)
    elif step.kind == "other store":
        other = system.other_objects
        await asyncio.to_thread(ObjectStore.open(str(other)).created)
        await _run_with(target, {"EARMARK_OBJECT_STORE": str(other)}, step.seconds)
    elif step.kind.endswith("disk full"):
        await _fill_disk(target, system.disk_of(target), step.seconds)
    else:
        await _break_workers(system, target, step)


async def _refuse_login(postgres: Postgres, seconds: float) -> None:
    """As after a change of the password: ends the services' connections, and lets them open none."""
    async with Database(postgres.dsn) as database, database.connection() as connection:
        await connection.execute("RESET ROLE")
        await connection.execute(f"ALTER ROLE {ROLE} NOLOGIN")
        try:
            end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1"
            await connection.execute(end, ROLE)
            await asyncio.sleep(seconds)
        finally:
            await connection.execute(f"ALTER ROLE {ROLE} LOGIN")


async def _fill_disk(target: Service, disk: Disk | None, seconds: float) -> None:
    if disk is None:
        await _run_with(target, {"EARMARK_DISK_RESERVE_MB": ENDLESS_MB}, seconds)
        return
    with disk.filled():
        await asyncio.sleep(seconds)


async def _run_with(target: Service, settings: dict[str, str], seconds: float) -> None:
    """Restarts the service with wrong settings, and later with its own."""
    await target.stop()
    await target.start(settings)
    await asyncio.sleep(seconds)
    await target.stop()
    await target.start()


async def _break_workers(system: System, trainer: Service, step: Step) -> None:
    """Kills the training process whenever it starts a job, or breaks once what decodes a file."""
    worker = TRAINING if step.kind == "jobs die" else "trainer audio"
    with suppress(TimeoutError):
        async with asyncio.timeout(step.seconds), aclosing(_starts(system, trainer, worker)) as starts:
            async for _ in starts:
                for process in trainer.process_tree():
                    with suppress(psutil.NoSuchProcess, ProcessLookupError):
                        if service(process.cmdline()) != worker:
                            continue
                        if step.kind == "decoder writes garbage":
                            await asyncio.to_thread(_write_garbage, process.pid)
                        else:
                            process.kill()
                if worker != TRAINING:
                    return


def _write_garbage(pid: int) -> None:
    """Writes into the sockets of the process as if it did so itself. Needs the rights to debug it."""
    libc, process = ctypes.CDLL(None, use_errno=True), os.pidfd_open(pid)
    try:
        for link in Path(f"/proc/{pid}/fd").iterdir():
            if not str(link.readlink()).startswith("socket:"):
                continue
            copied = libc.syscall(PIDFD_GETFD, process, int(link.name), 0)
            if copied < 0:
                raise OSError(ctypes.get_errno(), "cannot write as another process: run the drill as root")
            with socket.socket(fileno=copied) as end:
                end.send(GARBAGE)
    finally:
        os.close(process)


async def _starts(system: System, trainer: Service, worker: str) -> AsyncGenerator[None]:
    """Yields whenever the trainer begins a job or a file."""
    free, request = 0, pb.WatchCapacityRequest()
    grant = system.signer.metadata("WatchCapacity", request.SerializeToString())
    async with aio.insecure_channel(system.trainer_address(trainer)) as channel:
        async for response in TrainerServiceStub(channel).WatchCapacity(request, metadata=grant):
            before, capacity = free, response.capacity
            free = capacity.free_training_slots if worker == TRAINING else capacity.free_audio_slots
            if free < before:
                yield
