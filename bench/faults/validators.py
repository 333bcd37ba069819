"""A validator for each promise. It compares the observations with the tables and yields violations as text.

Promise 7, that a slow watcher slows no one else, has a test of its own (tests/system/test_promises.py).
Here a slow watcher must still receive every event.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from bench.faults.api import DISCONNECTED
from bench.faults.job_validators import (
    FINAL,
    Events,
    jobs_leave_only_models,
    little_work_lost,
    no_job_fails,
    one_end_and_no_stale_writes,
)
from bench.faults.live_validators import live_streams_find_the_same
from bench.faults.log_validators import file_logs_are_whole, logs_are_whole
from bench.faults.observations import (
    Call,
    Failure,
    Fault,
    LogStream,
    LogWatcher,
    Observations,
    SearchStream,
    Stream,
    Watcher,
)
from bench.faults.other_tenant import CLIENT
from bench.faults.recovery import everything_goes_on
from bench.faults.search_validators import (
    search_watches_are_whole,
    searches_are_kept,
    searches_end_once,
    searches_find_the_same,
)
from bench.faults.tables import AnnotationRow, Tables
from earmark.v1 import annotation_service_pb2 as pb_annotations
from earmark.v1 import training_service_pb2 as pb

# Within this time after the end of a fault, gateways and calls that need a database or a trainer work again.
RECOVERY_SECONDS = 5.0
# The rpcs that are allowed only on a draft.
CHANGES = ("BatchCreateAnnotations", "UpdateAnnotation", "DeleteAnnotation", "DeleteAnnotationSet")


def creates_are_kept(observed: Observations, tables: Tables) -> Iterator[str]:
    """1: a job that Create acknowledged is never lost and never made twice for one request_id."""
    created = defaultdict(list)
    for job in tables.jobs:
        created[job.request_id].append(job.id)
    calls = list(observed.of("CreateTrainingJob"))
    for unknown_id in created.keys() - {call.request.request_id for call in calls}:
        yield f"nobody asked for the jobs {created[unknown_id]}, request {unknown_id}"
    for request_id, jobs in created.items():
        if len(jobs) > 1:
            yield f"request {request_id} made {len(jobs)} jobs: {jobs}"
    for call in calls:
        if call.reply is None:
            continue
        request_id, job_id = call.request.request_id, call.reply.training_job.id
        if job_id not in created[request_id]:
            yield f"request {request_id} was acknowledged with job {job_id}, which does not exist"
        stored = pb.CreateTrainingJobResponse.FromString(tables.replies.get(request_id, b""))
        if stored.training_job.id != job_id:
            yield (
                f"request {request_id} was acknowledged with job {job_id};"
                f" the stored reply has {stored.training_job.id!r}"
            )


def watches_are_whole(observed: Observations, tables: Tables) -> Iterator[str]:
    """4 and 6: no watcher misses an event; a watch is ordered, has no gap or duplicate, and is resumable."""
    for watcher in observed.watchers:
        for problem in _watch_problems(watcher, tables.events.get(watcher.job_id, [])):
            yield f"{watcher.name} of job {watcher.job_id}: {problem}"


def _watch_problems(watcher: Watcher, recorded: Events) -> Iterator[str]:
    revision = watcher.after
    for stream in watcher.streams:
        for event in stream.events:
            if event.revision != revision + 1:
                yield f"gateway-{stream.gateway} sent revision {event.revision} after {revision}"
            if event.revision > len(recorded) or event != recorded[event.revision - 1]:
                yield f"gateway-{stream.gateway} sent a revision {event.revision} unlike the one recorded"
            revision = event.revision
    if not watcher.events or watcher.events[-1].status_changed.to not in FINAL:
        yield f"its last revision is {revision}, which is not the job's end"


def errors_are_passing(observed: Observations, tables: Tables) -> Iterator[str]:  # noqa: ARG001 - as all validators
    """5: errors are UNAVAILABLE with RetryInfo during faults, and there are none afterwards."""
    for call in observed.calls:
        if call.failure is not None and not _is_expected(call):
            where = f"{call.client}: {call.method} at gateway-{call.gateway}"
            yield from _failure_problems(where, call.failure, call.began, call.ended, observed.faults)
    for who, stream in _streams(observed):
        if stream.failure is not None:
            ended = stream.ended or stream.began
            where = f"{who} at gateway-{stream.gateway}"
            yield from _failure_problems(where, stream.failure, ended, ended, observed.faults)


def _streams(observed: Observations) -> Iterator[tuple[str, Stream | SearchStream | LogStream]]:
    """The streams of all watches, each with the name of its watcher."""
    for watcher in observed.watchers:
        yield from ((f"{watcher.name} of job {watcher.job_id}", stream) for stream in watcher.streams)
    for search in observed.searches:
        yield from ((f"the watch of detection job {search.job_id}", stream) for stream in search.streams)
    for log_watcher in observed.log_watchers:
        yield from ((log_watcher.name, stream) for stream in log_watcher.streams)


def _is_expected(call: Call) -> bool:
    return call.failure is not None and call.failure.reason in call.expected


def _failure_problems(
    where: str, failure: Failure, began: float, ended: float, faults: Iterable[Fault]
) -> Iterator[str]:
    unavailable = failure.code == "UNAVAILABLE" and failure.retry
    passing = unavailable if failure.reason else failure.code in DISCONNECTED
    if not passing:
        yield f"{where} failed with {failure}"
    elif not any(_explains(fault, began, ended) for fault in faults):
        yield f"{where} failed without a fault, with {failure}"


def _explains(fault: Fault, began: float, ended: float) -> bool:
    return fault.began <= ended and (fault.ended is None or began <= fault.ended + RECOVERY_SECONDS)


def published_sets_stay(observed: Observations, tables: Tables) -> Iterator[str]:
    """8: a published annotation set never changes, whichever rpc is called."""
    published: dict[str, float] = {}
    for call in _acknowledged(observed, "PublishAnnotationSet"):
        published.setdefault(call.request.annotation_set_id, call.ended)
    sets: dict[str, str] = {}
    batches: dict[str, dict[str, list[AnnotationRow]]] = defaultdict(dict)
    for call in _acknowledged(observed, "BatchCreateAnnotations"):
        set_id = call.request.annotation_set_id
        sets.update(dict.fromkeys(call.reply.annotation_ids, set_id))
        if call.began < published.get(set_id, call.ended):
            rows = [_annotation_row(annotation) for annotation in call.request.annotations]
            batches[set_id][call.request.request_id] = rows
    for method in CHANGES:
        for call in _acknowledged(observed, method):
            set_id = _changed_set(call.request, sets)
            if call.began > published.get(set_id, call.ended):
                yield f"{method} was accepted for set {set_id}, which was already published"
    for set_id in published:
        sent = sorted(row for batch in batches[set_id].values() for row in batch)
        stored = sorted(tables.annotations.get(set_id, []))
        if stored != sent:
            yield f"set {set_id} was published with {len(sent)} annotations; now it has {len(stored)} others"


def _changed_set(request: Any, sets: Mapping[str, str]) -> str:
    """The id of the set that a request changes; `sets`: the sets by annotation id."""
    if isinstance(request, pb_annotations.UpdateAnnotationRequest):
        return sets.get(request.annotation.id, "")
    if isinstance(request, pb_annotations.DeleteAnnotationRequest):
        return sets.get(request.annotation_id, "")
    return str(request.annotation_set_id)


def _acknowledged(observed: Observations, method: str) -> Iterator[Call]:
    return (call for call in observed.of(method) if call.reply is not None)


def _annotation_row(annotation: pb_annotations.AnnotationSpec) -> AnnotationRow:
    channel = annotation.channel if annotation.HasField("channel") else -1
    where = (annotation.start_ms, annotation.end_ms, channel)
    return annotation.audio_file_id, annotation.artifact_type, *where


def audio_fails_alone(observed: Observations, tables: Tables) -> Iterator[str]:
    """9: bad audio fails its own file with a reason, but no other file, and it ends no process."""
    for upload in observed.uploads:
        files = [file for file in tables.files if file.name == upload.name]
        if len(files) != 1:
            yield f"{upload.name} was uploaded once, and there are {len(files)} files with this name"
        for file in files:
            if upload.good and file.status != "ready":
                yield f"{upload.name} is good, but {file.status}: {file.error_message}"
            if not upload.good and not (file.status == "failed" and file.error_message):
                yield f"{upload.name} is bad, but {file.status}: {file.error_message!r}"
    yield from observed.unexpected_exits


def deletions_are_complete(observed: Observations, tables: Tables) -> Iterator[str]:
    """Nothing of a dataset deleted with `force` remains: no row, and after a sweep no object."""
    for deleted in observed.deleted:
        ids = {deleted.id, *deleted.file_ids}
        if rows := ids & tables.ids:
            yield f"dataset {deleted.id} is deleted, and rows name {sorted(rows)}"
        if objects := [key for key in tables.objects if ids.intersection(key.split("/"))]:
            yield f"dataset {deleted.id} is deleted, and there are the objects {objects}"
        kinds = Counter(
            (event.audio_file_id, event.WhichOneof("kind"))
            for event in tables.file_events
            if event.dataset_id == deleted.id
        )
        for end in (("", "dataset_deleted"), *((file_id, "deleted") for file_id in deleted.file_ids)):
            if kinds[end] != 1:
                yield f"dataset {deleted.id} is deleted, and the log has {kinds[end]} events {end}"


def tenants_are_apart(observed: Observations, secrets: Iterable[str], own: Iterable[str]) -> Iterator[str]:
    """10: nothing of one tenant is visible to another, in any rpc, list, error or stream.

    `secrets` are the other tenant's, and hidden from all clients but its own; `own` is hidden from that.
    """
    own_texts = {*own, *(watcher.job_id for watcher in observed.watchers)}
    hidden_from_stranger = [text.encode() for text in own_texts]
    hidden_from_others = [secret.encode() for secret in secrets]
    for call in observed.calls:
        hidden = hidden_from_stranger if call.client == CLIENT else hidden_from_others
        received = call.reply.SerializeToString() if call.reply is not None else str(call.failure).encode()
        sent = call.request.SerializeToString()
        where = f"{call.client}: {call.method} at gateway-{call.gateway}"
        for secret in hidden:
            # The error of a call for an id may repeat the id.
            if secret in received and secret not in sent:
                yield f"{where} returned {secret.decode()!r}"
            if secret in sent and call.reply is not None:
                yield f"{where} accepted {secret.decode()!r}"
    watchers: list[Watcher | LogWatcher] = [*observed.watchers, *observed.log_watchers]
    for watcher in watchers:
        for event in watcher.events:
            received = event.SerializeToString()
            for secret in hidden_from_others:
                if secret in received:
                    yield f"{watcher.name} received {secret.decode()!r}"


def clients_are_done(observed: Observations, tables: Tables) -> Iterator[str]:  # noqa: ARG001 - as all validators
    """After the faults, everything comes to its end."""
    yield from observed.unfinished


Validator = Callable[[Observations, Tables], Iterator[str]]
VALIDATORS: dict[str, Validator] = {
    "1 creates are kept": creates_are_kept,
    "2 one end, one model, no stale writes": one_end_and_no_stale_writes,
    "3 little work is lost": little_work_lost,
    "4 and 6 watches are whole": watches_are_whole,
    "4 and 6 watches of all jobs are whole": logs_are_whole,
    "5 errors are passing": errors_are_passing,
    "8 published sets stay": published_sets_stay,
    "4 and 6 watches of audio files are whole": file_logs_are_whole,
    "9 audio fails alone": audio_fails_alone,
    "deletions are complete": deletions_are_complete,
    "jobs leave only models": jobs_leave_only_models,
    "no job fails": no_job_fails,
    "everything goes on after a fault": everything_goes_on,
    "everything comes to its end": clients_are_done,
    "searches are kept": searches_are_kept,
    "searches end once": searches_end_once,
    "searches find the same": searches_find_the_same,
    "watches of searches are whole": search_watches_are_whole,
    "live streams find the same": live_streams_find_the_same,
}


def violations(
    observed: Observations, tables: Tables, secrets: Iterable[str], own: Iterable[str]
) -> dict[str, list[str]]:
    """The violations by validator."""
    by_name = {name: list(validator(observed, tables)) for name, validator in VALIDATORS.items()}
    return {**by_name, "10 tenants are apart": list(tenants_are_apart(observed, secrets, own))}


def refusals_by_reason(observed: Observations) -> dict[str, int]:
    """The number of expected refusals, by reason."""
    failures = (call.failure.reason for call in observed.calls if call.failure and _is_expected(call))
    return dict(Counter(failures))


def errors_by_code(observed: Observations) -> dict[str, int]:
    """The number of all other errors of calls and streams, by code and reason."""
    failures = [call.failure for call in observed.calls if call.failure and not _is_expected(call)]
    failures += [
        stream.failure for watcher in observed.watchers for stream in watcher.streams if stream.failure
    ]
    return dict(Counter(" ".join(filter(None, (failure.code, failure.reason))) for failure in failures))
