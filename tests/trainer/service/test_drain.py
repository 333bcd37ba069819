"""Work that is handed back, and a trainer that stops in good order."""

import json
import os
import signal
import threading
from contextlib import contextmanager
from multiprocessing import Pipe

import grpc
import pytest
from earmark.trainer.v1 import trainer_service_pb2 as pb
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.sounds import bursts, encoded
from tests.trainer.process import (
    JOB_ID,
    SECONDS,
    audio_request,
    ending,
    failure,
    gone,
    running,
    training_job,
    unfinished,
)
from trainer.job import Stop, TrainingJob
from trainer.workers.training import asked
from trainer.workers.wire import StopJob

EPOCHS = 12
STOPPING = (grpc.StatusCode.UNAVAILABLE, "STOPPING")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory, trainer, files):
    """Trains tiny networks on objects of its own, the files' features among them."""
    with running(tmp_path_factory.mktemp("tiny"), "--network", "tiny") as tiny:
        for request in files:
            tiny.objects.put(request.file.features, trainer.objects.get(request.file.features))
        yield tiny.warm()


@pytest.fixture
def another(tmp_path, tiny):
    """Another of its kind, on the same objects."""
    with running(tmp_path, "--network", "tiny", "--object-store", str(tiny.data_dir / "objects")) as another:
        yield another.warm()


def kind(response):
    return response.WhichOneof("content")


def until(call, wanted):
    """What a call says up to the first response of this kind."""
    said = []
    for response in call:
        said.append(response)
        if kind(response) == wanted:
            return said
    raise AssertionError(f"no {wanted}")


def hand_back(trainer, attempt=1, job_id=JOB_ID):
    request = pb.HandBackRequest(training_job_id=job_id, attempt=attempt)
    return trainer.stub.HandBack(request, timeout=SECONDS)


def epochs_of(responses):
    return [response.epoch_completed.epoch for response in responses if kind(response) == "epoch_completed"]


def go_on(trainer, files, checkpoint):
    """All that the second attempt says."""
    job = training_job(epochs=EPOCHS)
    job.attempt, job.prefix, job.resume_from = 2, "jobs/one/2", checkpoint.key
    return list(trainer.stub.Train(iter([pb.TrainRequest(job=job), *files]), timeout=4 * SECONDS))


def test_a_job_handed_back_goes_on_elsewhere_from_its_last_step(tiny, files):
    call = tiny.train(files, epochs=EPOCHS)
    said = until(call, "epoch_completed")
    hand_back(tiny)
    assert tiny.capacity().free_training_slots == 1
    rest, error = ending(call)
    assert failure(error) == STOPPING
    checkpoint = [response.checkpoint for response in said + rest if kind(response) == "checkpoint"][-1]
    second = go_on(tiny, files, checkpoint)
    assert kind(second[-1]) == "completed"
    notice = next(response.notice.message for response in second if kind(response) == "notice")
    assert "training goes on" in notice
    assert epochs_of(said + rest + second) == list(range(1, EPOCHS + 1))


def test_the_network_is_of_the_size_that_the_setting_names(trainer, tiny, files, model):
    small = list(tiny.train(files))[-1].completed
    widths = [
        json.loads(its.objects.get(made.model_config))["architecture"]["width"]
        for its, made in ((trainer, model), (tiny, small))
    ]
    assert widths == [128, 16]


def test_a_job_that_is_not_here_cannot_be_handed_back(tiny):
    with pytest.raises(grpc.RpcError) as caught:
        hand_back(tiny)
    assert failure(caught.value) == (grpc.StatusCode.NOT_FOUND, "NOT_FOUND")
    assert f"attempt 1 at job {JOB_ID} does not run here, no job does" in caught.value.details()


def test_an_attempt_is_not_handed_back_in_place_of_another(tiny, files):
    call = tiny.train(files, epochs=EPOCHS)
    until(call, "accepted")
    with pytest.raises(grpc.RpcError) as caught:
        hand_back(tiny, attempt=2)
    assert failure(caught.value) == (grpc.StatusCode.NOT_FOUND, "NOT_FOUND")
    assert f"attempt 1 at job {JOB_ID} does" in caught.value.details()
    assert kind(list(call)[-1]) == "completed"


def test_a_job_whose_manifest_has_not_ended_is_handed_back_at_once(tiny):
    end = threading.Event()
    call = tiny.stub.Train(unfinished(pb.TrainRequest(job=training_job()), end))
    until(call, "accepted")
    hand_back(tiny)
    rest, error = ending(call)
    end.set()
    assert (rest, failure(error)) == ([], STOPPING)
    assert tiny.capacity().free_training_slots == 1


def test_a_process_that_does_not_answer_is_killed_and_its_job_handed_back(tiny, files):
    call = tiny.train(files, epochs=100)
    until(call, "epoch_completed")
    process = tiny.children("trainer.workers.training")
    os.kill(process[0], signal.SIGSTOP)
    hand_back(tiny)
    gone(process)
    assert failure(ending(call)[1]) == STOPPING
    tiny.warm()


def test_a_process_heeds_what_is_asked_of_its_own_attempt_and_drops_for_good():
    front, child = Pipe()
    should_stop = asked(TrainingJob(JOB_ID, 2, None, (), "out"), child)
    front.send(StopJob(JOB_ID, 1, Stop.DROP))
    assert should_stop() is None
    front.send(StopJob(JOB_ID, 2, Stop.HAND_BACK))
    assert should_stop() is Stop.HAND_BACK
    assert should_stop() is Stop.HAND_BACK
    front.send(StopJob(JOB_ID, 2, Stop.DROP))
    front.send(StopJob(JOB_ID, 2, Stop.HAND_BACK))
    assert should_stop() is Stop.DROP


def test_a_process_without_its_front_has_nobody_to_hand_its_job_back_to():
    front, child = Pipe()
    should_stop = asked(TrainingJob(JOB_ID, 1, None, (), "out"), child)
    front.close()
    assert should_stop() is Stop.DROP


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_trainer_that_stops_hands_its_job_back(tiny, another, files, how):
    call = another.train(files, epochs=EPOCHS)
    said = until(call, "epoch_completed")
    children = another.children()
    another.process.send_signal(how)
    rest, error = ending(call)
    assert failure(error) == STOPPING
    assert another.process.wait(SECONDS) == 0
    gone(children)
    checkpoint = [response.checkpoint for response in said + rest if kind(response) == "checkpoint"][-1]
    second = go_on(tiny, files, checkpoint)
    assert epochs_of(said + rest + second) == list(range(1, EPOCHS + 1))


@pytest.fixture
def held(tmp_path):
    """Starts a trainer whose audio process stands still, and a file that waits for it."""

    @contextmanager
    def start(*flags):
        with running(tmp_path, "--network", "tiny", "--precompile", "false", *flags) as trainer:
            (process,) = trainer.children("trainer.workers.audio")
            os.kill(process, signal.SIGSTOP)
            trainer.objects.put("held/source", encoded(bursts(2, 1)[0], "WAV"))
            call = trainer.stub.ProcessAudio(audio_request("held"), timeout=SECONDS)
            assert kind(next(call)) == "normalizing"
            yield trainer, call, process

    return start


def test_a_trainer_that_stops_finishes_its_files_and_takes_no_more(held):
    with held() as (trainer, file, process):
        watch = trainer.stub.WatchCapacity(pb.WatchCapacityRequest())
        trainer.process.terminate()
        assert failure(ending(watch)[1]) == STOPPING
        for call in (
            trainer.stub.ProcessAudio(audio_request("late")),
            trainer.train(),
            trainer.stub.Detect(iter([pb.DetectRequest(start=pb.DetectRequest.Start())])),
            trainer.stub.WatchCapacity(pb.WatchCapacityRequest()),
        ):
            said, error = ending(call)
            assert (said, failure(error)) == ([], STOPPING)
        health = health_pb2_grpc.HealthStub(trainer.channel)
        request = health_pb2.HealthCheckRequest(service="earmark.trainer.v1.TrainerService")
        assert health.Check(request).status == health_pb2.HealthCheckResponse.NOT_SERVING
        os.kill(process, signal.SIGCONT)
        assert [kind(response) for response in file] == ["embedding", "ready"]
        assert trainer.process.wait(SECONDS) == 0


def test_what_does_not_finish_within_the_grace_is_ended(held, tmp_path):
    with held("--stop-grace-seconds", "0.2") as (trainer, file, _):
        end = threading.Event()
        start = pb.DetectRequest(start=pb.DetectRequest.Start(weights="no/weights", model_config="no/config"))
        upload = trainer.stub.Detect(unfinished(start, end))
        children = trainer.children()
        trainer.process.terminate()
        for call in (file, upload):
            assert failure(ending(call)[1]) == STOPPING
        end.set()
        assert trainer.process.wait(SECONDS) == 0
        gone(children)
        assert not list((tmp_path / "scratch").iterdir())
