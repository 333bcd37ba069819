"""Watches of jobs and files: streams that resume by themselves after the last message received."""

import time
from collections.abc import Generator, Iterable, Mapping

import grpc

from earmark.client.backoff import Backoff, Retries, broke_off
from earmark.client.channel import Client
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
) -> Generator[training.TrainingEvent, None, None]:
    """Yield a training job's events after `after_revision`, in order, up to the last event.

    If `kinds` are given, only events of these kinds are yielded. A broken stream is resumed by revision, so
    no event is missing and none is yielded twice. Raises grpc.RpcError if the gateway refuses (no such job, a
    revision that does not exist yet) or stays unavailable for longer than the patience of `backoff`.
    """
    return _resumed(client.training.WatchTrainingJob, JobPosition(job_id, after_revision, kinds), backoff)


def watch_detection_job(
    client: Client, job_id: str, after_revision: int = 0, *, backoff: Backoff | None = None
) -> Generator[detection.DetectionEvent, None, None]:
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
) -> Generator[JobEvent, None, None]:
    """Yield the events of all jobs that match the filters, in order and without an end.

    The first event is the next one, or the one after `after_cursor`, or with `from_start` the oldest that is
    kept. If `statuses` are given, only those events are yielded after which the job has one of them:
    COMPLETED gives one event of each completed job. Resumes by cursor, and raises as `watch` does.
    """
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
) -> Generator[FileEvent, None, None]:
    """Yield the events of all audio files that match the filters, in order.

    Without an end, or with `until_idle` until no file of the datasets is in processing. Begins, resumes and
    raises as `watch_jobs` does.
    """
    position = FilesPosition(
        after_cursor=after_cursor,
        from_start=from_start,
        dataset_ids=dataset_ids,
        kinds=kinds,
        processing_statuses=processing_statuses,
        until_idle=until_idle,
    )
    return _resumed(client.audio.WatchAudioFiles, position, backoff)


def wait_until_ready(
    client: Client, dataset_id: str, *, backoff: Backoff | None = None
) -> list[audio.AudioFile]:
    """Wait until every file of the dataset is ready or failed, and return all of them, oldest first.

    Failed files have an `error_message`. Raises grpc.RpcError as `watch` does.
    """
    while True:
        for _ in watch_audio_files(client, dataset_ids=[dataset_id], until_idle=True, backoff=backoff):
            pass
        files = _files(client, dataset_id)
        # Others may have been uploaded meanwhile.
        if are_processed(files):
            return files


def _files(client: Client, dataset_id: str) -> list[audio.AudioFile]:
    """Return all files of the dataset, oldest first."""
    request = audio.ListAudioFilesRequest(dataset_id=dataset_id, page_size=1000)
    files: list[audio.AudioFile] = []
    while True:
        page = client.audio.ListAudioFiles(request)
        files += page.audio_files
        if not page.next_page_token:
            return files
        request.page_token = page.next_page_token


def _resumed(
    method: "grpc.UnaryStreamMultiCallable[Request, Response]",  # generic for type checkers only
    position: Position[Request, Response, Item],
    backoff: Backoff | None,
) -> Generator[Item, None, None]:
    """Yield the items of one stream after another until the position is complete.

    A stream that breaks, or ends too early without an error (its gateway is stopping), is opened again after
    a pause.
    """
    retries = Retries(backoff, broke_off)
    while True:
        call = method(position.request())
        try:
            for response in call:
                retries.answered()
                if (item := position.take(response)) is not None:
                    yield item
            failure = position.ended()
        except grpc.RpcError as error:
            failure = error
        finally:
            # The stream must not stay open on the gateway if the caller stops reading.
            call.cancel()
        if position.complete:
            return
        time.sleep(retries.delay(failure))
