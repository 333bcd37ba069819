"""Histories made by hand: a job's events and rows, and the calls of its clients."""

from dataclasses import replace
from uuid import UUID

from earmark.v1 import training_service_pb2 as pb

from bench.faults.history import Call
from bench.faults.tables import Job, Model, Tables

JOB_ID, REQUEST_ID, MODEL_ID = (str(UUID(int=number)) for number in (1, 2, 3))
START = 1_000_000


class Written:
    """A job's events, as the statuses, notices and epochs of its attempts are written down one by one."""

    def __init__(self) -> None:
        self.events: list[pb.TrainingEvent] = []
        self.attempt = 0
        self._status = "UNSPECIFIED"
        self._now = START

    def add(self, **kind) -> "Written":
        event = pb.TrainingEvent(
            training_job_id=JOB_ID, revision=len(self.events) + 1, attempt=self.attempt, **kind
        )
        self._now += 1
        event.time.FromSeconds(self._now)
        self.events.append(event)
        return self

    def after(self, seconds: int) -> "Written":
        self._now += seconds
        return self

    def status(self, to: str) -> "Written":
        if to == "TRAINING":
            self.attempt += 1
        names = {"from": f"TRAINING_JOB_STATUS_{self._status}", "to": f"TRAINING_JOB_STATUS_{to}"}
        self._status = to
        return self.add(status_changed=names)

    def statuses(self, *names: str) -> "Written":
        for name in names:
            self.status(name)
        return self

    def notice(self, code: str) -> "Written":
        return self.add(notice={"code": f"NOTICE_CODE_{code}"})

    def progress(self, epoch: int, step: int) -> "Written":
        return self.add(progress={"epoch": epoch, "step": step})

    def epochs(self, *numbers: int) -> "Written":
        for number in numbers:
            self.add(epoch_completed={"epoch": number})
        return self

    def model(self) -> "Written":
        return self.add(model_created={"model_id": MODEL_ID})

    def job(self, status: str, **fields) -> Job:
        epochs = [event.epoch_completed.epoch for event in self.events]
        found = Job(JOB_ID, REQUEST_ID, status, self.attempt, len(self.events), max(epochs), 3, None)
        return replace(found, **fields)


def accepted() -> Written:
    """In its first attempt."""
    return Written().statuses("PENDING", "QUEUED", "TRAINING").notice("ACCEPTED")


def twice() -> Written:
    """Lost once after two epochs of three, then completed."""
    written = accepted().progress(1, 5).epochs(1).progress(2, 5).epochs(2).notice("TRAINER_LOST")
    written.statuses("QUEUED", "TRAINING").notice("ACCEPTED").notice("RESUMED").progress(3, 5).epochs(3)
    return written.model().status("COMPLETED")


def completed(written: Written, **fields) -> Tables:
    """With the model that the job has."""
    job = written.job("completed", **{"model_id": MODEL_ID} | fields)
    model = Model(MODEL_ID, JOB_ID, f"jobs/{JOB_ID}/attempt-{job.attempt}/model.safetensors", intact=True)
    return Tables([job], {JOB_ID: written.events}, [model])


def ended(written: Written, status: str, **fields) -> Tables:
    """Without a model."""
    return Tables([written.job(status, **fields)], {JOB_ID: written.events})


def call(method: str, request, reply=None, failure=None, *, at: float = 10, expected=()) -> Call:
    return Call("client", 0, method, request, at, at + 1, reply, failure, frozenset(expected))


def only(found, *words: str) -> None:
    """One violation, in which all of these words are."""
    (said,) = found
    assert all(word in said for word in words), said
