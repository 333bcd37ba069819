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
    DetectionJobPosition,
    FileEvent,
    FilesPosition,
    Item,
    JobEvent,
    JobPosition,
    JobsPosition,
    Position,
    Request,
    Response,
    are_processed,
)
from earmark.v1 import audio_service_pb2 as audio
from earmark.v1 import detection_service_pb2 as detection
from earmark.v1 import training_service_pb2 as training


def watch(
    client: Client,
    job_id: str,
    after_revision: int = 0,
    *,
    kinds: Iterable[training.TrainingEventKind] = (),
    backoff: Backoff | None = None,
) -> AsyncGenerator[training.TrainingEvent, None]:
    """Yield a training job's events, see `earmark.client.watch`."""
    return _resumed(client.training.WatchTrainingJob, JobPosition(job_id, after_revision, kinds), backoff)


def watch_detection_job(
    client: Client, job_id: str, after_revision: int = 0, *, backoff: Backoff | None = None
) -> AsyncGenerator[detection.DetectionEvent, None]:
    """Yield a detection job's events up to the last one, in order; resumes and raises as `watch` does."""
    position = DetectionJobPosition(job_id, after_revision)
    return _resumed(client.detection.WatchDetectionJob, position, backoff)


def watch_jobs(
    client: Client,
    *,
    after_cursor: str = "",
    from_start: bool = False,
    dataset_ids: Iterable[str] = (),
    kinds: Iterable[training.TrainingEventKind] = (),
    statuses: Iterable[training.TrainingJobStatus] = (),
    metadata: Mapping[str, str] | None = None,
    backoff: Backoff | None = None,
) -> AsyncGenerator[JobEvent, None]:
    """Yield the events of all jobs that match the filters, see `earmark.client.watch_jobs`."""
    position = JobsPosition(
        after_cursor=after_cursor,
        from_start=from_start,
        dataset_ids=dataset_ids,
        kinds=kinds,
        statuses=statuses,
        metadata=metadata,
    )
    return _resumed(client.training.WatchTrainingJobs, position, backoff)


def watch_audio_files(
    client: Client,
    *,
    after_cursor: str = "",
    from_start: bool = False,
    dataset_ids: Iterable[str] = (),
    kinds: Iterable[audio.AudioFileEventKind] = (),
    processing_statuses: Iterable[audio.AudioProcessingStatus] = (),
    until_idle: bool = False,
    backoff: Backoff | None = None,
) -> AsyncGenerator[FileEvent, None]:
    """Yield the events of all audio files that match the filters, see `earmark.client.watch_audio_files`."""
    position = FilesPosition(
        after_cursor=after_cursor,
        from_start=from_start,
        dataset_ids=dataset_ids,
        kinds=kinds,
        processing_statuses=processing_statuses,
        until_idle=until_idle,
    )
    return _resumed(client.audio.WatchAudioFiles, position, backoff)


async def wait_until_ready(
    client: Client, dataset_id: str, *, backoff: Backoff | None = None
) -> list[audio.AudioFile]:
    """Wait until every file of the dataset is ready or failed, see `earmark.client.wait_until_ready`."""
    while True:
        async for _ in watch_audio_files(client, dataset_ids=[dataset_id], until_idle=True, backoff=backoff):
            pass
        files = await _files(client, dataset_id)
        if are_processed(files):
            return files


async def _files(client: Client, dataset_id: str) -> list[audio.AudioFile]:
    """Return all files of the dataset, oldest first."""
    request = audio.ListAudioFilesRequest(dataset_id=dataset_id, page_size=1000)
    files: list[audio.AudioFile] = []
    while True:
        page = await client.audio.ListAudioFiles(request)
        files += page.audio_files
        if not page.next_page_token:
            return files
        request.page_token = page.next_page_token


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
