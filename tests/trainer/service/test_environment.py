"""What the trainer stands on fails: it takes no work meanwhile, and blames neither a file nor a job."""

import os
import signal
import uuid

import grpc
import pytest

from earmark.internal.v1 import trainer_service_pb2 as pb
from earmark.storage.objects import STORE_ID
from earmark.trainer.service.processes import Child, ProcessLostError
from earmark.trainer.settings import TrainerSettings
from tests.sounds import bursts, encoded
from tests.trainer.process import (
    SECONDS,
    audio_request,
    failure,
    kind,
    responses_and_error,
    running,
    wait_for_exit,
)

NO_MODEL = pb.TrainResponse.Completed(
    weights="default/jobs/no/weights", model_config="default/jobs/no/config"
)
GOOD = encoded(bursts(2, 1)[0], "WAV")


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A trainer whose store these tests take away."""
    with running(
        tmp_path_factory.mktemp("own"), "--audio-processes", "1", "--precompile", "false"
    ) as trainer:
        trainer.wait_for(lambda capacity: not capacity.problem)
        yield trainer


def test_without_its_store_a_trainer_takes_no_work_until_the_store_is_back(own):
    store, away = own.data_dir / "objects", own.data_dir / "away"
    own.objects.put("default/audio/one/source", GOOD)
    store.rename(away)
    try:
        with pytest.raises(grpc.RpcError) as caught:
            list(own.stub.ProcessAudio(audio_request("one"), timeout=SECONDS))
        assert failure(caught.value) == (grpc.StatusCode.UNAVAILABLE, "OBJECT_STORE_UNAVAILABLE")
        assert kind(caught.value) == pb.FAILURE_KIND_ENVIRONMENT
        ill = own.capacity()
        assert (ill.free_audio_slots, ill.free_training_slots, ill.free_detection_slots) == (0, 0, 0)
        assert "do all services have the same EARMARK_OBJECT_STORE" in ill.problem
    finally:
        away.rename(store)
    well = own.wait_for(lambda capacity: not capacity.problem)
    assert well.free_audio_slots == 2
    assert own.process_audio(GOOD)[-1].WhichOneof("content") == "ready"


def test_without_its_store_a_detection_job_waits_for_another_trainer(own):
    own.wait_for(lambda capacity: capacity.free_detection_slots)
    store, away = own.data_dir / "objects", own.data_dir / "away"
    store.rename(away)
    try:
        responses, error = responses_and_error(own.detect_files(NO_MODEL))
        assert [response.WhichOneof("content") for response in responses] == ["accepted"]
        assert failure(error) == (grpc.StatusCode.UNAVAILABLE, "OBJECT_STORE_UNAVAILABLE")
        assert kind(error) == pb.FAILURE_KIND_ENVIRONMENT
    finally:
        away.rename(store)
    own.wait_for(lambda capacity: not capacity.problem)


def test_a_trainer_reports_the_id_of_the_store_that_it_sees(own):
    assert own.capacity().store_id == own.objects.get(STORE_ID).decode()


def test_a_trainer_without_room_on_its_disk_takes_no_work(tmp_path, own):
    objects = str(own.data_dir / "objects")
    with running(tmp_path, "--object-store", objects, "--disk-reserve-mb", str(1 << 40)) as trainer:
        full = trainer.wait_for(lambda capacity: "MiB left" in capacity.problem)
        assert "EARMARK_DISK_RESERVE_MB" in full.problem
        assert full.free_audio_slots == 0


def test_a_decoder_that_died_while_it_was_idle_is_not_blamed_on_the_next_file(own):
    assert own.process_audio(GOOD)[-1].WhichOneof("content") == "ready"
    idle = own.children("earmark.trainer.workers.audio")
    for pid in idle:
        os.kill(pid, signal.SIGKILL)
    wait_for_exit(idle)
    assert own.process_audio(GOOD)[-1].WhichOneof("content") == "ready"


def test_a_decoder_that_others_kill_is_a_lost_attempt_and_no_fault_of_the_file(own):
    assert own.process_audio(GOOD)[-1].WhichOneof("content") == "ready"
    decoders = own.children("earmark.trainer.workers.audio")
    assert decoders
    # A suspended decoder cannot be done with the file before it is killed.
    for pid in decoders:
        os.kill(pid, signal.SIGSTOP)
    name = str(uuid.uuid4())
    own.objects.put(f"default/audio/{name}/source", GOOD)
    call = own.stub.ProcessAudio(audio_request(name), timeout=SECONDS)
    own.wait_for(lambda capacity: capacity.free_audio_slots == 1)
    for pid in decoders:
        os.kill(pid, signal.SIGKILL)
    with pytest.raises(grpc.RpcError) as caught:
        list(call)
    assert kind(caught.value) == pb.FAILURE_KIND_ATTEMPT


async def test_a_child_that_sends_garbage_is_lost_and_killed():
    child = Child("tests.trainer.service.garbage_child", TrainerSettings(), {})
    with pytest.raises(ProcessLostError, match="SIGKILL"):
        await child.receive()
    await child.close()
