"""The drill: runs a system, clients and faults; waits without faults until all work has ended; validates."""

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

from bench.faults import (
    clients,
    dataset_clients,
    dependencies,
    live_clients,
    log_clients,
    other_tenant,
    search_clients,
    tables,
    validators,
)
from bench.faults.api import Api
from bench.faults.clock import built
from bench.faults.dataset import TrainingData, create_training_data
from bench.faults.faults import Faults, plan
from bench.faults.job_validators import waits
from bench.faults.observations import LiveStream, Observations
from bench.faults.other_tenant import Keys, OtherTenant, create_keys
from bench.faults.recovery import seconds_to_recover
from bench.faults.store import Store
from bench.faults.system import System
from bench.faults.tables import Tables
from earmark.client import connect
from earmark.gateway.dispatcher.orphans import GRACE_SECONDS, remove_orphans
from earmark.storage.database import Database
from earmark.storage.objects import ObjectStore
from earmark.v1 import dataset_service_pb2

# Leases are so short that a paused process loses its jobs.
GATEWAY = {
    "EARMARK_LEASE_SECONDS": "3",
    "EARMARK_TRAINER_SILENCE_SECONDS": "4",
    "EARMARK_HEARTBEAT_SECONDS": "2",
}
# With kills, a job may lose its trainer any number of times.
KILLED = {"EARMARK_MAX_ATTEMPTS": "1000"}
TRAINER = {
    "EARMARK_NETWORK": "tiny",
    "EARMARK_PRECOMPILE": "true",
    "EARMARK_AUDIO_PROCESSES": "1",
    "EARMARK_HEARTBEAT_SECONDS": "1",
}
# Time for everything that is unfinished when the faults end.
FINISH_SECONDS = 240.0
# Time for the watchers of the log to receive the last events.
LOG_SECONDS = 30.0
REPORT_SECONDS = 15.0

Log = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Report:
    """The figures of a drill, and the violations by validator."""

    figures: dict[str, Any]
    violations: dict[str, list[str]]


@dataclass(frozen=True, slots=True)
class Resources:
    """What the clients work on: a dataset to train on, one for uploads, and the rows of another tenant."""

    data: TrainingData
    uploads_id: str
    other_tenant: OtherTenant
    keys: Keys


async def drill(seed: int, kills: int, refusals: int, folder: Path, log: Log) -> Report:
    """Runs one drill in `folder`, which keeps the processes' logs. `log` receives lines on its progress.

    The object store is the stand-in for S3 if there are faults of dependencies, and a folder otherwise.
    """
    observed, began = Observations(), time.time()
    async with AsyncExitStack() as stack:
        store = stack.enter_context(Store(folder / "objects")) if refusals else None
        gateway = GATEWAY | (KILLED if kills else {})
        report_exit = observed.unexpected_exits.append
        system = System(
            folder,
            report_exit,
            gateway=gateway,
            trainer=TRAINER,
            store=store,
            clock_library=built(folder) if refusals else None,
        )
        await stack.enter_async_context(system)
        other = await other_tenant.insert(system.postgres.dsn)
        resources = await asyncio.to_thread(_prepare, system.addresses[0], folder, other)
        log("everything is up, and there is a dataset to train on")
        faults = Faults(system, observed)
        injecting = _inject(faults, seed, kills, refusals)
        await _run_clients(seed, system, observed, resources, injecting, log)
        await _probe(system, observed, resources)
        await _sweep(system)
        contents = await tables.read(system.postgres.dsn, system.objects)
    figures = {
        "seed": seed,
        "seconds": round(time.time() - began),
        "faults": dict(sorted(faults.counts.items())),
        **_figures(observed, contents),
    }
    data = resources.data
    own = {data.dataset_id, data.set_id, *data.file_ids, resources.uploads_id}
    return Report(figures, validators.violations(observed, contents, other.secrets, own))


async def _inject(faults: Faults, seed: int, kills: int, refusals: int) -> None:
    """Runs both plans at the same time."""
    async with asyncio.TaskGroup() as group:
        group.create_task(faults.run(plan(seed, kills)))
        group.create_task(faults.run_in_turn(dependencies.plan(seed, refusals)))


def _prepare(address: str, folder: Path, other: OtherTenant) -> Resources:
    """Creates a dataset to train on, and another for uploads, since a job needs every file to be ready."""
    keys = create_keys(address)
    data = create_training_data(address, folder / "audio", keys.own)
    with connect(address, api_key=keys.own) as client:
        create = dataset_service_pb2.CreateDatasetRequest(name="uploads")
        uploads_id = client.datasets.CreateDataset(create).dataset.id
    return Resources(data, uploads_id, other, keys)


async def _run_clients(
    seed: int,
    system: System,
    observed: Observations,
    resources: Resources,
    faults: Coroutine[Any, Any, None],
    log: Log,
) -> None:
    """Runs clients until `faults` are over, and then until everything the clients began has ended."""
    stop, all_ended = asyncio.Event(), asyncio.Event()
    async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:

        async def client(name: str, key: str = resources.keys.own) -> Api:
            rng = random.Random(f"{seed} {name}")
            return await stack.enter_async_context(Api(name, system.addresses, observed, rng, key))

        data, other = resources.data, resources.other_tenant
        stranger = await client(other_tenant.CLIENT, resources.keys.stranger)
        jobs = group.create_task(clients.jobs(await client("jobs"), data, stop), name="jobs")
        model_id = await search_clients.active_model(await client("models"))
        log("there is a model to search with; the faults begin")
        work = {
            "searches": search_clients.searches(await client("searches"), data, model_id, stop),
            "live": live_clients.live(await client("live"), model_id, stop),
            "sets": dataset_clients.sets(await client("sets"), data, stop),
            **{
                name: dataset_clients.uploads(await client(name), resources.uploads_id, stop)
                for name in ("uploads", "more uploads", "other uploads")[: 3 if system.stores else 1]
            },
            "deletions": dataset_clients.deletions(await client("deletions"), stop),
            "reads": dataset_clients.reads(await client("reads"), data, other, stop),
            other_tenant.CLIENT: other_tenant.calls(stranger, data, other, stop),
        }
        tasks = [jobs, *(group.create_task(task, name=name) for name, task in work.items())]
        logs = log_clients.logs(await client("logs"), resources.uploads_id, all_ended)
        following = group.create_task(logs, name="logs")
        reporting = group.create_task(_report(observed, log))
        await faults
        log("the faults are over; waiting for all that is unfinished")
        stop.set()
        _, late = await asyncio.wait(tasks, timeout=FINISH_SECONDS)
        all_ended.set()
        late |= (await asyncio.wait((following,), timeout=LOG_SECONDS))[1]
        for task in late:
            observed.unfinished.append(f"{task.get_name()}: not done {FINISH_SECONDS:g} s after the faults")
        for task in (*late, reporting):
            task.cancel()


async def _sweep(system: System) -> None:
    """Removes orphans, and what jobs have left, as gateways do when they have become old."""
    async with Database(system.postgres.dsn) as database:
        async with database.connection() as connection:
            for table, time in (("orphan_candidates", "since"), ("training_jobs", "finished_at")):
                age = f"UPDATE {table} SET {time} = {time} - make_interval(secs => $1)"
                await connection.execute(age, GRACE_SECONDS)
        await remove_orphans(database, ObjectStore.open(str(system.objects)))


async def _report(observed: Observations, log: Log) -> None:
    while True:
        await asyncio.sleep(REPORT_SECONDS)
        created = {watcher.job_id for watcher in observed.watchers}
        ended = {watcher.job_id for watcher in observed.watchers if clients.is_over(watcher)}
        kinds = Counter(fault.kind for fault in observed.faults)
        faults = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
        log(f"{faults}; {len(created)} jobs created, {len(ended)} ended; {len(observed.calls)} calls")


async def _probe(system: System, observed: Observations, resources: Resources) -> None:
    """Calls every rpc at every gateway: without faults all of them must answer."""
    key = resources.keys.own
    async with Api("probe", system.addresses, observed, random.Random(0), key) as api:
        for gateway in api.gateways:
            requests = dataset_clients.read_requests(resources.data, resources.other_tenant)
            for method, request, expected in requests:
                await api.call(method, request, gateway=gateway, expected=expected)


def _figures(observed: Observations, contents: Tables) -> dict[str, Any]:
    statuses = Counter(job.status for job in contents.jobs)
    seconds = [after - before for _, before, after in waits(contents)]
    return {
        "jobs": {"created": len(contents.jobs), **dict(sorted(statuses.items()))},
        "searches": dict(Counter(search.status for search in contents.searches)),
        "live_streams": {
            "ended": sum(stream.ended is not None for stream in observed.live_streams),
            "detections": sum(len(stream.found) for stream in observed.live_streams),
            "during_losses": sum(_lost_a_process(stream, observed) for stream in observed.live_streams),
        },
        "attempts": sum(job.attempt for job in contents.jobs),
        "calls": len(observed.calls),
        "errors": validators.errors_by_code(observed),
        "refusals": validators.refusals_by_reason(observed),
        "watchers": len(observed.watchers),
        "streams": sum(len(watcher.streams) for watcher in observed.watchers),
        "events": sum(len(watcher.events) for watcher in observed.watchers),
        "events_of_the_log": sum(len(watcher.events) for watcher in observed.log_watchers),
        "datasets_deleted": len(observed.deleted),
        "sets_published": len({c.request.annotation_set_id for c in observed.of("PublishAnnotationSet")}),
        "uploads": dict(Counter("good" if upload.good else "bad" for upload in observed.uploads)),
        "seconds_to_recover": seconds_to_recover(observed, contents),
        "seconds_to_next_attempt": {
            "median": round(statistics.median(seconds), 1) if seconds else None,
            "max": round(max(seconds), 1) if seconds else None,
        },
    }


def _lost_a_process(stream: LiveStream, observed: Observations) -> bool:
    """Whether a gateway or trainer was killed, stopped or paused during the stream."""
    return any(
        fault.kind in {"kill", "stop", "pause"}
        and stream.began < fault.began < (stream.ended or float("inf"))
        and not fault.target.startswith("postgres")
        for fault in observed.faults
    )
