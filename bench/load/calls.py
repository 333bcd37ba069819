"""Unary calls and the way of a job to its trainer."""

import asyncio
import time
from collections import defaultdict
from dataclasses import dataclass
from statistics import median
from uuid import UUID

import asyncpg
from earmark.v1 import training_service_pb2 as pb
from earmark.v1.training_service_pb2_grpc import TrainingServiceStub
from grpc import aio
from uuid_utils.compat import uuid7

from bench.load.figures import Bench, Figure, percentile
from bench.load.methods import CREATE, GET
from bench.load.rows import TYPES, Dataset, job
from bench.load.system import Server

ROUNDS = 3
SECONDS = 3.0
IN_FLIGHT = 64
DISPATCHED = 40


@dataclass(frozen=True, slots=True)
class Rate:
    """Calls of one round. `cpu_us` is what one cost the server's process, of all cores."""

    per_second: float
    cpu_us: float
    p50_ms: float


async def reads(bench: Bench) -> Figure:
    """GetTrainingJob, each of the calls in flight for a job of its own."""
    async with bench.system.database.transaction() as connection:
        ids = [await job(connection, bench.small) for _ in range(IN_FLIGHT)]
    rounds: dict[str, list[Rate]] = defaultdict(list)
    for _ in range(ROUNDS):
        rounds["bare"].append(await _read(bench, bench.bare, ids))
        rounds["gateway"].append(await _read(bench, bench.system.gateway, ids))
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


async def _read(bench: Bench, server: Server, ids: list[UUID]) -> Rate:
    requests = [pb.GetTrainingJobRequest(training_job_id=str(id_)).SerializeToString() for id_ in ids]
    cpu, clients = server.cpu_seconds(), bench.clients
    shares = [requests[number :: len(clients)] for number in range(len(clients))]
    taken = await asyncio.gather(
        *(
            client.ask("call", server.address, GET, share, SECONDS)
            for client, share in zip(clients, shares, strict=True)
        )
    )
    calls = [seconds for of_client in taken for seconds in of_client]
    cpu_us = (server.cpu_seconds() - cpu) / len(calls) * 1e6
    return Rate(len(calls) / SECONDS, cpu_us, 1000 * median(calls))


async def reply_bytes(bench_address: str, job_id: UUID) -> int:
    """Of a job's reply."""
    async with aio.insecure_channel(bench_address) as channel:
        request = pb.GetTrainingJobRequest(training_job_id=str(job_id)).SerializeToString()
        return len(await channel.unary_unary(GET)(request))


async def creates(bench: Bench) -> Figure:
    """CreateTrainingJob on the large dataset, one after the other, beside an INSERT and its commit."""
    taken: dict[str, list[list[float]]] = defaultdict(list)
    request = _create(bench.large).SerializeToString()
    connection = await asyncpg.connect(bench.system.database.dsn)
    await connection.execute("CREATE TABLE bench_inserts (id uuid PRIMARY KEY, body text NOT NULL)")
    for _ in range(ROUNDS):
        taken["bare"].append(await _insert(connection, request.hex()))
        address = bench.system.gateway.address
        taken["gateway"].append(await bench.clients[0].ask("call", address, CREATE, [request], SECONDS))
    await connection.close()
    p99, bare_p99 = (
        1000 * median(percentile(of, 0.99) for of in taken[name]) for name in ("gateway", "bare")
    )
    return Figure(
        name="CreateTrainingJob, p99, on 1,000 files and 100,000 annotations",
        unit="ms",
        goal="<= 50 ms",
        met=p99 <= 50,  # noqa: PLR2004
        measured=p99,
        bare=bare_p99,
        details={
            "p50_ms": 1000 * median(map(median, taken["gateway"])),
            "bare_p50_ms": 1000 * median(map(median, taken["bare"])),
            "calls": sum(map(len, taken["gateway"])),
        },
    )


def _create(on: Dataset) -> pb.CreateTrainingJobRequest:
    return pb.CreateTrainingJobRequest(
        dataset_id=str(on.id), annotation_set_id=str(on.annotation_set_id), config={"artifact_types": TYPES}
    )


async def _insert(connection: asyncpg.Connection, body: str) -> list[float]:
    taken = []
    until = time.monotonic() + SECONDS
    while (began := time.monotonic()) < until:
        async with connection.transaction():
            await connection.execute("INSERT INTO bench_inserts VALUES ($1, $2)", uuid7(), body)
        taken.append(time.monotonic() - began)
    return taken


async def dispatches(bench: Bench) -> Figure:
    """From the call that creates a job to the ACCEPTED of an idle trainer, as a watch sees it."""
    async with aio.insecure_channel(bench.system.gateway.address) as channel:
        taken = [await _dispatch(TrainingServiceStub(channel), bench.small) for _ in range(DISPATCHED)]
    p50 = 1000 * median(taken)
    return Figure(
        name="dispatch, job created to trainer's accepted, p50",
        unit="ms",
        goal="<= 100 ms",
        met=p50 <= 100,  # noqa: PLR2004
        measured=p50,
        bare=None,
        details={"p99_ms": 1000 * percentile(taken, 0.99), "jobs": len(taken)},
    )


async def _dispatch(stub: TrainingServiceStub, on: Dataset) -> float:
    began = time.monotonic()
    created = await stub.CreateTrainingJob(_create(on))
    accepted = None
    request = pb.WatchTrainingJobRequest(training_job_id=created.training_job.id)
    # To its end, so that the trainer is idle again.
    async for response in stub.WatchTrainingJob(request):
        if response.event.notice.code == pb.NOTICE_CODE_ACCEPTED:
            accepted = time.monotonic()
    assert accepted, "the job ended before a trainer accepted it"
    return accepted - began
