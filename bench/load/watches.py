"""The figures of watches: memory of one watch, and time until all watches have received an event."""

import asyncio
import time
from typing import Any
from uuid import UUID

from grpc import aio

from bench.load.figures import Bench, Figure, percentile
from bench.load.methods import PUBLISH
from bench.load.rows import LOADING_MESSAGE, insert_job, record_event
from bench.load.system import Server
from earmark.v1 import training_service_pb2 as pb

OPEN_WATCHES = (2_000, 5_000)
SERVED = 1_000
ROUNDS = 3
EVENTS = 50
# Clients still process an event for a moment after they have received it.
PAUSE_SECONDS = 0.05


class Watched:
    """What is watched on one of the two servers: a job of the gateway, or the messages of the bare server."""

    def __init__(self, bench: Bench, server: Server, job_id: UUID) -> None:
        self._bench = bench
        self._job_id = job_id
        self._revision = 0
        self.server = server

    async def record_event(self) -> tuple[int, float]:
        """Records a new event. Returns its revision, and the time from which it could be served."""
        if self.server is self._bench.bare:
            began = time.monotonic()
            self._revision += 1
            await _publish(self.server.address, self._job_id, self._revision)
            return self._revision, began
        system = self._bench.system
        self._revision = await record_event(system.database, system.bus, self._job_id)
        return self._revision, time.monotonic()

    async def watch(self, count: int) -> None:
        """Opens `count` more watches. Returns when each has received its first message, the latest event."""
        request = pb.WatchTrainingJobRequest(
            training_job_id=str(self._job_id), after_revision=self._revision - 1
        )
        each = count // len(self._bench.clients)
        await self._ask("watch", self.server.address, request.SerializeToString(), each, self._revision)

    async def served(self, revision: int) -> float:
        """The time at which the last watch received this revision."""
        times: list[float] = await self._ask("served", revision)
        return max(times)

    async def close(self) -> None:
        await self._ask("close")

    async def _ask(self, name: str, *arguments: object) -> list[Any]:
        return list(await asyncio.gather(*(client.ask(name, *arguments) for client in self._bench.clients)))


async def _publish(address: str, job_id: UUID, revision: int) -> None:
    """Publishes, on the bare server, the message that the gateway would send for such an event."""
    event = pb.TrainingEvent(
        training_job_id=str(job_id),
        revision=revision,
        attempt=1,
        notice={"code": "NOTICE_CODE_LOADING", "message": LOADING_MESSAGE},
    )
    event.time.GetCurrentTime()
    async with aio.insecure_channel(address) as channel:
        message = pb.WatchTrainingJobResponse(event=event).SerializeToString()
        publish: Any = channel.unary_unary(PUBLISH)
        await publish(message)


async def memory(bench: Bench) -> Figure:
    """Memory of the server's process per open watch.

    It must be measured on fresh processes, since a process may keep memory that it has freed.
    """
    kilobytes = {
        name: await _memory(await _watched(bench, server))
        for name, server in (("gateway", bench.system.gateway), ("bare", bench.bare))
    }
    most = OPEN_WATCHES[-1]
    measured = kilobytes["gateway"]
    return Figure(
        name=f"memory of one of {most:,} watchers",
        unit="KB",
        goal="<= 60 KB",
        met=max(measured.values()) <= 60,  # noqa: PLR2004
        measured=measured[most],
        bare=kilobytes["bare"][most],
        details={
            f"{prefix}kb_each_of_{count}": each
            for prefix, name in (("", "gateway"), ("bare_", "bare"))
            for count, each in kilobytes[name].items()
        },
    )


async def _watched(bench: Bench, server: Server) -> Watched:
    """Something to watch that has one event."""
    async with bench.system.database.transaction() as connection:
        watched = Watched(bench, server, await insert_job(connection, bench.small))
    await watched.record_event()
    return watched


async def _memory(watched: Watched) -> dict[int, float]:
    """KB per watch, by the number of open watches."""
    before, open_now, kilobytes = watched.server.rss(), 0, {}
    for count in OPEN_WATCHES:
        await watched.watch(count - open_now)
        open_now = count
        kilobytes[count] = (watched.server.rss() - before) / count / 1000
    await watched.close()
    return kilobytes


async def fan_out(bench: Bench) -> Figure:
    """Time from an event's commit until the last of many watchers has received it."""
    both = [await _watched(bench, server) for server in (bench.system.gateway, bench.bare)]
    durations: list[list[float]] = [[], []]
    for _ in range(ROUNDS):
        for watched, seconds in zip(both, durations, strict=True):
            await watched.watch(SERVED)
            seconds += [await _serve(watched) for _ in range(EVENTS)]
            await watched.close()
    (p50, bare_p50), (p99, bare_p99) = (
        [1000 * percentile(seconds, share) for seconds in durations] for share in (0.5, 0.99)
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
    revision, began = await watched.record_event()
    return await watched.served(revision) - began
