"""Watches: what one costs, and how soon all of them have an event."""

import asyncio
import time
from uuid import UUID

from earmark.v1 import training_service_pb2 as pb
from grpc import aio

from bench.load.figures import Bench, Figure, percentile
from bench.load.methods import PUBLISH
from bench.load.rows import LOADED, job, record
from bench.load.system import Server

HELD = (2_000, 5_000)
SERVED = 1_000
ROUNDS = 3
EVENTS = 50
# Clients that have just had an event still have work with it.
PAUSE_SECONDS = 0.05


class Watched:
    """Something to watch on one of the two servers: the gateway's job, or what the bare server publishes."""

    def __init__(self, bench: Bench, server: Server, job_id: UUID) -> None:
        self._bench = bench
        self._job_id = job_id
        self._revision = 0
        self.server = server

    async def happen(self) -> tuple[int, float]:
        """The revision of a new event, and when it was there to be served."""
        if self.server is self._bench.bare:
            began = time.monotonic()
            self._revision += 1
            await _publish(self.server.address, self._job_id, self._revision)
            return self._revision, began
        self._revision = await record(self._bench.system.database, self._bench.system.bus, self._job_id)
        return self._revision, time.monotonic()

    async def watch(self, count: int) -> None:
        """Opens so many more watches; returns when each has had the latest event, its first message."""
        request = pb.WatchTrainingJobRequest(
            training_job_id=str(self._job_id), after_revision=self._revision - 1
        )
        each = count // len(self._bench.clients)
        await self._ask("watch", self.server.address, request.SerializeToString(), each, self._revision)

    async def served(self, revision: int) -> float:
        """When the last watch had it."""
        return max(await self._ask("served", revision))

    async def leave(self) -> None:
        await self._ask("leave")

    async def _ask(self, name: str, *arguments: object) -> list[float]:
        return await asyncio.gather(*(client.ask(name, *arguments) for client in self._bench.clients))


async def _publish(address: str, job_id: UUID, revision: int) -> None:
    """What the gateway would send of such an event."""
    event = pb.TrainingEvent(
        training_job_id=str(job_id),
        revision=revision,
        attempt=1,
        notice={"code": "NOTICE_CODE_LOADING", "message": LOADED},
    )
    event.time.GetCurrentTime()
    async with aio.insecure_channel(address) as channel:
        message = pb.WatchTrainingJobResponse(event=event).SerializeToString()
        await channel.unary_unary(PUBLISH)(message)


async def memory(bench: Bench) -> Figure:
    """Of the server's process for each watch that it holds. On fresh processes: what is freed may be kept."""
    kilobytes = {
        name: await _memory(await _watched(bench, server))
        for name, server in (("gateway", bench.system.gateway), ("bare", bench.bare))
    }
    held = HELD[-1]
    measured = kilobytes["gateway"]
    return Figure(
        name=f"memory of one of {held:,} watchers",
        unit="KB",
        goal="<= 60 KB",
        met=max(measured.values()) <= 60,  # noqa: PLR2004
        measured=measured[held],
        bare=kilobytes["bare"][held],
        details={
            f"{prefix}kb_each_of_{count}": each
            for prefix, name in (("", "gateway"), ("bare_", "bare"))
            for count, each in kilobytes[name].items()
        },
    )


async def _watched(bench: Bench, server: Server) -> Watched:
    """With one event."""
    async with bench.system.database.transaction() as connection:
        watched = Watched(bench, server, await job(connection, bench.small))
    await watched.happen()
    return watched


async def _memory(watched: Watched) -> dict[int, float]:
    """KB of each watch, by how many are open."""
    before, open_now, kilobytes = watched.server.rss(), 0, {}
    for count in HELD:
        await watched.watch(count - open_now)
        open_now = count
        kilobytes[count] = (watched.server.rss() - before) / count / 1000
    await watched.leave()
    return kilobytes


async def fan_out(bench: Bench) -> Figure:
    """From an event's commit until the last of many watchers has it."""
    both = [await _watched(bench, server) for server in (bench.system.gateway, bench.bare)]
    taken: list[list[float]] = [[], []]
    for _ in range(ROUNDS):
        for watched, times in zip(both, taken, strict=True):
            await watched.watch(SERVED)
            times += [await _serve(watched) for _ in range(EVENTS)]
            await watched.leave()
    (p50, bare_p50), (p99, bare_p99) = (
        [1000 * percentile(times, share) for times in taken] for share in (0.5, 0.99)
    )
    return Figure(
        name=f"event recorded to all of {SERVED:,} watchers served, p99",
        unit="ms",
        goal="<= 250 ms",
        met=p99 <= 250,  # noqa: PLR2004
        measured=p99,
        bare=bare_p99,
        details={"p50_ms": p50, "bare_p50_ms": bare_p50, "events": ROUNDS * EVENTS},
    )


async def _serve(watched: Watched) -> float:
    await asyncio.sleep(PAUSE_SECONDS)
    revision, began = await watched.happen()
    return await watched.served(revision) - began
