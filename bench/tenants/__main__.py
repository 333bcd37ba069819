"""Measures what a tenant perceives while another floods the gateway, beside what it perceives otherwise.

    python -m bench.tenants [--json]

Starts all servers it needs. Prints a table, which bench/README.md describes. Ends with status 1 if a goal is
missed.
"""

import asyncio
import json
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from statistics import median
from typing import TYPE_CHECKING, Annotated

import typer
import uvloop

from bench.load.client import own_channel
from bench.load.figures import percentile
from bench.load.rows import TYPES
from bench.tenants.flood import flooding
from bench.tenants.system import Tenant, running
from earmark.v1 import training_service_pb2 as pb
from earmark.v1.training_service_pb2_grpc import TrainingServiceStub

if TYPE_CHECKING:
    from earmark.v1.training_service_pb2_grpc import TrainingServiceAsyncStub

TENANTS = 50
# Phases without the flood and with it take turns, so that both see the same machine.
ROUNDS, PHASE_SECONDS = 3, 15.0
BEGIN_SECONDS = 2.0
GET, DISPATCH = "GetTrainingJob", "dispatch"
# The time between the beginnings of two of a kind, of the tenant that is measured and of each of the others.
SECONDS = {GET: 0.02, DISPATCH: 0.25}
OTHERS_SECONDS = 0.5
MOST_TIMES_QUIET = 2.0

Phase = dict[str, list[float]]


async def measure() -> tuple[Phase, Phase, Counter[str]]:
    """The seconds of everything without the flood and with it, and what the flood got."""
    quiet: Phase = defaultdict(list)
    flooded: Phase = defaultdict(list)
    statuses: Counter[str] = Counter()
    async with running(TENANTS) as (address, (measured, flooder, *others)):
        channels = [own_channel(address) for _ in range(2)]
        stub, stub_of_others = map(TrainingServiceStub, channels)
        steady = [asyncio.create_task(_steady(stub_of_others, tenant)) for tenant in others]
        await _phase(stub, measured, BEGIN_SECONDS, defaultdict(list))
        for number in range(ROUNDS):
            print(f"{time.strftime('%X')} round {number + 1} of {ROUNDS}", file=sys.stderr)
            await _phase(stub, measured, PHASE_SECONDS, quiet)
            async with flooding(address, flooder) as got:
                await asyncio.sleep(BEGIN_SECONDS)
                await _phase(stub, measured, PHASE_SECONDS, flooded)
            statuses += got
            await asyncio.sleep(BEGIN_SECONDS)
        for task in steady:
            task.cancel()
        await asyncio.wait(steady)
        for channel in channels:
            await channel.close()
    return quiet, flooded, statuses


async def _phase(stub: "TrainingServiceAsyncStub", tenant: Tenant, seconds: float, times: Phase) -> None:
    until = time.monotonic() + seconds
    doing: dict[str, Callable[[], Awaitable[float]]] = {
        GET: lambda: _get(stub, tenant),
        DISPATCH: lambda: _dispatch(stub, tenant),
    }

    async def repeat(name: str, work: Callable[[], Awaitable[float]]) -> None:
        while (began := time.monotonic()) < until:
            times[name].append(await work())
            await asyncio.sleep(max(0.0, began + SECONDS[name] - time.monotonic()))

    async with asyncio.TaskGroup() as tasks:
        for name, work in doing.items():
            tasks.create_task(repeat(name, work))


async def _steady(stub: "TrainingServiceAsyncStub", tenant: Tenant) -> None:
    while True:
        await _get(stub, tenant)
        await asyncio.sleep(OTHERS_SECONDS)


async def _get(stub: "TrainingServiceAsyncStub", tenant: Tenant) -> float:
    began = time.monotonic()
    request = pb.GetTrainingJobRequest(training_job_id=tenant.job_id)
    await stub.GetTrainingJob(request, metadata=tenant.metadata)
    return time.monotonic() - began


async def _dispatch(stub: "TrainingServiceAsyncStub", tenant: Tenant) -> float:
    """From the call that creates a job to its trainer's ACCEPTED."""
    began = accepted = time.monotonic()
    request = pb.CreateTrainingJobRequest(
        dataset_id=tenant.dataset_id, annotation_set_id=tenant.set_id, config={"artifact_types": TYPES}
    )
    job = (await stub.CreateTrainingJob(request, metadata=tenant.metadata)).training_job
    watch = pb.WatchTrainingJobRequest(training_job_id=job.id)
    # Read to its end, so that the trainer is free again.
    async for response in stub.WatchTrainingJob(watch, metadata=tenant.metadata):
        if response.event.notice.code == pb.NOTICE_CODE_ACCEPTED:
            accepted = time.monotonic()
    return accepted - began


def _figures(seconds: list[float]) -> dict[str, float]:
    return {
        "p50_ms": round(1000 * median(seconds), 2),
        "p99_ms": round(1000 * percentile(seconds, 0.99), 2),
        "count": len(seconds),
    }


def main(
    *, as_lines: Annotated[bool, typer.Option("--json", help="JSON instead of a table.")] = False
) -> None:
    """Measure a tenant beside a flood."""
    quiet, flooded, statuses = uvloop.run(measure())
    found = {name: {"quiet": _figures(quiet[name]), "flooded": _figures(flooded[name])} for name in SECONDS}
    ratios = {name: each["flooded"]["p99_ms"] / each["quiet"]["p99_ms"] for name, each in found.items()}
    if as_lines:
        print(json.dumps({"figures": found, "ratios": ratios, "flood": statuses}))
    else:
        print("| | quiet, p50 / p99 ms | beside the flood | p99, times | goal |\n|---|---|---|---|---|")
        for name, each in found.items():
            cells = [f"{each[phase]['p50_ms']} / {each[phase]['p99_ms']}" for phase in ("quiet", "flooded")]
            print(f"| {name} | {' | '.join(cells)} | {ratios[name]:.1f} | <= {MOST_TIMES_QUIET:g} |")
        print(f"\nThe flood got {dict(statuses)}.")
    sys.exit(1 if max(ratios.values()) > MOST_TIMES_QUIET else 0)


if __name__ == "__main__":
    typer.run(main)
