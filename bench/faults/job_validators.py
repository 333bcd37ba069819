"""Validators of the jobs' events, rows and objects: promises 2, 3 and others. Violations are text."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import PurePosixPath

from bench.faults.observations import Observations
from bench.faults.tables import Job, Tables
from earmark.v1 import training_service_pb2 as pb

TRAINING = pb.TRAINING_JOB_STATUS_TRAINING
QUEUED = pb.TRAINING_JOB_STATUS_QUEUED
FINAL = {
    pb.TRAINING_JOB_STATUS_COMPLETED: "completed",
    pb.TRAINING_JOB_STATUS_FAILED: "failed",
    pb.TRAINING_JOB_STATUS_CANCELLED: "cancelled",
}
FROM = "from"  # the name of a field that is a keyword in Python
RECOVERY_SECONDS = 30.0
# From the time that a trainer listens until its training process is warm, on a busy machine.
WARM_SECONDS = 15.0

Events = Sequence[pb.TrainingEvent]
Span = tuple[float, float]


def one_end_and_no_stale_writes(observed: Observations, tables: Tables) -> Iterator[str]:
    """2: a job has exactly one terminal state and at most one model; a stale attempt can write nothing."""
    cancelled = {call.request.training_job_id for call in observed.of("CancelTrainingJob")}
    for job in tables.jobs:
        events = tables.events[job.id]
        for problem in (
            *_end_problems(job, events),
            *_row_problems(job, events),
            *_model_problems(job, events, tables),
        ):
            yield f"job {job.id}: {problem}"
        for problem in _Replay().problems(events):
            yield f"job {job.id}: {problem}"
        if job.status == "cancelled" and job.id not in cancelled:
            yield f"job {job.id}: it is cancelled, and nobody asked for it"


def _end_problems(job: Job, events: Events) -> Iterator[str]:
    ends = [event for event in events if event.status_changed.to in FINAL]
    if job.status not in FINAL.values():
        yield f"it is still {job.status}"
    if [FINAL[end.status_changed.to] for end in ends] != [job.status]:
        yield f"it is {job.status}, and its events end it {len(ends)} times"
    if ends and events[-1] is not ends[-1]:
        yield f"revision {events[-1].revision} comes after its end"


def _row_problems(job: Job, events: Events) -> Iterator[str]:
    if [event.revision for event in events] != list(range(1, job.revision + 1)):
        yield f"its revision is {job.revision}, and the events are not those from 1 to there"
    if events and events[-1].attempt != job.attempt:
        yield f"its attempt is {job.attempt}, and that of its last event {events[-1].attempt}"
    epochs = [event.epoch_completed.epoch for event in events if event.HasField("epoch_completed")]
    if job.current_epoch != (epochs or [0])[-1]:
        yield f"its current epoch is {job.current_epoch}, and its events complete {epochs}"
    if job.status == "completed" and job.current_epoch < job.total_epochs:
        yield f"it is completed after {job.current_epoch} of {job.total_epochs} epochs"


def _model_problems(job: Job, events: Events, tables: Tables) -> Iterator[str]:
    models = [model for model in tables.models if model.job_id == job.id]
    named = [event.model_created.model_id for event in events if event.HasField("model_created")]
    wanted = [job.model_id] if job.status == "completed" else []
    if [model.id for model in models] != wanted or named != wanted:
        yield f"it is {job.status}, names the models {wanted}, has {len(models)}, and its events name {named}"
    for model in models:
        if f"/attempt-{job.attempt}/" not in model.weights:
            yield f"its last attempt is {job.attempt}, and its model's weights are {model.weights}"
        if not model.intact:
            yield f"its model's weights {model.weights} are not those that its row describes"


class _Replay:
    """Replays one job's events, and finds those that no valid sequence of attempts can have written."""

    def __init__(self) -> None:
        self._status = pb.TRAINING_JOB_STATUS_UNSPECIFIED
        self._attempt = 0
        self._begin_attempt()

    def _begin_attempt(self) -> None:
        self._notices: list[int] = []
        self._epoch: int | None = None
        self._step = (0, 0)

    def problems(self, events: Events) -> Iterator[str]:
        """Descriptions of the invalid events."""
        for event, following in zip(events, (*events[1:], None), strict=True):
            begins = event.status_changed.to == TRAINING
            if event.attempt != self._attempt + begins:
                yield f"revision {event.revision} is of attempt {event.attempt}, in attempt {self._attempt}"
            for problem in (*self._event_problems(event), *_pair_problems(event, following)):
                yield f"revision {event.revision}, in attempt {self._attempt}: {problem}"
            self._attempt = event.attempt

    def _event_problems(self, event: pb.TrainingEvent) -> Iterator[str]:
        match event.WhichOneof("kind"):
            case "status_changed":
                yield from self._status_changed(event.status_changed)
            case "notice":
                yield from self._notice(event.notice.code)
            case "progress":
                yield from self._trainer_problems()
                yield from self._progress(event.progress)
            case "epoch_completed":
                yield from self._trainer_problems()
                yield from self._epoch_completed(event.epoch_completed.epoch)
            case "model_created":
                yield from self._trainer_problems()

    def _status_changed(self, change: pb.TrainingEvent.StatusChanged) -> Iterator[str]:
        name = pb.TrainingJobStatus.Name
        if getattr(change, FROM) != self._status:
            yield f"goes from {name(getattr(change, FROM))}, and the job is {name(self._status)}"
        self._status = change.to
        if change.to == TRAINING:
            self._begin_attempt()

    def _notice(self, code: int) -> Iterator[str]:
        if code in (pb.NOTICE_CODE_ACCEPTED, pb.NOTICE_CODE_LOADING, pb.NOTICE_CODE_RESUMED):
            if self._status != TRAINING:
                yield f"{pb.NoticeCode.Name(code)} of a job that does not train"
            if code in self._notices:
                yield f"a second {pb.NoticeCode.Name(code)}"
        self._notices.append(code)

    def _trainer_problems(self) -> Iterator[str]:
        """Problems of an event that only a trainer can cause."""
        if self._status != TRAINING:
            yield "an event of a trainer, and the job does not train"
        if pb.NOTICE_CODE_ACCEPTED not in self._notices:
            yield "an event of a trainer that has not accepted the job"

    def _progress(self, progress: pb.TrainingEvent.Progress) -> Iterator[str]:
        step = (progress.epoch, progress.step)
        if step <= self._step or (self._epoch is not None and progress.epoch != self._epoch + 1):
            yield f"progress at (epoch, step) {step} after {self._step}, epoch {self._epoch} being completed"
        self._step = step

    def _epoch_completed(self, epoch: int) -> Iterator[str]:
        if self._epoch is not None and epoch != self._epoch + 1:
            yield f"epoch {epoch} completed after epoch {self._epoch}"
        self._epoch = epoch


def _pair_problems(event: pb.TrainingEvent, following: pb.TrainingEvent | None) -> Iterator[str]:
    """An event that ends an attempt must be followed by the change of status."""
    ends = following.status_changed.to if following is not None else None
    if event.notice.code == pb.NOTICE_CODE_TRAINER_LOST and ends != QUEUED:
        yield "the trainer is lost, and the attempt goes on"
    if event.HasField("model_created") and ends != pb.TRAINING_JOB_STATUS_COMPLETED:
        yield "the model is there, and the attempt goes on"


def little_work_lost(observed: Observations, tables: Tables) -> Iterator[str]:
    """3: a lost trainer costs at most one epoch; the job runs again within 30 s of the loss."""
    for job in tables.jobs:
        for before, after in pairwise(_epochs_by_attempt(tables.events[job.id])):
            # The event of an epoch is recorded with its checkpoint, from which the next attempt resumes.
            if after[0] != before[-1] + 1:
                yield f"job {job.id}: after epoch {before[-1]} of one attempt the next ended {after[0]}"
    excused = list(_fault_spans(observed)) + list(_all_busy(tables))
    for job_id, lost, resumed in waits(tables):
        if longest_gap(lost, resumed, excused) > RECOVERY_SECONDS:
            yield f"job {job_id} waited {resumed - lost:.0f} s while a trainer was free"


def _epochs_by_attempt(events: Events) -> list[list[int]]:
    """The completed epochs of each attempt that completed any, in order of the attempts."""
    epochs: dict[int, list[int]] = {}
    for event in events:
        if event.HasField("epoch_completed"):
            epochs.setdefault(event.attempt, []).append(event.epoch_completed.epoch)
    return list(epochs.values())


def waits(tables: Tables) -> Iterator[tuple[str, float, float]]:
    """The waits of jobs that lost their trainer: job id, time of the loss, time of the next attempt."""
    for job_id, events in tables.events.items():
        changes = [event for event in events if event.HasField("status_changed")]
        for before, change, after in zip(changes, changes[1:], changes[2:], strict=False):
            lost = before.status_changed.to == TRAINING and change.status_changed.to == QUEUED
            if lost and after.status_changed.to == TRAINING:
                yield job_id, seconds(change), seconds(after)


def seconds(event: pb.TrainingEvent) -> float:
    """The time at which the event was recorded, in seconds since the Unix epoch."""
    return event.time.ToMicroseconds() / 1e6


def _fault_spans(observed: Observations) -> Iterator[Span]:
    """The faults, each with the time that a trainer needs to become warm after it."""
    for fault in observed.faults:
        yield fault.began, float("inf") if fault.ended is None else fault.ended + WARM_SECONDS


def _all_busy(tables: Tables) -> Iterator[Span]:
    """The times at which as many jobs trained as ever did at once, so that no trainer was free."""
    changes: list[tuple[float, int]] = []
    for events in tables.events.values():
        for event in events:
            if event.HasField("status_changed"):
                started = event.status_changed.to == TRAINING
                stopped = getattr(event.status_changed, FROM) == TRAINING
                changes.append((seconds(event), started - stopped))
    changes.sort()
    running, counts = 0, []
    for time, change in changes:
        running += change
        counts.append((time, running))
    most = max((count for _, count in counts), default=0)
    for (began, count), (ended, _) in pairwise(counts):
        if count == most:
            yield began, ended


def no_job_fails(observed: Observations, tables: Tables) -> Iterator[str]:  # noqa: ARG001 - as all validators
    """The data of every job are good, and what a trainer suffers is not the job's fault."""
    for job in tables.jobs:
        if job.status == "failed":
            yield f"job {job.id} failed: {tables.events[job.id][-1].status_changed.reason}"


def jobs_leave_only_models(observed: Observations, tables: Tables) -> Iterator[str]:  # noqa: ARG001 - as all
    """After a sweep, the stored objects of jobs are the two of each model."""
    stored = {key for key in tables.objects if key.startswith("default/jobs/")}
    weights = [PurePosixPath(model.weights) for model in tables.models]
    named = {str(path.with_name(name)) for path in weights for name in (path.name, "model.json")}
    for key in sorted(stored - named):
        yield f"there is the object {key}, which belongs to no model"
    for key in sorted(named - stored):
        yield f"there is no object {key}, which belongs to a model"


def longest_gap(start: float, end: float, spans: Iterable[Span]) -> float:
    """The length of the longest part of [start, end] that no span covers."""
    longest, free_since = 0.0, start
    for began, ended in sorted(spans):
        if began >= end:
            break
        longest = max(longest, began - free_since)
        free_since = max(free_since, ended)
    return max(longest, end - free_since)
