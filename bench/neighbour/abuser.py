"""The process of the abuser, who has another address than the neighbour.

    python -m bench.neighbour.abuser NAME GATEWAY TARGET

It abuses the gateway until its stdin is closed, and then prints the numbers of statuses as JSON.
"""

import asyncio
import json
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict

import uvloop
from grpc import aio

from bench.faults.proxy import Proxy
from bench.neighbour.abuses import ABUSES
from bench.neighbour.data import Target

ADDRESS = "127.0.0.2"
CHANNELS = 4
# Connections of their own, on which nothing is received in advance for those who do not read.
OPTIONS = (("grpc.use_local_subchannel_pool", 1), ("grpc.http2.bdp_probe", 0))
END_SECONDS = 0.2
# On its own machine it would take no time from the services.
NICENESS = 10


@asynccontextmanager
async def abusing(name: str, gateway: str, target: Target) -> AsyncIterator[Counter[str]]:
    """Abuses in a process of its own during the block. The counter is filled when it ends."""
    statuses: Counter[str] = Counter()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.neighbour.abuser", name, gateway, json.dumps(asdict(target))),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield statuses
    finally:
        counted, _ = await process.communicate(b"")
        statuses.update(json.loads(counted or "{}"))


async def abuse(name: str, gateway: str, target: Target) -> Counter[str]:
    """Returns the numbers of statuses when stdin is closed."""
    host, _, port = gateway.rpartition(":")
    statuses: Counter[str] = Counter()

    def connect() -> asyncio.Future[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        return asyncio.ensure_future(asyncio.open_connection(host, int(port), local_addr=(ADDRESS, 0)))

    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(Proxy("abuse", name, connect))
        stack.push_async_callback(_cut, proxy)
        channels = [
            await stack.enter_async_context(aio.insecure_channel(proxy.address, options=OPTIONS))
            for _ in range(CHANNELS)
        ]
        working = asyncio.create_task(ABUSES[name](channels, target, statuses))
        # A thread of its own that nobody waits for, should the work fail.
        closed = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
        await asyncio.wait([working, closed], return_when=asyncio.FIRST_COMPLETED)
        working.cancel()
        await asyncio.wait([working])
        if not working.cancelled():
            await working
    return statuses


async def _cut(proxy: Proxy) -> None:
    """Ends the connections, and gives the proxy time to notice."""
    proxy.cut()
    await asyncio.sleep(END_SECONDS)


if __name__ == "__main__":
    os.nice(NICENESS)
    counted = uvloop.run(abuse(sys.argv[1], sys.argv[2], Target(**json.loads(sys.argv[3]))))
    print(json.dumps(counted))
