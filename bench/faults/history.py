"""What clients saw, and what was done to the system meanwhile. Times are seconds since the epoch."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field

from earmark.v1 import training_service_pb2 as training
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from grpc import aio
from grpc_status import rpc_status

DOMAIN = "earmark"


@dataclass(frozen=True, slots=True)
class Failure:
    """A call's error. `reason` is Earmark's, "" where the transport speaks; `retry`: it has a RetryInfo."""

    code: str
    message: str = ""
    reason: str = ""
    retry: bool = False

    @classmethod
    def of(cls, error: aio.AioRpcError) -> "Failure":
        """Unpacked."""
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
    """One call. `expected`: the reasons for which it may be refused, as a call that is meant to be."""

    client: str
    gateway: int
    method: str
    request: Message
    began: float
    ended: float
    reply: Message | None = None
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
    """One client that follows a job from after `after`, with as many streams as that takes."""

    name: str
    job_id: str
    after: int = 0
    streams: list[Stream] = field(default_factory=list)

    @property
    def events(self) -> list[training.TrainingEvent]:
        """Of all streams, as they came."""
        return [event for stream in self.streams for event in stream.events]

    @property
    def revision(self) -> int:
        """The last one seen."""
        return next(
            (stream.events[-1].revision for stream in reversed(self.streams) if stream.events), self.after
        )


@dataclass(slots=True)
class LogStream:
    """One WatchTrainingJobs stream, to its end."""

    gateway: int
    began: float
    ended: float | None = None
    responses: list[training.WatchTrainingJobsResponse] = field(default_factory=list)
    failure: Failure | None = None


@dataclass(slots=True)
class LogWatcher:
    """One client that follows all jobs, or those that its filter lets through, from the start or later."""

    name: str
    statuses: tuple[int, ...] = ()
    from_now: bool = False
    streams: list[LogStream] = field(default_factory=list)

    @property
    def responses(self) -> list[training.WatchTrainingJobsResponse]:
        """Of all streams, as they came."""
        return [response for stream in self.streams for response in stream.responses]

    @property
    def events(self) -> list[training.TrainingEvent]:
        """Those of the responses that are no heartbeats."""
        return [response.event for response in self.responses if response.HasField("event")]

    @property
    def cursor(self) -> str:
        """The last one seen."""
        return next((s.responses[-1].cursor for s in reversed(self.streams) if s.responses), "")


@dataclass(slots=True)
class Fault:
    """Something done to `target`; `ended` once it was undone, and a process served again."""

    kind: str
    target: str
    began: float
    ended: float | None = None


@dataclass(frozen=True, slots=True)
class Upload:
    """A file under a name of its own, and whether its audio is good."""

    name: str
    good: bool


@dataclass(slots=True)
class History:
    """Everything there is to judge by, beside the tables."""

    calls: list[Call] = field(default_factory=list)
    watchers: list[Watcher] = field(default_factory=list)
    log_watchers: list[LogWatcher] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    uploads: list[Upload] = field(default_factory=list)
    # Processes that ended although nobody ended them.
    deaths: list[str] = field(default_factory=list)
    # Set whenever an epoch or a job has come to its end.
    progressed: asyncio.Event = field(default_factory=asyncio.Event)
    # What clients were still doing when they were told to give up.
    unfinished: list[str] = field(default_factory=list)

    def of(self, method: str) -> Iterator[Call]:
        """The calls of one rpc, in order of their ends."""
        return (call for call in self.calls if call.method == method)
