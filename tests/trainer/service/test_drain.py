"""Jobs that are handed back, and a trainer that drains before it stops."""

import json
import os
import signal
import threading
from contextlib import contextmanager
from multiprocessing import Pipe

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from earmark.internal.v1 import trainer_service_pb2 as pb
from earmark.trainer.job import Stop, TrainingJob
from earmark.trainer.workers.training import stop_requests
from earmark.trainer.workers.wire import StopJob
from tests.sounds import bursts, encoded
from tests.trainer.process import (
    JOB_ID,
    SECONDS,
    audio_request,
    failure,
    open_stream,
    responses_and_error,
    running,
    training_job,
    wait_for_exit,
)

EPOCHS = 12
STOPPING = (grpc.StatusCode.UNAVAILABLE, "STOPPING")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory, trainer, files):
    """A trainer of tiny networks with its own object store, which contains the features of `files`."""
    with running(tmp_path_factory.mktemp("tiny"), "--network", "tiny", "--precompile", "false") as tiny:
        for request in files:
            tiny.objects.put(request.file.features, trainer.objects.get(request.file.features))
        yield tiny.warm()


@pytest.fixture
def another(tmp_path, tiny):
    """A second trainer of tiny networks on the same object store."""
    flags = ("--network", "tiny", "--precompile", "false", "--object-store", str(tiny.data_dir / "objects"))
    with running(tmp_path, *flags) as another:
        another.wait_for(lambda capacity: capacity.free_detection_slots)
        yield another.warm()


def kind(response):
    return response.WhichOneof("content")


def responses_until(call, wanted):
    """Returns the responses of a call up to the first of this kind."""
    responses = []
    for response in call:
        responses.append(response)
        if kind(response) == wanted:
            return responses
    raise AssertionError(f"no {wanted}")


def hand_back(trainer, attempt=1, job_id=JOB_ID):
    request = pb.HandBackRequest(training_job_id=job_id, attempt=attempt)
    return trainer.stub.HandBack(request, timeout=SECONDS)


def epochs_of(responses):
    return [response.epoch_completed.epoch for response in responses if kind(response) == "epoch_completed"]


def resume(trainer, files, checkpoint):
    """Returns the responses of a second attempt that resumes from the checkpoint."""
    job = training_job(epochs=EPOCHS)
    job.attempt, job.prefix, job.resume_from = 2, f"default/jobs/{JOB_ID}/2", checkpoint.key
    return list(trainer.stub.Train(iter([pb.TrainRequest(job=job), *files]), timeout=4 * SECONDS))


def test_a_job_handed_back_resumes_from_its_last_step(tiny, files):
    call = tiny.train(files, epochs=EPOCHS)
    before = responses_until(call, "epoch_completed")
    hand_back(tiny)
    assert tiny.capacity().free_training_slots == 1
    rest, error = responses_and_error(call)
    assert failure(error) == STOPPING
    checkpoint = [response.checkpoint for response in before + rest if kind(response) == "checkpoint"][-1]
    second = resume(tiny, files, checkpoint)
    assert kind(second[-1]) == "completed"
    notices = [response.notice.message for response in second if kind(response) == "notice"]
    assert any("training goes on" in notice for notice in notices)
    assert epochs_of(before + rest + second) == list(range(1, EPOCHS + 1))


def test_the_network_setting_chooses_the_size(trainer, tiny, files, model):
    small = list(tiny.train(files))[-1].completed
    widths = [
        json.loads(source.objects.get(trained.model_config))["architecture"]["width"]
        for source, trained in ((trainer, model), (tiny, small))
    ]
    assert widths == [128, 16]


def test_a_job_that_is_not_running_cannot_be_handed_back(tiny):
    with pytest.raises(grpc.RpcError) as caught:
        hand_back(tiny)
    assert failure(caught.value) == (grpc.StatusCode.NOT_FOUND, "NOT_FOUND")
    assert f"attempt 1 of job {JOB_ID} is not running here, no job is" in caught.value.details()


def test_an_attempt_is_not_handed_back_instead_of_another(tiny, files):
    call = tiny.train(files, epochs=EPOCHS)
    responses_until(call, "accepted")
    with pytest.raises(grpc.RpcError) as caught:
        hand_back(tiny, attempt=2)
    assert failure(caught.value) == (grpc.StatusCode.NOT_FOUND, "NOT_FOUND")
    assert f"attempt 1 of job {JOB_ID} is" in caught.value.details()
    assert kind(list(call)[-1]) == "completed"


def test_a_job_whose_manifest_has_not_ended_is_handed_back_at_once(tiny):
    end = threading.Event()
    call = tiny.stub.Train(open_stream(pb.TrainRequest(job=training_job()), end))
    responses_until(call, "accepted")
    hand_back(tiny)
    rest, error = responses_and_error(call)
    end.set()
    assert (rest, failure(error)) == ([], STOPPING)
    assert tiny.capacity().free_training_slots == 1


def test_a_process_that_does_not_answer_is_killed_and_its_job_handed_back(tiny, files):
    call = tiny.train(files, epochs=100)
    responses_until(call, "epoch_completed")
    process = tiny.children("earmark.trainer.workers.training")
    os.kill(process[0], signal.SIGSTOP)
    hand_back(tiny)
    wait_for_exit(process)
    assert failure(responses_and_error(call)[1]) == STOPPING
    tiny.warm()


def test_a_process_obeys_requests_for_its_own_attempt_and_dropping_is_final():
    front, child = Pipe()
    should_stop = stop_requests(TrainingJob(JOB_ID, 2, None, (), "out"), child)
    front.send(StopJob(JOB_ID, 1, Stop.DROP))
    assert should_stop() is None
    front.send(StopJob(JOB_ID, 2, Stop.HAND_BACK))
    assert should_stop() is Stop.HAND_BACK
    assert should_stop() is Stop.HAND_BACK
    front.send(StopJob(JOB_ID, 2, Stop.DROP))
    front.send(StopJob(JOB_ID, 2, Stop.HAND_BACK))
    assert should_stop() is Stop.DROP


def test_a_process_without_its_front_drops_its_job():
    front, child = Pipe()
    should_stop = stop_requests(TrainingJob(JOB_ID, 1, None, (), "out"), child)
    front.close()
    assert should_stop() is Stop.DROP


def test_a_trainer_that_stops_hands_its_jobs_back(trainer, tiny, another, files, model, tmp_path):
    for key in (model.weights, model.model_config):
        tiny.objects.put(key, trainer.objects.get(key))
    end = threading.Event()
    detecting = another.detect_files(model, open_stream(tiny.recording(encoded(bursts(2, 1)[0], "WAV")), end))
    responses_until(detecting, "completed")
    call = another.train(files, epochs=EPOCHS)
    before = responses_until(call, "epoch_completed")
    children = another.children()
    another.process.send_signal(signal.SIGINT)
    rest, error = responses_and_error(call)
    assert failure(error) == STOPPING
    rest_of_detecting, error = responses_and_error(detecting)
    end.set()
    assert {kind(response) for response in rest_of_detecting} <= {"heartbeat"}
    assert failure(error) == STOPPING
    assert another.process.wait(SECONDS) == 0
    wait_for_exit(children)
    assert not list((tmp_path / "scratch").iterdir())
    checkpoint = [response.checkpoint for response in before + rest if kind(response) == "checkpoint"][-1]
    second = resume(tiny, files, checkpoint)
    assert epochs_of(before + rest + second) == list(range(1, EPOCHS + 1))


@pytest.fixture
def suspended(tmp_path):
    """Starts a trainer whose audio process is suspended, and a call that waits for that process."""

    @contextmanager
    def start(*flags):
        with running(tmp_path, "--network", "tiny", "--precompile", "false", *flags) as trainer:
            (process,) = trainer.children("earmark.trainer.workers.audio")
            os.kill(process, signal.SIGSTOP)
            trainer.objects.put("default/audio/waiting/source", encoded(bursts(2, 1)[0], "WAV"))
            call = trainer.stub.ProcessAudio(audio_request("waiting"), timeout=SECONDS)
            assert kind(next(call)) == "normalizing"
            yield trainer, call, process

    return start


def test_a_trainer_that_stops_finishes_its_files_and_takes_no_more(suspended):
    with suspended() as (trainer, file, process):
        watch = trainer.stub.WatchCapacity(pb.WatchCapacityRequest())
        trainer.process.terminate()
        assert failure(responses_and_error(watch)[1]) == STOPPING
        for call in (
            trainer.stub.ProcessAudio(audio_request("late")),
            trainer.train(),
            trainer.stub.Detect(iter([pb.DetectRequest(start=pb.DetectRequest.Start())])),
            trainer.detect_files(pb.TrainResponse.Completed()),
            trainer.stub.WatchCapacity(pb.WatchCapacityRequest()),
        ):
            responses, error = responses_and_error(call)
            assert (responses, failure(error)) == ([], STOPPING)
        health = health_pb2_grpc.HealthStub(trainer.channel)
        request = health_pb2.HealthCheckRequest(service="earmark.internal.v1.TrainerService")
        assert health.Check(request).status == health_pb2.HealthCheckResponse.NOT_SERVING
        os.kill(process, signal.SIGCONT)
        assert [kind(response) for response in file] == ["embedding", "ready"]
        assert trainer.process.wait(SECONDS) == 0


def test_calls_that_outlast_the_grace_period_are_ended(suspended, tmp_path):
    with suspended("--stop-grace-seconds", "0.2") as (trainer, file, _):
        end = threading.Event()
        start = pb.DetectRequest(
            start=pb.DetectRequest.Start(
                weights="default/jobs/no/weights", model_config="default/jobs/no/config"
            )
        )
        upload = trainer.stub.Detect(open_stream(start, end))
        children = trainer.children()
        trainer.process.terminate()
        for call in (file, upload):
            assert failure(responses_and_error(call)[1]) == STOPPING
        end.set()
        assert trainer.process.wait(SECONDS) == 0
        wait_for_exit(children)
        assert not list((tmp_path / "scratch").iterdir())


def test_a_stream_that_brings_nothing_ends_and_leaves_its_slot_to_others(tmp_path):
    flags = ("--network", "tiny", "--precompile", "false", "--stream-idle-seconds", "1")
    end = threading.Event()
    with running(tmp_path, *flags) as trainer:
        trainer.warm()
        for _ in range(2):
            only_the_job = open_stream(pb.TrainRequest(job=training_job()), end)
            responses, error = responses_and_error(trainer.stub.Train(only_the_job, timeout=SECONDS))
            assert [kind(response) for response in responses] == ["accepted"]
            assert failure(error) == (grpc.StatusCode.DEADLINE_EXCEEDED, "STREAM_IDLE")
        end.set()
