"""A service that is killed during training costs no more than the current epoch."""

from contextlib import ExitStack
from pathlib import Path

from earmark.client import watch
from earmark.v1 import model_service_pb2
from earmark.v1 import training_service_pb2 as training
from tests.collector import Collector, collecting
from tests.system.services import Trainable, kill, service, trainable

COMPLETED = training.TRAINING_JOB_STATUS_COMPLETED
EPOCHS = 3


def epochs(events: list[training.TrainingEvent]) -> list[int]:
    return [event.epoch_completed.epoch for event in events if event.HasField("epoch_completed")]


def assert_one_model(data: Trainable, job_id: str) -> None:
    listed = data.client.models.ListModels(model_service_pb2.ListModelsRequest(show_deleted=True))
    assert [model.training_job_id for model in listed.models].count(job_id) == 1


def until_epoch(data: Trainable, job_id: str, epoch: int) -> list[training.TrainingEvent]:
    """The events up to the first of the next epoch; by then, the checkpoint of `epoch` is stored."""
    seen = []
    for event in watch(data.client, job_id):
        seen.append(event)
        if event.HasField("progress") and event.progress.epoch > epoch:
            return seen
    raise AssertionError(f"the job ended before epoch {epoch} was over")


def assert_resumed(data: Trainable, job_id: str, seen: list[training.TrainingEvent]) -> None:
    """The watch saw every event once, no epoch was trained twice, and there is one model."""
    done = data.job(job_id)
    assert (done.status, done.attempt) == (COMPLETED, 2)
    assert [event.revision for event in seen] == list(range(1, done.revision + 1))
    # The checkpoint of the first epoch was used.
    assert epochs(seen) == list(range(1, EPOCHS + 1))
    assert [e.notice.code for e in seen].count(training.NOTICE_CODE_RESUMED) == 1
    assert_one_model(data, job_id)


def assert_one_trace(collector: Collector, job_id: str) -> None:
    """From the call that created the job to the last epoch, on another trainer than the first."""
    attempts = [
        span
        for span in collector.named("training attempt")
        if span.attributes["earmark.training_job_id"] == job_id
    ]
    assert [span.attributes["earmark.outcome"] for span in attempts] == ["lost", "completed"]
    [trace] = {span.trace for span in attempts}
    [created] = collector.named("earmark.v1.TrainingService/CreateTrainingJob", trace)
    assert {span.parent for span in attempts} == {created.id}
    # What the killed trainer had not sent is lost.
    *_, trained = collector.named("earmark.internal.v1.TrainerService/Train", trace)
    assert (trained.parent, trained.service) == (attempts[-1].id, "earmark-trainer")
    phases = sorted((span for span in collector.spans if span.parent == trained.id), key=lambda s: s.began)
    epochs = [span.attributes["earmark.epoch"] for span in phases if span.name == "epoch"]
    assert epochs == list(range(epochs[0], EPOCHS + 1))
    names = ["load files", "prepare", *["epoch"] * len(epochs), "store model"]
    assert [span.name for span in phases] == names


def test_jobs_survive_the_kill_of_their_trainer_and_of_their_gateway_and_a_cancelled_one_frees_its_slot(
    tmp_path: Path,
) -> None:
    with collecting() as collector, ExitStack() as stack:
        traced = {"EARMARK_TRACES_ENDPOINT": collector.endpoint}
        trainer = stack.enter_context(service("trainer", tmp_path, **traced))
        settings = {"EARMARK_TRAINERS": trainer.address, "EARMARK_LEASE_SECONDS": "2"} | traced
        gateway = stack.enter_context(service("gateway", tmp_path, **settings))
        data = stack.enter_context(trainable(gateway.address, tmp_path))

        # Its process stays warm.
        cancelled, job = data.create(epochs=100), data.create(epochs=EPOCHS)
        until_epoch(data, cancelled.id, 1)
        cancel = training.CancelTrainingJobRequest(training_job_id=cancelled.id)
        data.client.training.CancelTrainingJob(cancel)
        ends = [event.status_changed.to for event in watch(data.client, cancelled.id)][-1]
        assert ends == training.TRAINING_JOB_STATUS_CANCELLED

        seen = until_epoch(data, job.id, 1)
        kill(gateway)
        port = gateway.address.rpartition(":")[2]
        stack.enter_context(service("gateway", tmp_path, **settings, EARMARK_PORT=port))
        # The same watch is resumed by its revision at the new process.
        seen += watch(data.client, job.id, seen[-1].revision)
        assert_resumed(data, job.id, seen)

        job = data.create(epochs=EPOCHS)
        seen = until_epoch(data, job.id, 1)
        kill(trainer)
        port = trainer.address.rpartition(":")[2]
        stack.enter_context(service("trainer", tmp_path, **traced, EARMARK_TRAINER_PORT=port))
        seen += watch(data.client, job.id, seen[-1].revision)
        assert_resumed(data, job.id, seen)
        stack.close()
        assert_one_trace(collector, job.id)
