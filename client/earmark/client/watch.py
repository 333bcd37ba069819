"""Following jobs and files: streams that resume by themselves from the last cursor seen."""

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
# Always worth another try: the gateway is away, or this reader was too slow for it.
_PASSING = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED}
# What a connection cut by something in between looks like; from Earmark itself they carry a reason.
_CUT = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.CANCELLED}


def watch(
    client: Client, job_id: str, after_revision: int = 0, *, backoff: Backoff | None = None
) -> Iterator[training.TrainingEvent]:
    """Yield a training job's events in order, from after `after_revision` to its last one.

    A broken stream is resumed by revision, so that no event is missing and none comes twice. Raises
    grpc.RpcError where the gateway refuses (no such job, a revision from the future) or stays away longer
    than the patience of `backoff`.
    """
    cursor = _Cursor(after_revision)

    def open_stream() -> Any:
        return client.training.WatchTrainingJob(
            training.WatchTrainingJobRequest(training_job_id=job_id, after_revision=cursor.revision)
        )

    for response in _resumed(open_stream, cursor, backoff or Backoff()):
        event = response.event
        if response.HasField("event") and event.revision > cursor.revision:
            cursor.revision = event.revision
            cursor.over = cursor.over or event.status_changed.to in TERMINAL_STATUSES
            yield event


@dataclass(frozen=True)
class JobEvent:
    """An event of one of many jobs, and the cursor to go on from when it is dealt with."""

    event: training.TrainingEvent
    cursor: str


def watch_jobs(
    client: Client,
    *,
    after_cursor: str = "",
    from_now: bool = False,
    dataset_id: str | None = None,
    statuses: Iterable[training.TrainingJobStatus] = (),
    metadata: Mapping[str, str] | None = None,
    backoff: Backoff | None = None,
) -> Iterator[JobEvent]:
    """Yield the events of all jobs that fit, each job's in order; without an end.

    They begin after `after_cursor`, or with the oldest that is kept; with `from_now`, at this moment. Where
    `statuses` are given, only events are yielded after which the job is in one of them: with COMPLETED, one
    of each completed job. Resumes by cursor, and raises as `watch` does.
    """
    cursor, wanted = after_cursor, tuple(statuses)

    def open_stream() -> Any:
        return client.training.WatchTrainingJobs(
            training.WatchTrainingJobsRequest(
                after_cursor=cursor,
                from_now=from_now and cursor == after_cursor,
                dataset_id=dataset_id,
                statuses=wanted,
                metadata=metadata,
            )
        )

    for response in _resumed(open_stream, _Cursor(), backoff or Backoff()):
        cursor = response.cursor
        if response.HasField("event"):
            yield JobEvent(response.event, cursor)


def watch_audio_files(
    client: Client, dataset_id: str, after_revision: int = 0, *, backoff: Backoff | None = None
) -> Iterator[audio.AudioFile]:
    """Yield a dataset's files, each as it is and then as it changes, until none is in processing any more.

    Resumes and raises as `watch` does.
    """
    cursor = _Cursor(after_revision, ends_by_itself=True)

    def open_stream() -> Any:
        return client.audio.WatchAudioFiles(
            audio.WatchAudioFilesRequest(dataset_id=dataset_id, after_revision=cursor.revision)
        )

    for response in _resumed(open_stream, cursor, backoff or Backoff()):
        file = response.audio_file
        if response.HasField("audio_file") and file.revision > cursor.revision:
            cursor.revision = file.revision
            yield file


def wait_until_ready(
    client: Client, dataset_id: str, *, backoff: Backoff | None = None
) -> list[audio.AudioFile]:
    """Wait until every file of the dataset is ready or failed, and return all of them, oldest first.

    Those that failed have `error_message`. Raises grpc.RpcError as `watch` does.
    """
    files = {file.id: file for file in watch_audio_files(client, dataset_id, backoff=backoff)}
    return sorted(files.values(), key=lambda file: (file.created_at.ToNanoseconds(), file.id))


@dataclass
class _Cursor:
    """How far a watch has come. `ends_by_itself`: a stream that ends well has said everything."""

    revision: int = 0
    over: bool = False
    ends_by_itself: bool = False


def _resumed(open_stream: Callable[[], Any], cursor: _Cursor, backoff: Backoff) -> Iterator[Any]:
    """Yield the responses of one stream after another until the cursor is over.

    A stream that breaks, or ends well too early (its gateway is stopping), is opened again after a pause.
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
            cursor.over = cursor.over or cursor.ends_by_itself
        except grpc.RpcError as error:
            if not cursor.over and not _passes(error):
                raise
            if not contacted and explain(error).reason:
                # Who gives a reason is a gateway, though it can do no more at the moment.
                contacted, pauses = True, None
            failure = error
        finally:
            # A watcher that walks away must not leave its stream open on the gateway.
            call.cancel()
        if cursor.over:
            return
        pauses = pauses or backoff.pauses(contacted=contacted)
        if not next(pauses, False):
            raise failure


def _passes(error: grpc.RpcError) -> bool:
    """Return whether a stream that broke with `error` is worth opening again."""
    code = error.code()
    return code in _PASSING or (code in _CUT and not explain(error).reason)
