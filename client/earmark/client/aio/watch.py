"""Watches for asyncio: the streams of `earmark.client.watch`, as async generators.

Cancelling the task that iterates over a watch, or closing the generator (`aclose`), cancels its call.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Mapping

import grpc
from grpc import aio

from earmark.client.aio.channel import Client
from earmark.client.aio.streams import responses_of
from earmark.client.backoff import Backoff, Retries, broke_off
from earmark.client.positions import (
    FilesPosition,
    Item,
    JobEvent,
    JobPosition,
    JobsPosition,
    Position,
    Request,
    Response,
    oldest_first,
)
from earmark.v1 import audio_service_pb2 as audio
from earmark.v1 import training_service_pb2 as training


def watch(
    client: Client, job_id: str, after_revision: int = 0, *, backoff: Backoff | None = None
) -> AsyncGenerator[training.TrainingEvent, None]:
    """Yield a training job's events, see `earmark.client.watch`."""
    return _resumed(client.training.WatchTrainingJob, JobPosition(job_id, after_revision), backoff)


def watch_jobs(
    client: Client,
    *,
    after_cursor: str = "",
    from_start: bool = False,
    dataset_id: str | None = None,
    kinds: Iterable[training.TrainingEventKind] = (),
    statuses: Iterable[training.TrainingJobStatus] = (),
    metadata: Mapping[str, str] | None = None,
    backoff: Backoff | None = None,
) -> AsyncGenerator[JobEvent, None]:
    """Yield the events of all jobs that match the filters, see `earmark.client.watch_jobs`."""
    position = JobsPosition(
        after_cursor=after_cursor,
        from_start=from_start,
        dataset_id=dataset_id,
        kinds=kinds,
        statuses=statuses,
        metadata=metadata,
    )
    return _resumed(client.training.WatchTrainingJobs, position, backoff)


def watch_audio_files(
    client: Client, dataset_id: str, after_revision: int = 0, *, backoff: Backoff | None = None
) -> AsyncGenerator[audio.AudioFile, None]:
    """Yield each change of a dataset's files, see `earmark.client.watch_audio_files`."""
    return _resumed(client.audio.WatchAudioFiles, FilesPosition(dataset_id, after_revision), backoff)


async def wait_until_ready(
    client: Client, dataset_id: str, *, backoff: Backoff | None = None
) -> list[audio.AudioFile]:
    """Wait until every file of the dataset is ready or failed, see `earmark.client.wait_until_ready`."""
    return oldest_first([file async for file in watch_audio_files(client, dataset_id, backoff=backoff)])


async def _resumed(
    method: "aio.UnaryStreamMultiCallable[Request, Response]",  # generic for type checkers only
    position: Position[Request, Response, Item],
    backoff: Backoff | None,
) -> AsyncGenerator[Item, None]:
    """Yield the items of one stream after another until the position is complete."""
    retries = Retries(backoff, broke_off)
    while True:
        try:
            async with responses_of(method(position.request())) as responses:
                async for response in responses:
                    retries.answered()
                    if (item := position.take(response)) is not None:
                        yield item
            failure = position.ended()
        except grpc.RpcError as error:
            failure = error
        if position.complete:
            return
        await asyncio.sleep(retries.delay(failure))
