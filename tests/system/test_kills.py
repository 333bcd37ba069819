"""A service that is killed during training costs no more than the current epoch."""

from pathlib import Path

from earmark.client import watch
from earmark.v1 import model_service_pb2
from earmark.v1 import training_service_pb2 as training
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


def test_a_killed_trainer_costs_an_attempt_and_not_the_epochs_before(tmp_path: Path) -> None:
    with service("trainer", tmp_path) as first:
        settings = {"EARMARK_TRAINERS": first.address}
        with (
            service("gateway", tmp_path, **settings) as gateway,
            trainable(gateway.address, tmp_path) as data,
        ):
            job = data.create(epochs=EPOCHS)
            seen = until_epoch(data, job.id, 1)
            kill(first)
            port = first.address.rpartition(":")[2]
            with service("trainer", tmp_path, EARMARK_TRAINER_PORT=port):
                seen += watch(data.client, job.id, seen[-1].revision)
            done = data.job(job.id)
            assert (done.status, done.attempt) == (COMPLETED, 2)
            assert [event.revision for event in seen] == list(range(1, done.revision + 1))
            # No epoch is trained twice: the checkpoint of the first epoch was used.
            assert epochs(seen) == list(range(1, EPOCHS + 1))
            assert [e.notice.code for e in seen].count(training.NOTICE_CODE_RESUMED) == 1
            assert_one_model(data, job.id)


def test_a_restarted_gateway_resumes_its_jobs_and_its_watches(tmp_path: Path) -> None:
    with service("trainer", tmp_path) as trainer:
        settings = {"EARMARK_TRAINERS": trainer.address, "EARMARK_LEASE_SECONDS": "2"}
        with (
            service("gateway", tmp_path, **settings) as gateway,
            trainable(gateway.address, tmp_path) as data,
        ):
            job = data.create(epochs=EPOCHS)
            seen = until_epoch(data, job.id, 1)
            kill(gateway)
            port = gateway.address.rpartition(":")[2]
            with service("gateway", tmp_path, **settings, EARMARK_PORT=port):
                # The same watch is resumed by its revision at the new process.
                seen += watch(data.client, job.id, seen[-1].revision)
                done = data.job(job.id)
                assert (done.status, done.attempt) == (COMPLETED, 2)
                assert [event.revision for event in seen] == list(range(1, done.revision + 1))
                assert epochs(seen) == list(range(1, EPOCHS + 1))
                assert_one_model(data, job.id)


def test_cancelling_a_job_frees_its_training_slot_for_the_next_job(tmp_path: Path) -> None:
    with service("trainer", tmp_path) as trainer:
        settings = {"EARMARK_TRAINERS": trainer.address}
        with (
            service("gateway", tmp_path, **settings) as gateway,
            trainable(gateway.address, tmp_path) as data,
        ):
            long, short = data.create(epochs=100), data.create(epochs=1)
            until_epoch(data, long.id, 1)
            data.client.training.CancelTrainingJob(training.CancelTrainingJobRequest(training_job_id=long.id))
            ends = [event.status_changed.to for event in watch(data.client, long.id)][-1]
            assert ends == training.TRAINING_JOB_STATUS_CANCELLED
            assert [e.status_changed.to for e in watch(data.client, short.id)][-1] == COMPLETED
