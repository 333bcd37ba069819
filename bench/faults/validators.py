"""A validator for each promise: from what clients saw and what the tables hold to what is wrong, in words.

Promise 7, that a slow watcher slows nobody, is measured elsewhere; here a slow watcher must see everything.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from earmark.v1 import annotation_service_pb2 as pb_annotations
from earmark.v1 import training_service_pb2 as pb

from bench.faults.api import CUT
from bench.faults.history import Call, Failure, Fault, History, LogWatcher, Watcher
from bench.faults.lifecycle import FINAL, Events, little_work_lost, one_end_and_no_stale_writes, seconds
from bench.faults.tables import Mark, Tables

# A gateway serves again within this time of its restart, and so does what needed a database or a trainer.
RECOVERY_SECONDS = 5.0
# A watch has begun by then, whatever is broken.
START_SECONDS = 30.0
# What may be called on a draft alone.
CHANGES = ("BatchCreateAnnotations", "UpdateAnnotation", "DeleteAnnotation", "DeleteAnnotationSet")


def creates_are_kept(history: History, tables: Tables) -> Iterator[str]:
    """1: a job that Create acknowledged is never lost and never made twice for one request_id."""
    made = defaultdict(list)
    for job in tables.jobs:
        made[job.request_id].append(job.id)
    calls = list(history.of("CreateTrainingJob"))
    for request_id in made.keys() - {call.request.request_id for call in calls}:
        yield f"nobody asked for the jobs {made[request_id]}, request {request_id}"
    for request_id, jobs in made.items():
        if len(jobs) > 1:
            yield f"request {request_id} made {len(jobs)} jobs: {jobs}"
    for call in calls:
        if call.reply is None:
            continue
        request_id, job_id = call.request.request_id, call.reply.training_job.id
        if job_id not in made[request_id]:
            yield f"request {request_id} was acknowledged with job {job_id}, which is not there"
        kept = pb.CreateTrainingJobResponse.FromString(tables.replies.get(request_id, b""))
        if kept.training_job.id != job_id:
            yield f"request {request_id} was acknowledged with job {job_id}; kept is {kept.training_job.id!r}"


def watches_are_whole(history: History, tables: Tables) -> Iterator[str]:
    """4 and 6: no watcher misses an event; a watch is ordered, without gap or duplicate, and resumable."""
    for watcher in history.watchers:
        for problem in _of_watch(watcher, tables.events.get(watcher.job_id, [])):
            yield f"{watcher.name} of job {watcher.job_id}: {problem}"


def _of_watch(watcher: Watcher, recorded: Events) -> Iterator[str]:
    revision = watcher.after
    for stream in watcher.streams:
        for event in stream.events:
            if event.revision != revision + 1:
                yield f"gateway-{stream.gateway} sent revision {event.revision} after {revision}"
            if event.revision > len(recorded) or event != recorded[event.revision - 1]:
                yield f"gateway-{stream.gateway} sent a revision {event.revision} unlike the one recorded"
            revision = event.revision
    if not watcher.events or watcher.events[-1].status_changed.to not in FINAL:
        yield f"it saw revision {revision} last, which is not the job's end"


def logs_are_whole(history: History, tables: Tables) -> Iterator[str]:
    """4 and 6, of the watch over all jobs: each job's events in order, none missing, none twice."""
    for watcher in history.log_watchers:
        seen: dict[str, list[pb.TrainingEvent]] = defaultdict(list)
        for event in watcher.events:
            seen[event.training_job_id].append(event)
        for job_id in seen.keys() - tables.events.keys():
            yield f"{watcher.name}: events of job {job_id}, which is not there"
        for job_id, recorded in tables.events.items():
            wanted = list(_in_statuses(recorded, watcher.statuses))
            if watcher.from_now:
                wanted = _behind_the_start(watcher, wanted, seen[job_id])
            if seen[job_id] != wanted:
                came, due = ([event.revision for event in events] for events in (seen[job_id], wanted))
                yield f"{watcher.name}: of job {job_id} came {came}, not {due}"
        cursors = [response.cursor for response in watcher.responses if response.HasField("event")]
        if len(set(cursors)) != len(cursors):
            yield f"{watcher.name}: a cursor was given to two events"


def _behind_the_start(watcher: LogWatcher, recorded: Events, seen: Events) -> Events:
    """The last events, as many as were seen; at least those that certainly came after the watcher."""
    began = watcher.streams[0].began + START_SECONDS
    certain = sum(seconds(event) > began for event in recorded)
    return recorded[len(recorded) - max(certain, min(len(seen), len(recorded))) :]


def _in_statuses(recorded: Events, statuses: Iterable[int]) -> Iterator[pb.TrainingEvent]:
    """The events after which the job was in one of these; all where there are none."""
    status = pb.TRAINING_JOB_STATUS_UNSPECIFIED
    for event in recorded:
        if event.HasField("status_changed"):
            status = event.status_changed.to
        if not statuses or status in statuses:
            yield event


def errors_are_passing(history: History, tables: Tables) -> Iterator[str]:  # noqa: ARG001 - as all validators
    """5: errors are UNAVAILABLE with RetryInfo while something is away, and none comes after."""
    for call in history.calls:
        if call.failure is not None and not _is_expected(call):
            where = f"{call.client}: {call.method} at gateway-{call.gateway}"
            yield from _of_failure(where, call.failure, call.began, call.ended, history.faults)
    for watcher in history.watchers:
        for stream in watcher.streams:
            if stream.failure is not None:
                where = f"{watcher.name} of job {watcher.job_id} at gateway-{stream.gateway}"
                ended = stream.ended or stream.began
                yield from _of_failure(where, stream.failure, ended, ended, history.faults)
    for log in history.log_watchers:
        for stream in log.streams:
            if stream.failure is not None:
                ended = stream.ended or stream.began
                where = f"{log.name} at gateway-{stream.gateway}"
                yield from _of_failure(where, stream.failure, ended, ended, history.faults)


def _is_expected(call: Call) -> bool:
    return call.failure is not None and call.failure.reason in call.expected


def _of_failure(
    where: str, failure: Failure, began: float, ended: float, faults: Iterable[Fault]
) -> Iterator[str]:
    ours = failure.code == "UNAVAILABLE" and failure.retry
    passing = ours if failure.reason else failure.code in CUT
    if not passing:
        yield f"{where} failed with {failure}"
    elif not any(_excuses(fault, began, ended) for fault in faults):
        yield f"{where} failed while all was well, with {failure}"


def _excuses(fault: Fault, began: float, ended: float) -> bool:
    return fault.began <= ended and (fault.ended is None or began <= fault.ended + RECOVERY_SECONDS)


def published_sets_stay(history: History, tables: Tables) -> Iterator[str]:
    """8: a published annotation set never changes, whatever is called."""
    published: dict[str, float] = {}
    for call in _acknowledged(history, "PublishAnnotationSet"):
        published.setdefault(call.request.annotation_set_id, call.ended)
    sets: dict[str, str] = {}
    marks: dict[str, dict[str, list[Mark]]] = defaultdict(dict)
    for call in _acknowledged(history, "BatchCreateAnnotations"):
        set_id = call.request.annotation_set_id
        sets.update(dict.fromkeys(call.reply.annotation_ids, set_id))
        if call.began < published.get(set_id, call.ended):
            marks[set_id][call.request.request_id] = [_mark(mark) for mark in call.request.annotations]
    for method in CHANGES:
        for call in _acknowledged(history, method):
            set_id = _changed_set(call.request, sets)
            if call.began > published.get(set_id, call.ended):
                yield f"{method} was taken, of set {set_id}, which was published before"
    for set_id in published:
        sent = sorted(mark for batch in marks[set_id].values() for mark in batch)
        found = sorted(tables.annotations.get(set_id, []))
        if found != sent:
            yield f"set {set_id} was published with {len(sent)} annotations; there now are other {len(found)}"


def _changed_set(request: Any, sets: Mapping[str, str]) -> str:
    """The set that a change is made to; `sets` by annotation."""
    if isinstance(request, pb_annotations.UpdateAnnotationRequest | pb_annotations.DeleteAnnotationRequest):
        return sets.get(request.annotation_id, "")
    return request.annotation_set_id


def _acknowledged(history: History, method: str) -> Iterator[Call]:
    return (call for call in history.of(method) if call.reply is not None)


def _mark(mark: pb_annotations.NewAnnotation) -> Mark:
    return mark.audio_file_id, mark.artifact_type, mark.start_ms, mark.end_ms


def audio_fails_alone(history: History, tables: Tables) -> Iterator[str]:
    """9: bad audio fails its own file with a reason; it takes down no process and no other file."""
    for upload in history.uploads:
        files = [file for file in tables.files if file.name == upload.name]
        if len(files) != 1:
            yield f"{upload.name} was uploaded, and there are {len(files)} files of this name"
        for file in files:
            if upload.good and file.status != "ready":
                yield f"{upload.name} is good, and {file.status}: {file.error_message}"
            if not upload.good and not (file.status == "failed" and file.error_message):
                yield f"{upload.name} is bad, and {file.status}: {file.error_message!r}"
    yield from history.deaths


def tenants_are_apart(history: History, secrets: Iterable[str]) -> Iterator[str]:
    """10: nothing of one tenant is visible to another, in any rpc, list, error or stream."""
    hidden = [secret.encode() for secret in secrets]
    for call in history.calls:
        said = call.reply.SerializeToString() if call.reply is not None else str(call.failure).encode()
        asked = call.request.SerializeToString()
        for secret in hidden:
            # Who asks for an id may be told that there is none.
            if secret in said and secret not in asked:
                yield f"{call.client}: {call.method} at gateway-{call.gateway} gave {secret.decode()!r} away"
            if secret in asked and call.reply is not None:
                yield f"{call.client}: {call.method} at gateway-{call.gateway} took {secret.decode()!r}"
    for watcher in (*history.watchers, *history.log_watchers):
        for event in watcher.events:
            said = event.SerializeToString()
            yield from (f"{watcher.name} was told {secret.decode()!r}" for secret in hidden if secret in said)


def clients_are_done(history: History, tables: Tables) -> Iterator[str]:  # noqa: ARG001 - as all validators
    """Once all is well again, everything comes to its end."""
    yield from history.unfinished


Validator = Callable[[History, Tables], Iterator[str]]
VALIDATORS: dict[str, Validator] = {
    "1 creates are kept": creates_are_kept,
    "2 one end, one model, no stale writes": one_end_and_no_stale_writes,
    "3 little work is lost": little_work_lost,
    "4 and 6 watches are whole": watches_are_whole,
    "4 and 6 watches of all jobs are whole": logs_are_whole,
    "5 errors are passing": errors_are_passing,
    "8 published sets stay": published_sets_stay,
    "9 audio fails alone": audio_fails_alone,
    "everything comes to its end": clients_are_done,
}


def violations(history: History, tables: Tables, secrets: Iterable[str]) -> dict[str, list[str]]:
    """What each validator finds."""
    found = {name: list(validator(history, tables)) for name, validator in VALIDATORS.items()}
    return {**found, "10 tenants are apart": list(tenants_are_apart(history, secrets))}


def refusals_by_reason(history: History) -> dict[str, int]:
    """How often clients were refused what must be refused."""
    failures = (call.failure.reason for call in history.calls if call.failure and _is_expected(call))
    return dict(Counter(failures))


def errors_by_code(history: History) -> dict[str, int]:
    """How often clients saw each other error."""
    failures = [call.failure for call in history.calls if call.failure and not _is_expected(call)]
    failures += [
        stream.failure for watcher in history.watchers for stream in watcher.streams if stream.failure
    ]
    return dict(Counter(" ".join(filter(None, (failure.code, failure.reason))) for failure in failures))
