"""What the clients observed, and the faults at that time. Times are seconds since the Unix epoch."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from google.rpc import error_details_pb2
from grpc import aio
from grpc_status import rpc_status

from earmark.v1 import detection_service_pb2 as detection
from earmark.v1 import training_service_pb2 as training

DOMAIN = "earmark"


@dataclass(frozen=True, slots=True)
class Failure:
    """A call's error. `reason`: Earmark's, "" if the transport failed; `retry`: it has a RetryInfo."""

    code: str
    message: str = ""
    reason: str = ""
    retry: bool = False

    @classmethod
    def from_error(cls, error: aio.AioRpcError) -> "Failure":
        """The failure that an error of grpc.aio describes."""
        status, reason, retry = rpc_status.from_call(error), "", False
        for detail in status.details if status else ():
            info = error_details_pb2.ErrorInfo()
            if detail.Unpack(info) and info.domain == DOMAIN:
                reason = info.reason
            retry = retry or detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR)
        return cls(error.code().name, error.details() or "", reason, retry)

    def __str__(self) -> str:
        return f"{self.code} {self.reason or 'of the transport'}: {self.message}"


@dataclass(frozen=True, slots=True)
class Call:
    """One call. `expected`: the reasons for which it may be refused.

    `request` and `reply` have the message types of the rpc.
    """

    client: str
    gateway: int
    method: str
    request: Any
    began: float
    ended: float
    reply: Any = None
    failure: Failure | None = None
    expected: frozenset[str] = frozenset()


@dataclass(slots=True)
class Stream:
    """One stream of a watch, from its opening to its end."""

    gateway: int
    after: int
    began: float
    ended: float | None = None
    events: list[training.TrainingEvent] = field(default_factory=list)
    failure: Failure | None = None


@dataclass(slots=True)
class Watcher:
    """One client that follows a job from the revision after `after`, with as many streams as it needs."""

    name: str
    job_id: str
    after: int = 0
    streams: list[Stream] = field(default_factory=list)

    @property
    def events(self) -> list[training.TrainingEvent]:
        """The events of all streams, in order of arrival."""
        return [event for stream in self.streams for event in stream.events]

    @property
    def revision(self) -> int:
        """The last revision received, or `after`."""
        return next(
            (stream.events[-1].revision for stream in reversed(self.streams) if stream.events), self.after
        )


@dataclass(slots=True)
class SearchStream:
    """One stream of a watch of a detection job, from its opening to its end."""

    gateway: int
    began: float
    ended: float | None = None
    events: list[detection.DetectionEvent] = field(default_factory=list)
    failure: Failure | None = None


@dataclass(slots=True)
class Search:
    """One detection job that a client created and followed to its end; `found` is what it then listed."""

    job_id: str
    request_id: str
    is_cancelled: bool = False
    streams: list[SearchStream] = field(default_factory=list)
    found: list[detection.JobDetection] = field(default_factory=list)

    @property
    def events(self) -> list[detection.DetectionEvent]:
        """The events of all streams, in order of arrival."""
        return [event for stream in self.streams for event in stream.events]

    @property
    def revision(self) -> int:
        """The last revision received."""
        events = self.events
        return events[-1].revision if events else 0


Found = tuple[str, int, int]
"""artifact_type, start_ms, end_ms"""


@dataclass(slots=True)
class LiveStream:
    """Live audio, from its first sample to its summary, over as many calls as the client's helper made.

    `gateway`: the one that it was sent to. `failure`: what the helper raised.
    """

    audio: int
    gateway: int
    began: float
    ended: float | None = None
    found: list[Found] = field(default_factory=list)
    failure: str = ""


@dataclass(slots=True)
class LogStream:
    """One stream of a watch of the log, from its opening to its end."""

    gateway: int
    began: float
    ended: float | None = None
    responses: list[Any] = field(default_factory=list)
    failure: Failure | None = None


@dataclass(slots=True)
class LogWatcher:
    """One client that follows all jobs or all audio files, from the start or from now.

    Filters: `statuses` of jobs, `dataset_ids` of files. `until_idle`: up to the end of its stream.
    """

    name: str
    method: Literal["WatchTrainingJobs", "WatchAudioFiles"] = "WatchTrainingJobs"
    statuses: tuple["training.TrainingJobStatus", ...] = ()
    dataset_ids: tuple[str, ...] = ()
    from_start: bool = False
    until_idle: bool = False
    streams: list[LogStream] = field(default_factory=list)

    @property
    def responses(self) -> list[Any]:
        """The responses of all streams, in order of arrival."""
        return [response for stream in self.streams for response in stream.responses]

    @property
    def events(self) -> list[Any]:
        """The events among the responses, that is, all but the heartbeats."""
        return [response.event for response in self.responses if response.HasField("event")]

    @property
    def cursor(self) -> str:
        """The last cursor received, or "" if there is none."""
        return next((s.responses[-1].cursor for s in reversed(self.streams) if s.responses), "")


@dataclass(slots=True)
class Fault:
    """A fault at `target`. `ended`: when it was over and a restarted process served again."""

    kind: str
    target: str
    began: float
    ended: float | None = None


@dataclass(frozen=True, slots=True)
class Upload:
    """An uploaded file with a unique name, and whether its audio is good."""

    name: str
    good: bool


@dataclass(frozen=True, slots=True)
class DeletedDataset:
    """A dataset whose forced deletion was acknowledged, with the files that it had."""

    id: str
    file_ids: tuple[str, ...]


@dataclass(slots=True)
class Observations:
    """Everything that the validators judge, except the tables."""

    calls: list[Call] = field(default_factory=list)
    watchers: list[Watcher] = field(default_factory=list)
    log_watchers: list[LogWatcher] = field(default_factory=list)
    searches: list[Search] = field(default_factory=list)
    live_streams: list[LiveStream] = field(default_factory=list)
    # What is found in the audio of live streams when it is a recording.
    recordings: dict[int, list[Found]] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    uploads: list[Upload] = field(default_factory=list)
    deleted: list[DeletedDataset] = field(default_factory=list)
    # Processes that ended without a fault.
    unexpected_exits: list[str] = field(default_factory=list)
    # Set whenever an epoch or a job has ended.
    progressed: asyncio.Event = field(default_factory=asyncio.Event)
    # What clients were still doing when the drill's time was over.
    unfinished: list[str] = field(default_factory=list)

    def of(self, method: str) -> Iterator[Call]:
        """The calls of one rpc, in order of their completion."""
        return (call for call in self.calls if call.method == method)

    def log_watchers_of(self, method: str) -> list[LogWatcher]:
        """The clients that watch the log with this rpc."""
        return [watcher for watcher in self.log_watchers if watcher.method == method]
