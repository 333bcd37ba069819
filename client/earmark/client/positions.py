"""The positions of watches: what the next stream asks for, and what a received message means.

They know nothing of how messages are received, so the sync and the asyncio client share them.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from earmark.v1 import audio_service_pb2 as audio
from earmark.v1 import training_service_pb2 as training

Request = TypeVar("Request")
Response = TypeVar("Response")
Item = TypeVar("Item")

TERMINAL_STATUSES = frozenset(
    {
        training.TRAINING_JOB_STATUS_COMPLETED,
        training.TRAINING_JOB_STATUS_FAILED,
        training.TRAINING_JOB_STATUS_CANCELLED,
    }
)


class Position(ABC, Generic[Request, Response, Item]):
    """Where a watch is, over all of its streams. `complete` means that it has received its last message."""

    complete = False

    @abstractmethod
    def request(self) -> Request:
        """Return the request of a stream that resumes after the last message received."""

    @abstractmethod
    def take(self, response: Response) -> Item | None:
        """Move after `response`, and return what the watch yields for it; None for a heartbeat."""

    def ended(self) -> Exception:
        """Note that a stream ended without an error; return the failure that this is unless `complete`."""
        return ConnectionError("the gateway keeps ending the watch before its last event")


class JobPosition(
    Position[training.WatchTrainingJobRequest, training.WatchTrainingJobResponse, training.TrainingEvent]
):
    """The position in the events of one job."""

    def __init__(self, job_id: str, after_revision: int) -> None:
        self._job_id = job_id
        self._revision = after_revision

    def request(self) -> training.WatchTrainingJobRequest:
        return training.WatchTrainingJobRequest(training_job_id=self._job_id, after_revision=self._revision)

    def take(self, response: training.WatchTrainingJobResponse) -> training.TrainingEvent | None:
        event = response.event
        if not response.HasField("event") or event.revision <= self._revision:
            return None
        self._revision = event.revision
        self.complete = self.complete or event.status_changed.to in TERMINAL_STATUSES
        return event


@dataclass(frozen=True)
class JobEvent:
    """An event of one of many jobs, and the cursor from which to resume after it."""

    event: training.TrainingEvent
    cursor: str


class JobsPosition(Position[training.WatchTrainingJobsRequest, training.WatchTrainingJobsResponse, JobEvent]):
    """The position in the events of all jobs that match the filters."""

    def __init__(
        self,
        *,
        after_cursor: str,
        from_start: bool,
        dataset_id: str | None,
        kinds: Iterable[training.TrainingEventKind],
        statuses: Iterable[training.TrainingJobStatus],
        metadata: Mapping[str, str] | None,
    ) -> None:
        self._request = training.WatchTrainingJobsRequest(
            after_cursor=after_cursor,
            from_start=from_start and not after_cursor,
            dataset_id=dataset_id,
            kinds=kinds,
            statuses=statuses,
            metadata=metadata,
        )

    def request(self) -> training.WatchTrainingJobsRequest:
        return self._request

    def take(self, response: training.WatchTrainingJobsResponse) -> JobEvent | None:
        self._request.after_cursor = response.cursor
        self._request.from_start = False
        return JobEvent(response.event, response.cursor) if response.HasField("event") else None


class FilesPosition(Position[audio.WatchAudioFilesRequest, audio.WatchAudioFilesResponse, audio.AudioFile]):
    """The position in the changes of a dataset's files. Its stream ends when no file is in processing."""

    def __init__(self, dataset_id: str, after_revision: int) -> None:
        self._dataset_id = dataset_id
        self._revision = after_revision

    def request(self) -> audio.WatchAudioFilesRequest:
        return audio.WatchAudioFilesRequest(dataset_id=self._dataset_id, after_revision=self._revision)

    def take(self, response: audio.WatchAudioFilesResponse) -> audio.AudioFile | None:
        file = response.audio_file
        if not response.HasField("audio_file") or file.revision <= self._revision:
            return None
        self._revision = file.revision
        return file

    def ended(self) -> Exception:
        self.complete = True
        return super().ended()


def oldest_first(files: Iterable[audio.AudioFile]) -> list[audio.AudioFile]:
    """Return the last state of each file among `files`, the oldest file first."""
    last = {file.id: file for file in files}
    return sorted(last.values(), key=lambda file: (file.created_at.ToNanoseconds(), file.id))
