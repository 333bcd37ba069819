"""The drill: a system, clients and faults together; then peace, until all has ended; then the verdict."""

import asyncio
import random
import statistics
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from earmark.client import connect
from earmark.v1 import dataset_service_pb2

from bench.faults import authors, clients, log_clients, stranger, tables, validators
from bench.faults.api import Api
from bench.faults.dataset import Trainable, trainable
from bench.faults.faults import Faults, plan
from bench.faults.history import History
from bench.faults.lifecycle import waits
from bench.faults.stranger import Stranger
from bench.faults.system import System
from bench.faults.tables import Tables

# Leases so short that whoever is paused loses what it holds.
GATEWAY = {
    "EARMARK_LEASE_SECONDS": "3",
    "EARMARK_TRAINER_SILENCE_SECONDS": "4",
    "EARMARK_HEARTBEAT_SECONDS": "2",
    # Trainers are lost all the time.
    "EARMARK_MAX_ATTEMPTS": "1000",
}
TRAINER = {
    "EARMARK_NETWORK": "tiny",
    "EARMARK_PRECOMPILE": "true",
    "EARMARK_AUDIO_PROCESSES": "1",
    "EARMARK_HEARTBEAT_SECONDS": "1",
}
# For all that is unfinished when the faults cease.
SETTLE_SECONDS = 240.0
# For those who follow all jobs, to come to the end when that is known.
LOG_SECONDS = 30.0
REPORT_SECONDS = 15.0

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Report:
    """What a drill was like, and what is wrong, by validator."""

    figures: dict[str, Any]
    violations: dict[str, list[str]]


@dataclass(frozen=True, slots=True)
class Known:
    """What the clients are told: where to train and annotate, where to upload, and whom they must not see."""

    data: Trainable
    uploads_id: str
    stranger: Stranger


async def drill(seed: int, kills: int, folder: Path, say: Say) -> Report:
    """One seeded run in `folder`, which keeps the processes' logs. `say` gets lines on how it goes."""
    history, began = History(), time.time()
    async with System(folder, history.deaths.append, gateway=GATEWAY, trainer=TRAINER) as system:
        theirs = await stranger.plant(system.postgres.dsn)
        known = await asyncio.to_thread(_prepare, system.addresses[0], folder, theirs)
        say("everything is up, and there is a dataset to train on")
        faults = Faults(system, history)
        await _work(seed, system, history, known, faults.run(plan(seed, kills)), say)
        await _probe(system, history, known)
        found = await tables.read(system.postgres.dsn, system.objects)
    figures = {
        "seed": seed,
        "seconds": round(time.time() - began),
        "faults": dict(sorted(faults.counts.items())),
        **_figures(history, found),
    }
    return Report(figures, validators.violations(history, found, theirs.secrets))


def _prepare(address: str, folder: Path, theirs: Stranger) -> Known:
    """A dataset to train on, and one for uploads alone, since a job needs every file to be ready."""
    data = trainable(address, folder / "audio")
    with connect(address) as client:
        create = dataset_service_pb2.CreateDatasetRequest(name="uploads")
        uploads_id = client.datasets.CreateDataset(create).dataset.id
    return Known(data, uploads_id, theirs)


async def _work(
    seed: int,
    system: System,
    history: History,
    known: Known,
    faults: Coroutine[Any, Any, None],
    say: Say,
) -> None:
    """Clients at work until `faults` are over, and then until everything they began has ended."""
    stop, settled = asyncio.Event(), asyncio.Event()
    async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:

        async def client(name: str) -> Api:
            rng = random.Random(f"{seed} {name}")
            return await stack.enter_async_context(Api(name, system.addresses, history, rng))

        work = {
            "jobs": clients.jobs(await client("jobs"), known.data, stop),
            "sets": authors.sets(await client("sets"), known.data, stop),
            "uploads": authors.uploads(await client("uploads"), known.uploads_id, stop),
            "reads": authors.reads(await client("reads"), known.data, known.stranger, stop),
        }
        tasks = [group.create_task(task, name=name) for name, task in work.items()]
        following = group.create_task(log_clients.logs(await client("logs"), settled), name="logs")
        reporting = group.create_task(_report(history, say))
        await faults
        say("the faults are over; waiting for all that is unfinished")
        stop.set()
        _, late = await asyncio.wait(tasks, timeout=SETTLE_SECONDS)
        settled.set()
        late |= (await asyncio.wait((following,), timeout=LOG_SECONDS))[1]
        for task in late:
            history.unfinished.append(f"{task.get_name()}: not done {SETTLE_SECONDS:g} s after the faults")
        for task in (*late, reporting):
            task.cancel()


async def _report(history: History, say: Say) -> None:
    while True:
        await asyncio.sleep(REPORT_SECONDS)
        created = {watcher.job_id for watcher in history.watchers}
        ended = {watcher.job_id for watcher in history.watchers if clients.is_over(watcher)}
        kinds = Counter(fault.kind for fault in history.faults)
        told = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
        say(f"{told}; {len(created)} jobs created, {len(ended)} ended; {len(history.calls)} calls")


async def _probe(system: System, history: History, known: Known) -> None:
    """In peace every rpc answers, at every gateway."""
    async with Api("probe", system.addresses, history, random.Random(0)) as api:
        for gateway in api.gateways:
            for method, request, expected in authors.everything(known.data, known.stranger):
                await api.call(method, request, gateway=gateway, expected=expected)


def _figures(history: History, found: Tables) -> dict[str, Any]:
    statuses = Counter(job.status for job in found.jobs)
    again = [after - before for _, before, after in waits(found)]
    return {
        "jobs": {"created": len(found.jobs), **dict(sorted(statuses.items()))},
        "attempts": sum(job.attempt for job in found.jobs),
        "calls": len(history.calls),
        "errors": validators.errors_by_code(history),
        "refusals": validators.refusals_by_reason(history),
        "watchers": len(history.watchers),
        "streams": sum(len(watcher.streams) for watcher in history.watchers),
        "events": sum(len(watcher.events) for watcher in history.watchers),
        "events_of_all_jobs": sum(len(watcher.events) for watcher in history.log_watchers),
        "sets_published": len({c.request.annotation_set_id for c in history.of("PublishAnnotationSet")}),
        "uploads": dict(Counter("good" if upload.good else "bad" for upload in history.uploads)),
        "seconds_to_next_attempt": {
            "median": round(statistics.median(again), 1) if again else None,
            "max": round(max(again), 1) if again else None,
        },
    }
