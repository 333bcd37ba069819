"""Clients that watch the log of events of all jobs or all audio files, resumed by cursor."""

import asyncio
import time
from collections.abc import Iterable
from typing import Any

from grpc import aio

from bench.faults.api import DISCONNECTED, PAUSE, Api
from bench.faults.observations import Failure, LogStream, LogWatcher
from earmark.v1 import audio_service_pb2 as audio
from earmark.v1 import training_service_pb2 as pb

COMPLETED = pb.TRAINING_JOB_STATUS_COMPLETED


async def logs(api: Api, uploads_id: str, all_ended: asyncio.Event) -> None:
    """Runs watchers of all jobs and of all files, of some of them, and of all from a later time on.

    `all_ended`: set when nothing happens any more. Returns when every watcher has received all events.
    """
    from_start = (
        LogWatcher("all jobs", from_start=True),
        LogWatcher("completed jobs", from_start=True, statuses=(COMPLETED,)),
        LogWatcher("all files", "WatchAudioFiles", from_start=True),
        LogWatcher("uploaded files", "WatchAudioFiles", from_start=True, dataset_ids=(uploads_id,)),
    )
    from_now = LogWatcher("all jobs from now"), LogWatcher("all files from now", "WatchAudioFiles")
    async with asyncio.TaskGroup() as watchers:
        for watcher in from_start:
            watchers.create_task(follow(api, watcher, all_ended))
        await api.pause(5, 20)
        for watcher in from_now:
            watchers.create_task(follow(api, watcher, all_ended))


async def follow(api: Api, watcher: LogWatcher, all_ended: asyncio.Event) -> None:
    """Runs one watcher, resumed at any gateway, until it has received all events or is refused."""
    api.observed.log_watchers.append(watcher)
    while not await _read(api, all_ended, watcher):
        failure = watcher.streams[-1].failure
        if failure is not None and failure.code not in DISCONNECTED:
            return
        await api.pause(*PAUSE)


async def _read(api: Api, all_ended: asyncio.Event, watcher: LogWatcher) -> bool:
    """Reads one stream. Returns whether it has received all events that there will be."""
    gateway = api.any_gateway()
    request = _request(watcher)
    stream = LogStream(gateway, time.time())
    watcher.streams.append(stream)
    call = api.stream(gateway, watcher.method, request)
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
    # Without until_idle, no stream ends by itself.
    return watcher.until_idle and stream.failure is None


def _request(watcher: LogWatcher) -> pb.WatchTrainingJobsRequest | audio.WatchAudioFilesRequest:
    cursor = watcher.cursor
    from_start = watcher.from_start and not cursor
    if watcher.method == "WatchTrainingJobs":
        return pb.WatchTrainingJobsRequest(
            after_cursor=cursor, from_start=from_start, statuses=watcher.statuses
        )
    return audio.WatchAudioFilesRequest(
        after_cursor=cursor,
        from_start=from_start,
        dataset_ids=watcher.dataset_ids,
        until_idle=watcher.until_idle,
    )


def _ends_with_two_heartbeats(responses: Iterable[Any]) -> bool:
    """Two are needed, since the first may have been sent before everything had ended."""
    last = list(responses)[-2:]
    return len(last) == 2 and all(response.HasField("heartbeat") for response in last)  # noqa: PLR2004
