"""Examples for the validators: a job's events and rows, and the calls of its clients."""

from dataclasses import replace
from uuid import UUID

from bench.faults.observations import Call
from bench.faults.tables import Job, Model, Tables
from earmark.v1 import training_service_pb2 as pb

JOB_ID, REQUEST_ID, MODEL_ID = (str(UUID(int=number)) for number in (1, 2, 3))
START = 1_000_000


class ExampleJob:
    """Builds the events of a job: its statuses, notices and epochs, one after the other."""

    def __init__(self) -> None:
        self.events: list[pb.TrainingEvent] = []
        self.attempt = 0
        self._status = "UNSPECIFIED"
        self._now = START

    def add(self, **kind) -> "ExampleJob":
        event = pb.TrainingEvent(
            training_job_id=JOB_ID, revision=len(self.events) + 1, attempt=self.attempt, **kind
        )
        self._now += 1
        event.time.FromSeconds(self._now)
        self.events.append(event)
        return self

    def after(self, seconds: int) -> "ExampleJob":
        self._now += seconds
        return self

    def status(self, to: str) -> "ExampleJob":
        if to == "TRAINING":
            self.attempt += 1
        names = {"from": f"TRAINING_JOB_STATUS_{self._status}", "to": f"TRAINING_JOB_STATUS_{to}"}
        self._status = to
        return self.add(status_changed=names)

    def statuses(self, *names: str) -> "ExampleJob":
        for name in names:
            self.status(name)
        return self

    def notice(self, code: str) -> "ExampleJob":
        return self.add(notice={"code": f"NOTICE_CODE_{code}"})

    def progress(self, epoch: int, step: int) -> "ExampleJob":
        return self.add(progress={"epoch": epoch, "step": step})

    def epochs(self, *numbers: int) -> "ExampleJob":
        for number in numbers:
            self.add(epoch_completed={"epoch": number})
        return self

    def model(self) -> "ExampleJob":
        return self.add(model_created={"model_id": MODEL_ID})

    def row(self, status: str, **fields) -> Job:
        epochs = [event.epoch_completed.epoch for event in self.events]
        row = Job(JOB_ID, REQUEST_ID, status, self.attempt, len(self.events), max(epochs), 3, None)
        return replace(row, **fields)


def accepted_job() -> ExampleJob:
    """A job in its first attempt."""
    return ExampleJob().statuses("PENDING", "QUEUED", "TRAINING").notice("ACCEPTED")


def resumed_job() -> ExampleJob:
    """A job that lost its trainer after two of three epochs, was resumed and completed."""
    job = accepted_job().progress(1, 5).epochs(1).progress(2, 5).epochs(2).notice("TRAINER_LOST")
    job.statuses("QUEUED", "TRAINING").notice("ACCEPTED").notice("RESUMED").progress(3, 5).epochs(3)
    return job.model().status("COMPLETED")


def completed(job: ExampleJob, **fields) -> Tables:
    """The tables of a completed job with its model."""
    row = job.row("completed", **{"model_id": MODEL_ID} | fields)
    model = Model(
        MODEL_ID, JOB_ID, f"default/jobs/{JOB_ID}/attempt-{row.attempt}/model.safetensors", intact=True
    )
    return Tables([row], {JOB_ID: job.events}, [model])


def ended(job: ExampleJob, status: str, **fields) -> Tables:
    """The tables of a job without a model."""
    return Tables([job.row(status, **fields)], {JOB_ID: job.events})


def call(method: str, request, reply=None, failure=None, *, at: float = 10, expected=()) -> Call:
    return Call("client", 0, method, request, at, at + 1, reply, failure, frozenset(expected))


def assert_one(violations, *words: str) -> None:
    """Asserts that there is one violation, which contains all of these words."""
    (violation,) = violations
    assert all(word in violation for word in words), violation
