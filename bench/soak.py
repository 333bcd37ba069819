"""Opens and ends watches, and looks at the gateway's memory.

    python -m bench.soak [--watches 100000] [--json]

The watches are of a job that goes on; each is given up after its first response, in one of the ways that a
client has. Prints the gateway's resident memory as it goes; ends with status 1 where it has grown by 5 % or
more after the first 10,000. bench/README.md says more.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import cycle
from statistics import median
from typing import Annotated, TypeAlias
from uuid import UUID

import grpc
import typer
import uvloop
from earmark.v1 import training_service_pb2 as pb
from earmark.v1.training_service_pb2_grpc import TrainingServiceStub
from grpc import aio

from bench.load.client import own_channel
from bench.load.rows import dataset, job, record
from bench.load.system import System, system

CLIENTS = 4
AT_ONCE = 50  # of each client
SAMPLE_EVERY = 5_000
WARM = 10_000
MOST_GROWTH = 0.05
# Single samples scatter by 4 %: the allocator keeps more at one time than at another.
SCATTER = 5
DEADLINE_SECONDS = 1.0
EVENT_SECONDS = 0.1
# What has ended cleans up behind itself.
SETTLE_SECONDS = 1.0

Call: TypeAlias = "aio.UnaryStreamCall[pb.WatchTrainingJobRequest, pb.WatchTrainingJobResponse]"


@dataclass(frozen=True, slots=True)
class Sample:
    """The gateway's resident memory after so many watches."""

    watches: int
    rss_mib: float


class Watchers:
    """Clients of one job, to which something happens all the time."""

    def __init__(self, made: System, job_id: UUID) -> None:
        self._made = made
        self._job_id = job_id
        self._revision = 0
        self._ways = cycle(WAYS)

    async def happen(self) -> None:
        """Records events until it is cancelled."""
        while True:
            self._revision = await record(self._made.database, self._made.bus, self._job_id)
            await asyncio.sleep(EVENT_SECONDS)

    async def come_and_go(self, count: int) -> None:
        """So many watches are opened, and end, each after its first response."""
        clients = [self._client(count // CLIENTS // AT_ONCE) for _ in range(CLIENTS)]
        await asyncio.gather(*clients)

    async def _client(self, batches: int) -> None:
        for _ in range(batches):
            async with own_channel(self._made.gateway.address) as channel:
                way = next(self._ways)
                calls = [self._open(channel, way.deadline) for _ in range(AT_ONCE)]
                await asyncio.gather(*map(_first, calls))
                await way.end(channel, calls)

    def _open(self, channel: aio.Channel, deadline: float | None) -> Call:
        request = pb.WatchTrainingJobRequest(
            training_job_id=str(self._job_id), after_revision=max(0, self._revision - 1)
        )
        return TrainingServiceStub(channel).WatchTrainingJob(request, timeout=deadline)


async def _first(call: Call) -> None:
    try:
        await call.read()
    except aio.AioRpcError as error:
        # On a busy machine its deadline may come first.
        if error.code() != grpc.StatusCode.DEADLINE_EXCEEDED:
            raise


async def _cancel(_channel: aio.Channel, calls: Sequence[Call]) -> None:
    """Between two responses."""
    for call in calls:
        call.cancel()
    await asyncio.gather(*(call.code() for call in calls))


async def _cancel_reading(_channel: aio.Channel, calls: Sequence[Call]) -> None:
    """While waiting for the next response."""
    readers = [asyncio.create_task(call.read()) for call in calls]
    await asyncio.sleep(0)
    for reader in readers:
        reader.cancel()
    await asyncio.wait(readers)
    await _cancel(_channel, calls)


async def _close(channel: aio.Channel, _calls: Sequence[Call]) -> None:
    """With the connection."""
    await channel.close()


async def _outlast(_channel: aio.Channel, calls: Sequence[Call]) -> None:
    """By their deadline."""
    await asyncio.gather(*(call.code() for call in calls))


@dataclass(frozen=True, slots=True)
class Way:
    """How watches end. `deadline` in seconds."""

    end: Callable[[aio.Channel, Sequence[Call]], Awaitable[None]]
    deadline: float | None = None


WAYS = (Way(_cancel), Way(_cancel_reading), Way(_close), Way(_outlast, DEADLINE_SECONDS))


async def measure(watches: int) -> AsyncIterator[Sample]:
    """The gateway's memory before, and after every 5,000 watches."""
    async with system() as made:
        async with made.database.transaction() as connection:
            job_id = await job(connection, await dataset(connection, files=3, annotations_per_file=2))
        watchers = Watchers(made, job_id)
        happening = asyncio.create_task(watchers.happen())
        for done in range(0, watches + 1, SAMPLE_EVERY):
            if done:
                await watchers.come_and_go(SAMPLE_EVERY)
            await asyncio.sleep(SETTLE_SECONDS)
            yield Sample(done, round(made.gateway.rss() / 2**20, 1))
        happening.cancel()
        await asyncio.wait([happening])


def growth(samples: Sequence[Sample], of: int = 1) -> float:
    """From the first `of` samples since the memory was warm to the last `of`, by medians; a share."""
    warm = [sample.rss_mib for sample in samples if sample.watches >= WARM]
    return median(warm[-of:]) / median(warm[:of]) - 1


async def _run(watches: int, *, quietly: bool) -> list[Sample]:
    samples = []
    async for sample in measure(watches):
        samples.append(sample)
        if not quietly:
            print(f"{sample.watches:>8,} watches {sample.rss_mib:>8.1f} MiB", flush=True)
    return samples


def main(
    *,
    watches: Annotated[int, typer.Option(min=WARM, help="In steps of 5,000.")] = 100_000,
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON instead of a table.")] = False,
) -> None:
    """Look for memory that ended watches leave behind."""
    samples = uvloop.run(_run(watches, quietly=as_json))
    grown, of_single = growth(samples, SCATTER), growth(samples)
    if as_json:
        figures = {"growth": grown, "growth_of_single_samples": of_single}
        print(json.dumps({**figures, "samples": [asdict(sample) for sample in samples]}))
    else:
        print(f"growth since {WARM:,} watches, by medians of {SCATTER} samples: {100 * grown:.1f} %")
        print(f"by single samples: {100 * of_single:.1f} %")
    sys.exit(0 if grown < MOST_GROWTH else 1)


if __name__ == "__main__":
    typer.run(main)
