"""Clients in separate processes, so that they share no event loop with the server they measure.

All times are from time.monotonic, which is the same clock in all processes of a machine.
"""

import asyncio
import multiprocessing
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial
from itertools import cycle
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Self

import uvloop
from grpc import aio

from bench.load.methods import WATCH
from earmark.v1 import training_service_pb2 as pb

CHANNELS = 4
# Without this option, channels to the same address share a connection.
_OWN_CONNECTION = (("grpc.use_local_subchannel_pool", 1),)


class Client:
    """A process that runs a `Caller`: `async with Client() as client: await client.ask("call", ...)`."""

    async def __aenter__(self) -> Self:
        spawn = multiprocessing.get_context("spawn")
        self._pipe, theirs = spawn.Pipe()
        self._process = spawn.Process(target=_run_process, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        await asyncio.to_thread(self._process.join)

    async def ask(self, name: str, *arguments: Any) -> Any:
        """Runs a method of `Caller` and returns its result. One at a time. Raises EOFError if it failed."""
        self._pipe.send((name, arguments))
        return await asyncio.to_thread(self._pipe.recv)


class Caller:
    """The methods that a client process runs on request. A call that fails ends the process."""

    def __init__(self, tasks: asyncio.TaskGroup) -> None:
        self._tasks = tasks
        self._watches: list[Watches] = []

    async def call(
        self, address: str, method: str, requests: Sequence[bytes], seconds: float, key: str = ""
    ) -> list[float]:
        """Repeats each request for `seconds`, all requests concurrently. Returns the seconds of each call."""
        async with AsyncExitStack() as stack:
            channels = [await stack.enter_async_context(own_channel(address)) for _ in range(CHANNELS)]
            metadata = (("authorization", f"Bearer {key}"),) if key else ()
            calls: list[Any] = [
                partial(channel.unary_unary(method), metadata=metadata) for channel in channels
            ]
            await asyncio.gather(*(call(requests[0]) for call in calls))
            until = time.monotonic() + seconds
            durations = await asyncio.gather(
                *(_repeat(call, request, until) for call, request in zip(cycle(calls), requests))
            )
        return [seconds for of_request in durations for seconds in of_request]

    async def watch(self, address: str, request: bytes, count: int, revision: int) -> float:
        """Opens `count` more watches. Returns the time at which the last of them received `revision`."""
        watches = Watches(self._tasks, address, request, count)
        self._watches.append(watches)
        return await watches.served(revision)

    async def served(self, revision: int) -> float:
        """The time at which the last of all watches received `revision`."""
        return max([await watches.served(revision) for watches in self._watches])

    async def close(self) -> None:
        """Ends all watches."""
        for watches in self._watches:
            await watches.close()
        self._watches.clear()


class Watches:
    """A number of identical watches."""

    def __init__(self, tasks: asyncio.TaskGroup, address: str, request: bytes, count: int) -> None:
        self._count = count
        self._closing = False
        self._received: Counter[int] = Counter()
        self._served: dict[int, asyncio.Future[float]] = defaultdict(asyncio.Future)
        self._channels = [own_channel(address) for _ in range(CHANNELS)]
        self._tasks = [
            tasks.create_task(self._follow(self._channels[number % CHANNELS], request))
            for number in range(count)
        ]

    async def served(self, revision: int) -> float:
        """The time at which the last of these watches received `revision`."""
        return await self._served[revision]

    async def close(self) -> None:
        """Ends the watches and returns when all have ended."""
        self._closing = True
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        for channel in self._channels:
            await channel.close()

    async def _follow(self, channel: aio.Channel, request: bytes) -> None:
        try:
            watch: Any = channel.unary_stream(WATCH)
            async for message in watch(request):
                response = pb.WatchTrainingJobResponse.FromString(message)
                if response.HasField("event"):
                    self._count_received(response.event.revision)
        except aio.AioRpcError:
            if not self._closing:
                raise

    def _count_received(self, revision: int) -> None:
        self._received[revision] += 1
        if self._received[revision] == self._count:
            self._served[revision].set_result(time.monotonic())


def own_channel(address: str) -> aio.Channel:
    """A channel with its own connection."""
    return aio.insecure_channel(address, options=_OWN_CONNECTION)


async def _repeat(call: Any, request: bytes, until: float) -> list[float]:
    durations = []
    while (began := time.monotonic()) < until:
        await call(request)
        durations.append(time.monotonic() - began)
    return durations


def _run_process(pipe: Connection) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve_requests(pipe))


async def _serve_requests(pipe: Connection) -> None:
    async with asyncio.TaskGroup() as tasks:
        caller = Caller(tasks)
        while True:
            name, arguments = await asyncio.to_thread(pipe.recv)
            pipe.send(await getattr(caller, name)(*arguments))
