"""Watches of jobs and files: streams that resume by themselves after the last message received."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import grpc

from earmark.client.backoff import Backoff
from earmark.client.channel import Client
from earmark.client.errors import explain
from earmark.v1 import audio_service_pb2 as audio
from earmark.v1 import training_service_pb2 as training

TERMINAL_STATUSES = frozenset(
    {
        training.TRAINING_JOB_STATUS_COMPLETED,
        training.TRAINING_JOB_STATUS_FAILED,
        training.TRAINING_JOB_STATUS_CANCELLED,
    }
)
PROCESSED = frozenset({audio.AUDIO_PROCESSING_STATUS_READY, audio.AUDIO_PROCESSING_STATUS_FAILED})
# Always worth a retry: the gateway is unavailable, or this reader was too slow for it.
_TEMPORARY = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED}
# Codes of a connection that a proxy or the network cut; if Earmark itself sends them, they carry a reason.
_CUT = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.CANCELLED}


def watch(
    client: Client,
    job_id: str,
    after_revision: int = 0,
    *,
    kinds: Iterable[training.TrainingEventKind] = (),
    backoff: Backoff | None = None,
) -> Iterator[training.TrainingEvent]:
    """Yield a training job's events after `after_revision`, in order, up to the last event.

    If `kinds` are given, only events of these kinds are yielded. A broken stream is resumed by revision, so
    no event is missing and none is yielded twice. Raises grpc.RpcError if the gateway refuses (no such job, a
    revision that does not exist yet) or stays unavailable for longer than the patience of `backoff`.
    """
    kind_filter = tuple(kinds)
    shows_last = not kind_filter or training.TRAINING_EVENT_KIND_STATUS_CHANGED in kind_filter
    cursor = _Cursor(after_revision, ends_by_itself=not shows_last)

    def open_stream() -> Any:
        return client.training.WatchTrainingJob(
            training.WatchTrainingJobRequest(
                training_job_id=job_id, after_revision=cursor.revision, kinds=kind_filter
            )
        )

    for response in _resumed(open_stream, cursor, backoff or Backoff()):
        event = response.event
        if response.HasField("event") and event.revision > cursor.revision:
            cursor.revision = event.revision
            cursor.complete = cursor.complete or event.status_changed.to in TERMINAL_STATUSES
            yield event


@dataclass(frozen=True)
class JobEvent:
    """An event of one of many jobs, and the cursor from which to resume after it."""

    event: training.TrainingEvent
    cursor: str


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
) -> Iterator[JobEvent]:
    """Yield the events of all jobs that match the filters, in order and without an end.

    The first event is the next one, or the one after `after_cursor`, or with `from_start` the oldest that is
    kept. If `statuses` are given, only those events are yielded after which the job has one of them:
    COMPLETED gives one event of each completed job. Resumes by cursor, and raises as `watch` does.
    """
    cursor, datasets = after_cursor, tuple(dataset_ids)
    kind_filter, status_filter = tuple(kinds), tuple(statuses)

    def open_stream() -> Any:
        return client.training.WatchTrainingJobs(
            training.WatchTrainingJobsRequest(
                after_cursor=cursor,
                from_start=from_start and not cursor,
                dataset_ids=datasets,
                kinds=kind_filter,
                statuses=status_filter,
                metadata=metadata,
            )
        )

    for response in _resumed(open_stream, _Cursor(), backoff or Backoff()):
        cursor = response.cursor
        if response.HasField("event"):
            yield JobEvent(response.event, cursor)


@dataclass(frozen=True)
class FileEvent:
    """An event of an audio file or of its dataset, and the cursor from which to resume after it."""

    event: audio.AudioFileEvent
    cursor: str


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
) -> Iterator[FileEvent]:
    """Yield the events of all audio files that match the filters, in order.

    Without an end, or with `until_idle` until no file of the datasets is in processing. Begins, resumes and
    raises as `watch_jobs` does.
    """
    cursor, datasets = after_cursor, tuple(dataset_ids)
    kind_filter, status_filter = tuple(kinds), tuple(processing_statuses)

    def open_stream() -> Any:
        return client.audio.WatchAudioFiles(
            audio.WatchAudioFilesRequest(
                after_cursor=cursor,
                from_start=from_start and not cursor,
                dataset_ids=datasets,
                kinds=kind_filter,
                processing_statuses=status_filter,
                until_idle=until_idle,
            )
        )

    for response in _resumed(open_stream, _Cursor(ends_by_itself=until_idle), backoff or Backoff()):
        cursor = response.cursor
        if response.HasField("event"):
            yield FileEvent(response.event, cursor)


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
        if all(file.processing_status in PROCESSED for file in files):
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


@dataclass
class _Cursor:
    """The position of a watch.

    `complete` means that the last message was received. `ends_by_itself` means that a stream which ends
    without an error is complete.
    """

    revision: int = 0
    complete: bool = False
    ends_by_itself: bool = False


def _resumed(open_stream: Callable[[], Any], cursor: _Cursor, backoff: Backoff) -> Iterator[Any]:
    """Yield the responses of one stream after another until the cursor is complete.

    A stream that breaks, or ends too early without an error (its gateway is stopping), is opened again after
    a pause.
    """
    contacted = False
    pauses: Iterator[bool] | None = None
    while True:
        failure: Exception = ConnectionError("the gateway keeps ending the watch before its last event")
        call = open_stream()
        try:
            for response in call:
                contacted, pauses = True, None
                yield response
            cursor.complete = cursor.complete or cursor.ends_by_itself
        except grpc.RpcError as error:
            if not cursor.complete and not _is_retryable(error):
                raise
            if not contacted and explain(error).reason:
                # Only a gateway gives a reason, so the address is right.
                contacted, pauses = True, None
            failure = error
        finally:
            # The stream must not stay open on the gateway if the caller stops reading.
            call.cancel()
        if cursor.complete:
            return
        pauses = pauses or backoff.pauses(contacted=contacted)
        if not next(pauses, False):
            raise failure


def _is_retryable(error: grpc.RpcError) -> bool:
    """Return whether to open a stream again that broke with `error`."""
    code = error.code()
    return code in _TEMPORARY or (code in _CUT and not explain(error).reason)
