import json
import os
import signal
from importlib.metadata import version

import grpc
import pytest

from earmark.internal.v1 import trainer_service_pb2 as pb
from earmark.trainer.features.version import FRONTEND_VERSION
from earmark.v1 import training_service_pb2
from tests.trainer.process import failure, training_job


def kind(response):
    return response.WhichOneof("content")


def test_a_job_streams_its_events_in_order(trained):
    kinds = [kind(response) for response in trained[0]]
    lasting = [name for name in kinds if name not in ("heartbeat", "progress", "loading")]
    assert lasting == ["accepted", "notice", *["checkpoint", "epoch_completed"] * 2, "completed"]
    [notice] = [response.notice for response in trained[0] if kind(response) == "notice"]
    assert notice.code == training_service_pb2.NOTICE_CODE_SPLIT
    assert notice.message.startswith("the split is by file: ")
    assert trained[0][0].accepted.device == "cpu"


def test_heartbeats_fill_the_silence_of_compilation(trained):
    kinds = [kind(response) for response in trained[0]]
    assert "heartbeat" in kinds[: kinds.index("epoch_completed")]


def test_capacity_is_answered_while_a_job_runs(trained):
    assert trained[1].training_slots == 1
    assert trained[1].free_training_slots == 0


def test_the_model_is_stored_with_its_metrics(trainer, model):
    assert len(trainer.objects.get(model.weights)) == model.size_bytes
    assert trainer.objects.get(model.model_config)
    assert model.metrics.per_type["static"].support > 0
    assert set(model.recommended_thresholds) == {"static"}
    (static,) = json.loads(trainer.objects.get(model.model_config))["artifact_types"]
    assert model.merge_windows_ms == {"static": static["merge_window_ms"]}
    assert model.min_durations_ms == {"static": static["min_duration_ms"]}


def test_the_model_has_the_versions_of_the_program_that_trained_it(model):
    assert (model.earmark_version, model.frontend_version) == (version("earmark"), FRONTEND_VERSION)
    assert model.audio_duration_ms > model.audio_file_count > 0


def test_every_epoch_reports_the_best_epoch_so_far(trained, model):
    epochs = [response.epoch_completed for response in trained[0] if kind(response) == "epoch_completed"]
    assert all(1 <= epoch.best_epoch <= epoch.epoch for epoch in epochs)
    assert model.best_epoch == epochs[-1].best_epoch


@pytest.mark.usefixtures("trained")
def test_the_slot_is_free_again_after_a_job(trainer):
    assert trainer.capacity().free_training_slots == 1


def test_a_second_job_finds_no_slot(trainer, files):
    first = trainer.train(files)
    assert kind(next(first)) == "accepted"
    with pytest.raises(grpc.RpcError) as caught:
        list(trainer.train(files))
    assert failure(caught.value) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "NO_FREE_SLOT")
    assert "it is training another job" in caught.value.details()
    first.cancel()
    trainer.warm()


def test_a_job_that_cannot_succeed_does_not_look_like_a_lost_trainer(trainer):
    missing = pb.TrainRequest.File(
        audio_file_id="gone", features="default/audio/gone/features", duration_ms=1000
    )
    call = trainer.train([pb.TrainRequest(file=missing)])
    with pytest.raises(grpc.RpcError) as caught:
        list(call)
    assert failure(caught.value) == (grpc.StatusCode.FAILED_PRECONDITION, "NO_TRAINING_DATA")


def test_a_missing_config_value_is_named(trainer):
    job = training_job()
    job.config.ClearField("epochs")
    with pytest.raises(grpc.RpcError) as caught:
        list(trainer.stub.Train(iter([pb.TrainRequest(job=job)])))
    assert failure(caught.value) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    assert "epochs" in caught.value.details()


@pytest.mark.parametrize("first", [[], [pb.TrainRequest(file=pb.TrainRequest.File())]])
def test_the_first_message_must_be_the_job(trainer, first):
    with pytest.raises(grpc.RpcError) as caught:
        list(trainer.stub.Train(iter(first)))
    assert failure(caught.value) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")


@pytest.mark.usefixtures("trained")
def test_a_cancelled_job_stops_between_two_steps_and_its_process_survives(trainer, files):
    process = trainer.children("earmark.trainer.workers.training")
    call = trainer.train(files, epochs=100)
    next(response for response in call if kind(response) == "epoch_completed")
    call.cancel()
    trainer.warm()
    assert trainer.children("earmark.trainer.workers.training") == process


def test_a_job_cancelled_while_it_compiles_is_killed(trainer, files):
    process = trainer.children("earmark.trainer.workers.training")
    # A silence shows that it compiles, if the machine is not so slow that it has not yet come so far. Then it
    # stops by itself, and the next job compiles another shape.
    for batch_size in range(24, 32):
        call = trainer.train(
            files, batch_size=batch_size, chunk_size_ms=3000, artifact_types=["static", *"abcdefghij"]
        )
        next(response for response in call if kind(response) == "notice")
        next(response for response in call if kind(response) == "heartbeat")
        call.cancel()
        trainer.warm()
        if trainer.children("earmark.trainer.workers.training") != process:
            return
    pytest.fail("no job was killed")


@pytest.mark.usefixtures("trained")
def test_a_killed_process_is_a_lost_trainer_and_another_serves_the_next_job(trainer, files):
    process = trainer.children("earmark.trainer.workers.training")
    call = trainer.train(files, epochs=100)
    next(response for response in call if kind(response) == "epoch_completed")
    os.kill(process[0], signal.SIGKILL)
    with pytest.raises(grpc.RpcError) as caught:
        list(call)
    assert failure(caught.value) == (grpc.StatusCode.UNAVAILABLE, "TRAINER_LOST")
    assert "SIGKILL" in caught.value.details()
    trainer.warm()
    assert kind(list(trainer.train(files))[-1]) == "completed"
