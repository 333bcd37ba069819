"""Opens and ends watches, and measures the growth of the gateway's memory.

    python -m bench.soak [--watches 100000] [--json]

All watches are of one job that keeps running. Each ends after its first response, in one of the ways in which
a client can end it. Prints the gateway's resident memory during the run. Ends with status 1 if it has grown
by 5 % or more since the first 10,000 watches. bench/README.md has the details.
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
from grpc import aio

from bench.load.client import own_channel
from bench.load.rows import insert_dataset, insert_job, record_event
from bench.load.system import System, system
from earmark.v1 import training_service_pb2 as pb
from earmark.v1.training_service_pb2_grpc import TrainingServiceStub

CLIENTS = 4
AT_ONCE = 50  # watches of each client
SAMPLE_EVERY = 5_000
WARM = 10_000
MOST_GROWTH = 0.05
# Single samples scatter by 4 %, because the amount of freed memory that the allocator keeps varies.
SAMPLES_PER_MEDIAN = 5
DEADLINE_SECONDS = 1.0
EVENT_SECONDS = 0.1
# For the cleanup of the watches that have ended.
CLEANUP_SECONDS = 1.0

Call: TypeAlias = "aio.UnaryStreamCall[pb.WatchTrainingJobRequest, pb.WatchTrainingJobResponse]"


@dataclass(frozen=True, slots=True)
class Sample:
    """The gateway's resident memory after so many watches."""

    watches: int
    rss_mib: float


class Watchers:
    """Clients that watch one job, and the events of that job."""

    def __init__(self, system: System, job_id: UUID) -> None:
        self._system = system
        self._job_id = job_id
        self._revision = 0
        self._ways = cycle(WAYS)

    async def record_events(self) -> None:
        """Records events of the job until it is cancelled."""
        while True:
            self._revision = await record_event(self._system.database, self._system.bus, self._job_id)
            await asyncio.sleep(EVENT_SECONDS)

    async def open_and_end(self, count: int) -> None:
        """Opens `count` watches and ends each after its first response."""
        clients = [self._client(count // CLIENTS // AT_ONCE) for _ in range(CLIENTS)]
        await asyncio.gather(*clients)

    async def _client(self, batches: int) -> None:
        for _ in range(batches):
            async with own_channel(self._system.gateway.address) as channel:
                way = next(self._ways)
                calls = [self._open(channel, way.deadline) for _ in range(AT_ONCE)]
                await asyncio.gather(*map(_read_first, calls))
                await way.end(channel, calls)

    def _open(self, channel: aio.Channel, deadline: float | None) -> Call:
        request = pb.WatchTrainingJobRequest(
            training_job_id=str(self._job_id), after_revision=max(0, self._revision - 1)
        )
        call: Call = TrainingServiceStub(channel).WatchTrainingJob(request, timeout=deadline)
        return call


async def _read_first(call: Call) -> None:
    try:
        await call.read()
    except aio.AioRpcError as error:
        # On a busy machine the deadline may pass before the first response.
        if error.code() != grpc.StatusCode.DEADLINE_EXCEEDED:
            raise


async def _cancel(_channel: aio.Channel, calls: Sequence[Call]) -> None:
    """Cancels the watches between two responses."""
    for call in calls:
        call.cancel()
    await asyncio.gather(*(call.code() for call in calls))


async def _cancel_reading(_channel: aio.Channel, calls: Sequence[Call]) -> None:
    """Cancels the watches while they wait for the next response."""
    readers = [asyncio.create_task(call.read()) for call in calls]
    await asyncio.sleep(0)
    for reader in readers:
        reader.cancel()
    await asyncio.wait(readers)
    await _cancel(_channel, calls)


async def _close(channel: aio.Channel, _calls: Sequence[Call]) -> None:
    """Closes the watches' connection."""
    await channel.close()


async def _wait_for_deadline(_channel: aio.Channel, calls: Sequence[Call]) -> None:
    """Waits until the deadline ends the watches."""
    await asyncio.gather(*(call.code() for call in calls))


@dataclass(frozen=True, slots=True)
class Way:
    """A way to end watches. `deadline` in seconds."""

    end: Callable[[aio.Channel, Sequence[Call]], Awaitable[None]]
    deadline: float | None = None


WAYS = (Way(_cancel), Way(_cancel_reading), Way(_close), Way(_wait_for_deadline, DEADLINE_SECONDS))


async def measure(watches: int) -> AsyncIterator[Sample]:
    """Yields the gateway's memory before the first watch and after every 5,000 watches."""
    async with system() as measured:
        async with measured.database.transaction() as connection:
            dataset = await insert_dataset(connection, files=3, annotations_per_file=2)
            job_id = await insert_job(connection, dataset)
        watchers = Watchers(measured, job_id)
        recording = asyncio.create_task(watchers.record_events())
        for done in range(0, watches + 1, SAMPLE_EVERY):
            if done:
                await watchers.open_and_end(SAMPLE_EVERY)
            await asyncio.sleep(CLEANUP_SECONDS)
            yield Sample(done, round(measured.gateway.rss() / 2**20, 1))
        recording.cancel()
        await asyncio.wait([recording])


def growth(samples: Sequence[Sample], of: int = 1) -> float:
    """Growth after WARM watches, as a share: from the median of the first `of` samples to the last `of`."""
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
    """Measure the memory that ended watches leave behind."""
    samples = uvloop.run(_run(watches, quietly=as_json))
    grown, of_single = growth(samples, SAMPLES_PER_MEDIAN), growth(samples)
    if as_json:
        figures = {"growth": grown, "growth_of_single_samples": of_single}
        print(json.dumps({**figures, "samples": [asdict(sample) for sample in samples]}))
    else:
        by = f"by medians of {SAMPLES_PER_MEDIAN} samples"
        print(f"growth since {WARM:,} watches, {by}: {100 * grown:.1f} %")
        print(f"by single samples: {100 * of_single:.1f} %")
    sys.exit(0 if grown < MOST_GROWTH else 1)


if __name__ == "__main__":
    typer.run(main)
