"""Validators of the watches of the log: promises 4 and 6. Each yields descriptions of violations."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from bench.faults.job_validators import Events, seconds
from bench.faults.observations import LogWatcher, Observations
from bench.faults.tables import Tables
from earmark.v1 import audio_service_pb2 as audio
from earmark.v1 import training_service_pb2 as pb

# A watch has begun after this time at the latest, even during faults.
START_SECONDS = 30.0


def logs_are_whole(observed: Observations, tables: Tables) -> Iterator[str]:
    """4 and 6 for watches of all jobs: each job's events in order, none missing, none twice."""
    for watcher in observed.log_watchers_of("WatchTrainingJobs"):
        received: dict[str, list[pb.TrainingEvent]] = defaultdict(list)
        for event in watcher.events:
            received[event.training_job_id].append(event)
        for job_id in received.keys() - tables.events.keys():
            yield f"{watcher.name}: events of job {job_id}, which does not exist"
        for job_id, recorded in tables.events.items():
            expected: Events = list(_in_statuses(recorded, watcher.statuses))
            if not watcher.from_start:
                expected = _after_start(watcher, expected, received[job_id])
            if received[job_id] != expected:
                pair = (received[job_id], expected)
                actual, due = ([event.revision for event in events] for events in pair)
                yield f"{watcher.name}: received {actual} of job {job_id}, not {due}"
        yield from _cursor_problems(watcher)


def _cursor_problems(watcher: LogWatcher) -> Iterator[str]:
    cursors = [response.cursor for response in watcher.responses if response.HasField("event")]
    if len(set(cursors)) != len(cursors):
        yield f"{watcher.name}: two events have the same cursor"


def _after_start(watcher: LogWatcher, recorded: Sequence[Any], received: Sequence[Any]) -> Sequence[Any]:
    """The last events, as many as were received, but at least those recorded after the watch began."""
    began = watcher.streams[0].began + START_SECONDS
    certain = sum(seconds(event) > began for event in recorded)
    return recorded[len(recorded) - max(certain, min(len(received), len(recorded))) :]


def _in_statuses(recorded: Events, statuses: Iterable[int]) -> Iterator[pb.TrainingEvent]:
    """The events after which the job was in one of `statuses`; all events if `statuses` is empty."""
    status = pb.TRAINING_JOB_STATUS_UNSPECIFIED
    for event in recorded:
        if event.HasField("status_changed"):
            status = event.status_changed.to
        if not statuses or status in statuses:
            yield event


def file_logs_are_whole(observed: Observations, tables: Tables) -> Iterator[str]:
    """4 and 6 for watches of audio files: all events in the order of the log, none missing, none twice."""
    for watcher in observed.log_watchers_of("WatchAudioFiles"):
        recorded = [
            _without_text(event)
            for event in tables.file_events
            if not watcher.dataset_ids or event.dataset_id in watcher.dataset_ids
        ]
        received = [_without_text(event) for event in watcher.events]
        expected = recorded if watcher.from_start else _after_start(watcher, recorded, received)
        if received != expected:
            at = next(
                (n for n, pair in enumerate(zip(received, expected, strict=False)) if pair[0] != pair[1]),
                None,
            )
            where = f"from event {at} on" if at is not None else "at the end"
            yield f"{watcher.name}: received {len(received)} events, not {len(expected)}; they differ {where}"
        yield from _cursor_problems(watcher)


def _without_text(event: audio.AudioFileEvent) -> audio.AudioFileEvent:
    """The event as it is once its file is deleted."""
    stripped = audio.AudioFileEvent()
    stripped.CopyFrom(event)
    if event.HasField("status_changed"):
        stripped.status_changed.error_message = ""
    return stripped
