"""The figures of unary calls, and of the dispatch of a job to its trainer."""

import asyncio
import time
from collections import defaultdict
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any
from uuid import UUID

import asyncpg
from grpc import aio
from uuid_utils.compat import uuid7

from bench.load.figures import Bench, Figure, percentile
from bench.load.methods import CREATE, GET
from bench.load.rows import TYPES, Dataset, insert_job
from bench.load.system import Server
from earmark.v1 import training_service_pb2 as pb
from earmark.v1.training_service_pb2_grpc import TrainingServiceStub

if TYPE_CHECKING:
    from earmark.v1.training_service_pb2_grpc import TrainingServiceAsyncStub

ROUNDS = 3
SECONDS = 3.0
IN_FLIGHT = 64
DISPATCHED = 40


@dataclass(frozen=True, slots=True)
class Rate:
    """The calls of one round. `cpu_us`: CPU time of the server's process per call, over all cores."""

    per_second: float
    cpu_us: float
    p50_ms: float


async def reads(bench: Bench) -> Figure:
    """GetTrainingJob; each call in flight asks for a different job."""
    async with bench.system.database.transaction() as connection:
        ids = [await insert_job(connection, bench.small) for _ in range(IN_FLIGHT)]
    rounds: dict[str, list[Rate]] = defaultdict(list)
    for _ in range(ROUNDS):
        rounds["bare"].append(await read(bench, bench.bare, ids))
        rounds["gateway"].append(await read(bench, bench.system.gateway, ids))
    measured, bare = (median(rate.per_second for rate in rounds[name]) for name in ("gateway", "bare"))
    cpu, bare_cpu = (median(rate.cpu_us for rate in rounds[name]) for name in ("gateway", "bare"))
    return Figure(
        name=f"GetTrainingJob, {IN_FLIGHT} in flight",
        unit="calls/s",
        goal=">= 50 % of bare",
        met=measured >= bare / 2,
        measured=measured,
        bare=bare,
        details={
            "server_cpu_us_per_call": cpu,
            "bare_server_cpu_us_per_call": bare_cpu,
            "bare_cpu_share": bare_cpu / cpu,
            "p50_ms": median(rate.p50_ms for rate in rounds["gateway"]),
            "bare_p50_ms": median(rate.p50_ms for rate in rounds["bare"]),
        },
    )


async def read(bench: Bench, server: Server, ids: list[UUID], key: str = "") -> Rate:
    """One round of GetTrainingJob, each call in flight of another job, with the API key if there is one."""
    requests = [pb.GetTrainingJobRequest(training_job_id=str(id_)).SerializeToString() for id_ in ids]
    cpu, clients = server.cpu_seconds(), bench.clients
    shares = [requests[number :: len(clients)] for number in range(len(clients))]
    seconds_by_client = await asyncio.gather(
        *(
            client.ask("call", server.address, GET, share, SECONDS, key)
            for client, share in zip(clients, shares, strict=True)
        )
    )
    calls = [seconds for of_client in seconds_by_client for seconds in of_client]
    cpu_us = (server.cpu_seconds() - cpu) / len(calls) * 1e6
    return Rate(len(calls) / SECONDS, cpu_us, 1000 * median(calls))


async def reply_bytes(address: str, job_id: UUID) -> int:
    """The size of the gateway's GetTrainingJob reply for the job."""
    async with aio.insecure_channel(address) as channel:
        request = pb.GetTrainingJobRequest(training_job_id=str(job_id)).SerializeToString()
        get: Any = channel.unary_unary(GET)
        return len(await get(request))


async def creates(bench: Bench) -> Figure:
    """CreateTrainingJob on the large dataset, one call at a time. Bare: one INSERT and its commit."""
    durations: dict[str, list[list[float]]] = defaultdict(list)
    request = _create(bench.large).SerializeToString()
    connection = await asyncpg.connect(bench.system.database.dsn)
    await connection.execute("CREATE TABLE bench_inserts (id uuid PRIMARY KEY, body text NOT NULL)")
    for _ in range(ROUNDS):
        durations["bare"].append(await _insert(connection, request.hex()))
        address = bench.system.gateway.address
        durations["gateway"].append(await bench.clients[0].ask("call", address, CREATE, [request], SECONDS))
    await connection.close()
    p99, bare_p99 = (
        1000 * median(percentile(seconds, 0.99) for seconds in durations[name])
        for name in ("gateway", "bare")
    )
    return Figure(
        name="CreateTrainingJob, p99, on 1,000 files and 100,000 annotations",
        unit="ms",
        goal="<= 50 ms",
        met=p99 <= 50,  # noqa: PLR2004
        measured=p99,
        bare=bare_p99,
        details={
            "p50_ms": 1000 * median(map(median, durations["gateway"])),
            "bare_p50_ms": 1000 * median(map(median, durations["bare"])),
            "calls": sum(map(len, durations["gateway"])),
        },
    )


def _create(dataset: Dataset) -> pb.CreateTrainingJobRequest:
    return pb.CreateTrainingJobRequest(
        dataset_id=str(dataset.id),
        annotation_set_id=str(dataset.annotation_set_id),
        config={"artifact_types": TYPES},
    )


async def _insert(connection: asyncpg.Connection, body: str) -> list[float]:
    durations = []
    until = time.monotonic() + SECONDS
    while (began := time.monotonic()) < until:
        async with connection.transaction():
            await connection.execute("INSERT INTO bench_inserts VALUES ($1, $2)", uuid7(), body)
        durations.append(time.monotonic() - began)
    return durations


async def dispatches(bench: Bench) -> Figure:
    """From the call that creates a job until a watch receives ACCEPTED of an idle trainer."""
    async with aio.insecure_channel(bench.system.gateway.address) as channel:
        durations = [await _dispatch(TrainingServiceStub(channel), bench.small) for _ in range(DISPATCHED)]
    p50 = 1000 * median(durations)
    return Figure(
        name="dispatch, job created to trainer's accepted, p50",
        unit="ms",
        goal="<= 100 ms",
        met=p50 <= 100,  # noqa: PLR2004
        measured=p50,
        bare=None,
        details={"p99_ms": 1000 * percentile(durations, 0.99), "jobs": len(durations)},
    )


async def _dispatch(stub: "TrainingServiceAsyncStub", dataset: Dataset) -> float:
    began = time.monotonic()
    created = await stub.CreateTrainingJob(_create(dataset))
    accepted = None
    request = pb.WatchTrainingJobRequest(training_job_id=created.training_job.id)
    # Read to its end, so that the trainer is idle again.
    async for response in stub.WatchTrainingJob(request):
        if response.event.notice.code == pb.NOTICE_CODE_ACCEPTED:
            accepted = time.monotonic()
    assert accepted, "the job ended before a trainer accepted it"
    return accepted - began
