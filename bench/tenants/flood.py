"""The process of the tenant that floods the gateway.

    python -m bench.tenants.flood GATEWAY KEY DATASET SET JOB

It makes as many calls as it can until its stdin is closed, and then prints the numbers of statuses as JSON.
"""

import asyncio
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import uvloop
from grpc import aio

from bench.load.client import own_channel
from bench.load.methods import CREATE, GET
from bench.load.rows import TYPES
from bench.tenants.system import Tenant
from earmark.v1 import training_service_pb2 as pb

CHANNELS = 8
# At a time: the first is answered from one row, the second by a page of jobs, and the third begins work.
GETS, LISTS, CREATES = 200, 20, 8
LIST = "/earmark.v1.TrainingService/ListTrainingJobs"
PAGE = 100
# After a refusal, as its RetryInfo says at least.
RETRY_SECONDS = 0.1
# On its own machine it would take no time from the services.
NICENESS = 10


@asynccontextmanager
async def flooding(address: str, tenant: Tenant) -> AsyncIterator[Counter[str]]:
    """Floods in a process of its own during the block. The counter is filled when it ends."""
    statuses: Counter[str] = Counter()
    process = subprocess.Popen(  # noqa: ASYNC220 uvloop forks, which gRPC in this process does not bear
        [sys.executable, "-m", "bench.tenants.flood", address, *tenant.arguments()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        yield statuses
    finally:
        counted, _ = await asyncio.to_thread(process.communicate, b"")
        statuses.update(json.loads(counted))


async def flood(address: str, tenant: Tenant) -> Counter[str]:
    """Returns the numbers of statuses when stdin is closed."""
    statuses: Counter[str] = Counter()
    requests = {
        GET: (GETS, pb.GetTrainingJobRequest(training_job_id=tenant.job_id)),
        LIST: (LISTS, pb.ListTrainingJobsRequest(page_size=PAGE)),
        CREATE: (
            CREATES,
            pb.CreateTrainingJobRequest(
                dataset_id=tenant.dataset_id,
                annotation_set_id=tenant.set_id,
                config={"artifact_types": TYPES},
            ),
        ),
    }
    async with AsyncExitStack() as stack:
        channels = [await stack.enter_async_context(own_channel(address)) for _ in range(CHANNELS)]

        def call(method: str, index: int, message: bytes) -> Callable[[], Awaitable[Any]]:
            make: Any = channels[index % CHANNELS].unary_unary(method)
            return lambda: make(message, metadata=tenant.metadata)

        working = [
            asyncio.create_task(_repeat(call(method, index, request.SerializeToString()), statuses))
            for method, (count, request) in requests.items()
            for index in range(count)
        ]
        await asyncio.to_thread(sys.stdin.read)
        for task in working:
            task.cancel()
        await asyncio.wait(working)
    return statuses


async def _repeat(call: Callable[[], Awaitable[Any]], statuses: Counter[str]) -> None:
    while True:
        try:
            await call()
        except aio.AioRpcError as error:
            statuses[error.code().name] += 1
            await asyncio.sleep(RETRY_SECONDS)
        else:
            statuses["OK"] += 1


if __name__ == "__main__":
    os.nice(NICENESS)
    counted = uvloop.run(flood(sys.argv[1], Tenant(*sys.argv[2:])))
    print(json.dumps(counted))
