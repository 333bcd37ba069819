"""Clients that watch the event log of all jobs (WatchTrainingJobs), resumed by cursor."""

import asyncio
import time
from collections.abc import Iterable

from grpc import aio

from bench.faults.api import DISCONNECTED, PAUSE, Api
from bench.faults.observations import Failure, LogStream, LogWatcher
from earmark.v1 import training_service_pb2 as pb

COMPLETED = pb.TRAINING_JOB_STATUS_COMPLETED


async def logs(api: Api, all_ended: asyncio.Event) -> None:
    """Runs watchers of all jobs, of completed jobs, and of all jobs from a later time on.

    `all_ended`: set when all jobs have ended. Returns when every watcher has received all events.
    """
    async with asyncio.TaskGroup() as watchers:
        everything = LogWatcher("all jobs", from_start=True)
        completed = LogWatcher("completed jobs", from_start=True, statuses=(COMPLETED,))
        watchers.create_task(_watch(api, all_ended, everything))
        watchers.create_task(_watch(api, all_ended, completed))
        await api.pause(5, 20)
        watchers.create_task(_watch(api, all_ended, LogWatcher("all jobs from now")))


async def _watch(api: Api, all_ended: asyncio.Event, watcher: LogWatcher) -> None:
    api.observed.log_watchers.append(watcher)
    while not await _read(api, all_ended, watcher):
        failure = watcher.streams[-1].failure
        if failure is not None and failure.code not in DISCONNECTED:
            return
        await api.pause(*PAUSE)


async def _read(api: Api, all_ended: asyncio.Event, watcher: LogWatcher) -> bool:
    """Reads one stream. Returns whether it has received all events that there will be."""
    gateway, cursor = api.any_gateway(), watcher.cursor
    stream = LogStream(gateway, time.time())
    watcher.streams.append(stream)
    request = pb.WatchTrainingJobsRequest(
        after_cursor=cursor, from_start=watcher.from_start and not cursor, statuses=watcher.statuses
    )
    call = api.stream(gateway, "WatchTrainingJobs", request)
    try:
        async for response in call:
            had_ended = all_ended.is_set()
            stream.responses.append(response)
            # A heartbeat means that there was no event for a while, so all earlier events have been sent.
            if had_ended and _ends_with_two_heartbeats(stream.responses):
                return True
    except aio.AioRpcError as error:
        stream.failure = Failure.from_error(error)
    finally:
        call.cancel()
        stream.ended = time.time()
    return False


def _ends_with_two_heartbeats(responses: Iterable[pb.WatchTrainingJobsResponse]) -> bool:
    """Two are needed, since the first may have been sent before all jobs had ended."""
    last = list(responses)[-2:]
    return len(last) == 2 and all(response.HasField("heartbeat") for response in last)  # noqa: PLR2004
