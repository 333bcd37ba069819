"""Clients that follow all jobs at once, resumed by cursor."""

import asyncio
import time
from collections.abc import Iterable

from earmark.v1 import training_service_pb2 as pb
from grpc import aio

from bench.faults.api import CUT, PAUSE, Api
from bench.faults.history import Failure, LogStream, LogWatcher

COMPLETED = pb.TRAINING_JOB_STATUS_COMPLETED


async def logs(api: Api, settled: asyncio.Event) -> None:
    """Watchers of everything, of what is completed, and one that begins later, until nothing can come."""
    async with asyncio.TaskGroup() as watchers:
        watchers.create_task(_watch(api, settled, LogWatcher("all jobs")))
        watchers.create_task(_watch(api, settled, LogWatcher("completed jobs", statuses=(COMPLETED,))))
        await api.pause(5, 20)
        watchers.create_task(_watch(api, settled, LogWatcher("all jobs from now", from_now=True)))


async def _watch(api: Api, settled: asyncio.Event, watcher: LogWatcher) -> None:
    api.history.log_watchers.append(watcher)
    while not await _read(api, settled, watcher):
        failure = watcher.streams[-1].failure
        if failure is not None and failure.code not in CUT:
            return
        await api.pause(*PAUSE)


async def _read(api: Api, settled: asyncio.Event, watcher: LogWatcher) -> bool:
    """One stream; whether it came to the end of all that there will be."""
    gateway, cursor = api.any_gateway(), watcher.cursor
    stream = LogStream(gateway, time.time())
    watcher.streams.append(stream)
    request = pb.WatchTrainingJobsRequest(
        after_cursor=cursor, from_now=watcher.from_now and not cursor, statuses=watcher.statuses
    )
    call = api.stream(gateway, "WatchTrainingJobs", request)
    try:
        async for response in call:
            was_settled = settled.is_set()
            stream.responses.append(response)
            # A heartbeat says that nothing came for a while: what was settled before has been sent.
            if was_settled and response.HasField("heartbeat") and _beats(stream.responses):
                return True
    except aio.AioRpcError as error:
        stream.failure = Failure.of(error)
    finally:
        call.cancel()
        stream.ended = time.time()
    return False


def _beats(responses: Iterable[pb.WatchTrainingJobsResponse]) -> bool:
    """Whether the last two are heartbeats: the first may have been on its way when all was settled."""
    last = list(responses)[-2:]
    return len(last) == 2 and all(response.HasField("heartbeat") for response in last)  # noqa: PLR2004
