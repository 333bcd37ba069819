"""How soon work goes on after a fault of what the services stand on."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from bench.faults import dependencies
from bench.faults.job_validators import Span, seconds
from bench.faults.observations import Fault, Observations
from bench.faults.tables import Tables
from earmark.v1 import audio_service_pb2 as audio

RECOVERY_SECONDS = 30.0
FILE_ENDS = (audio.AUDIO_PROCESSING_STATUS_READY, audio.AUDIO_PROCESSING_STATUS_FAILED)
JOB_WORK = ("progress", "epoch_completed", "model_created")


@dataclass(slots=True)
class Work:
    """Work of one kind: the spans in which pieces of it were waiting or running, and its successes."""

    spans: list[Span] = field(default_factory=list)
    successes: list[float] = field(default_factory=list)

    def next_success(self, time: float) -> float | None:
        """The first success after `time`; None if nothing was waiting then."""
        if any(began <= time < ended for began, ended in self.spans):
            return min((success for success in self.successes if success > time), default=None)
        return None


def everything_goes_on(observed: Observations, tables: Tables) -> Iterator[str]:
    """Uploads are stored, files become ready and jobs train within RECOVERY_SECONDS after a fault."""
    for name, fault, waited in recoveries(observed, tables):
        if waited > RECOVERY_SECONDS:
            yield f"after {fault.kind!r} of {fault.target}, {name} went on after {waited:.0f} s"


def seconds_to_recover(observed: Observations, tables: Tables) -> dict[str, dict[str, float]]:
    """The longest recovery by kind of work and kind of fault."""
    longest: dict[str, dict[str, float]] = {}
    for name, fault, waited in recoveries(observed, tables):
        by_fault = longest.setdefault(name, {})
        by_fault[fault.kind] = max(by_fault.get(fault.kind, 0.0), round(waited, 1))
    return longest


def recoveries(observed: Observations, tables: Tables) -> Iterator[tuple[str, Fault, float]]:
    """The kind of work that waited, the fault, and the seconds without any fault up to the next success."""
    work = {"uploads": _uploads(observed), "files": _files(tables), "jobs": _jobs(tables)}
    for fault in observed.faults:
        if fault.kind not in dependencies.KINDS or fault.ended is None:
            continue
        others = [(other.began, other.ended or float("inf")) for other in observed.faults]
        for name, done in work.items():
            success = done.next_success(fault.ended)
            if success is not None:
                yield name, fault, uncovered(fault.ended, success, others)


def uncovered(start: float, end: float, spans: Iterable[Span]) -> float:
    """The length of the part of [start, end] that no span covers."""
    total, free_since = 0.0, start
    for began, ended in sorted(spans):
        if began >= end:
            break
        total += max(0.0, began - free_since)
        free_since = max(free_since, ended)
    return total + max(0.0, end - free_since)


def _uploads(observed: Observations) -> Work:
    work, began = Work(), dict[str, float]()
    for call in observed.of("UploadAudio"):
        first = began.setdefault(call.request.request_id, call.began)
        if call.reply is not None:
            work.spans.append((first, call.ended))
            work.successes.append(call.ended)
    return work


def _files(tables: Tables) -> Work:
    work, created = Work(), dict[str, float]()
    for event in tables.file_events:
        time = event.time.ToMicroseconds() / 1e6
        if event.HasField("created"):
            created[event.audio_file_id] = time
        elif event.status_changed.to in FILE_ENDS and event.audio_file_id in created:
            work.spans.append((created[event.audio_file_id], time))
            work.successes.append(time)
    return work


def _jobs(tables: Tables) -> Work:
    work = Work()
    for events in tables.events.values():
        if events:
            work.spans.append((seconds(events[0]), seconds(events[-1])))
        work.successes += [seconds(event) for event in events if event.WhichOneof("kind") in JOB_WORK]
    return work
