"""The positions of watches: what the next stream asks for, and what a received message means.

They know nothing of how messages are received, so the sync and the asyncio client share them.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from earmark.v1 import audio_service_pb2 as audio
from earmark.v1 import detection_service_pb2 as detection
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

_SEARCHED = frozenset(
    {
        detection.DETECTION_JOB_STATUS_COMPLETED,
        detection.DETECTION_JOB_STATUS_FAILED,
        detection.DETECTION_JOB_STATUS_CANCELLED,
    }
)
_PROCESSED = frozenset({audio.AUDIO_PROCESSING_STATUS_READY, audio.AUDIO_PROCESSING_STATUS_FAILED})


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
    """The position in the events of one job, or in those of some kinds."""

    def __init__(self, job_id: str, after_revision: int, kinds: Iterable[training.TrainingEventKind]) -> None:
        self._job_id = job_id
        self._revision = after_revision
        self._kinds = tuple(kinds)

    def request(self) -> training.WatchTrainingJobRequest:
        return training.WatchTrainingJobRequest(
            training_job_id=self._job_id, after_revision=self._revision, kinds=self._kinds
        )

    def take(self, response: training.WatchTrainingJobResponse) -> training.TrainingEvent | None:
        event = response.event
        if not response.HasField("event") or event.revision <= self._revision:
            return None
        self._revision = event.revision
        self.complete = self.complete or event.status_changed.to in TERMINAL_STATUSES
        return event

    def ended(self) -> Exception:
        # If the filter leaves out the last event, its stream just ends.
        if self._kinds and training.TRAINING_EVENT_KIND_STATUS_CHANGED not in self._kinds:
            self.complete = True
        return super().ended()


class DetectionJobPosition(
    Position[
        detection.WatchDetectionJobRequest, detection.WatchDetectionJobResponse, detection.DetectionEvent
    ]
):
    """The position in the events of one detection job."""

    def __init__(self, job_id: str, after_revision: int) -> None:
        self._job_id = job_id
        self._revision = after_revision

    def request(self) -> detection.WatchDetectionJobRequest:
        return detection.WatchDetectionJobRequest(
            detection_job_id=self._job_id, after_revision=self._revision
        )

    def take(self, response: detection.WatchDetectionJobResponse) -> detection.DetectionEvent | None:
        event = response.event
        if not response.HasField("event") or event.revision <= self._revision:
            return None
        self._revision = event.revision
        self.complete = event.status_changed.to in _SEARCHED or event.HasField("deleted")
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
        dataset_ids: Iterable[str],
        kinds: Iterable[training.TrainingEventKind],
        statuses: Iterable[training.TrainingJobStatus],
        metadata: Mapping[str, str] | None,
    ) -> None:
        self._request = training.WatchTrainingJobsRequest(
            after_cursor=after_cursor,
            from_start=from_start and not after_cursor,
            dataset_ids=dataset_ids,
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


@dataclass(frozen=True)
class FileEvent:
    """An event of an audio file or of its dataset, and the cursor from which to resume after it."""

    event: audio.AudioFileEvent
    cursor: str


class FilesPosition(Position[audio.WatchAudioFilesRequest, audio.WatchAudioFilesResponse, FileEvent]):
    """The position in the events of all audio files that match the filters."""

    def __init__(
        self,
        *,
        after_cursor: str,
        from_start: bool,
        dataset_ids: Iterable[str],
        kinds: Iterable[audio.AudioFileEventKind],
        processing_statuses: Iterable[audio.AudioProcessingStatus],
        until_idle: bool,
    ) -> None:
        self._request = audio.WatchAudioFilesRequest(
            after_cursor=after_cursor,
            from_start=from_start and not after_cursor,
            dataset_ids=dataset_ids,
            kinds=kinds,
            processing_statuses=processing_statuses,
            until_idle=until_idle,
        )

    def request(self) -> audio.WatchAudioFilesRequest:
        return self._request

    def take(self, response: audio.WatchAudioFilesResponse) -> FileEvent | None:
        self._request.after_cursor = response.cursor
        self._request.from_start = False
        return FileEvent(response.event, response.cursor) if response.HasField("event") else None

    def ended(self) -> Exception:
        self.complete = self._request.until_idle
        return super().ended()


def are_processed(files: Iterable[audio.AudioFile]) -> bool:
    """Return whether every file is ready or failed."""
    return all(file.processing_status in _PROCESSED for file in files)
