"""Failures of the device: they end the process, and never the job."""

import asyncio
import os

import grpc
import pytest

from earmark.internal.v1 import trainer_service_pb2 as pb
from earmark.trainer.service import detection_process, runtime, supervisor
from earmark.trainer.service.changes import Changes
from earmark.trainer.service.detection_process import DetectionProcess
from earmark.trainer.service.errors import CallError
from earmark.trainer.service.supervisor import Supervisor
from earmark.trainer.settings import TrainerSettings
from earmark.trainer.workers.device import device_failure, needed_memory
from tests.sounds import bursts, encoded
from tests.trainer.process import (
    SECONDS,
    detection_job,
    detection_start,
    failure,
    kind,
    processes,
    training_job,
)
from tests.trainer.service.failing_device import DEVICE_ERRORS
from tests.trainer.service.serving import serving, settings

HERE = "tests.trainer.service"
OUT_OF_MEMORY = "RESOURCE_EXHAUSTED: Out of memory while trying to allocate 3221225472 bytes."
STICKY = "INTERNAL: CUDA_ERROR_ILLEGAL_ADDRESS: an illegal memory access was encountered"


@pytest.fixture
def errors(tmp_path, monkeypatch):
    """The file of the errors that the device is to raise; without lines, it works."""
    file = tmp_path / "errors"
    file.write_text("")
    monkeypatch.setenv(DEVICE_ERRORS, str(file))
    return file


def workers(module):
    """The process ids of this process's children that run the module."""
    return {
        pid for pid, (parent, command) in processes().items() if parent == os.getpid() and module in command
    }


async def free_slot(stub, slots="free_training_slots"):
    async for response in stub.WatchCapacity(pb.WatchCapacityRequest(), timeout=SECONDS):
        if getattr(response.capacity, slots):
            return


async def train(stub, files):
    job = pb.TrainRequest(job=training_job())
    return [response async for response in stub.Train(iter([job, *files]), timeout=SECONDS)]


async def test_a_device_error_ends_the_attempt_and_the_process_but_not_the_next_job(
    trainer, files, errors, monkeypatch
):
    monkeypatch.setattr(runtime, "TRAINING", f"{HERE}.training_on_failing_device")
    async with serving(settings(trainer)) as stub:
        for error, reason, words in (
            (OUT_OF_MEMORY, "DEVICE_OUT_OF_MEMORY", "3.0 GiB more were needed"),
            (STICKY, "DEVICE_FAILED", "ILLEGAL_ADDRESS"),
        ):
            await free_slot(stub)
            failing = workers(runtime.TRAINING)
            errors.write_text(f"{error}\n")
            with pytest.raises(grpc.RpcError) as caught:
                await train(stub, files)
            assert failure(caught.value) == (grpc.StatusCode.UNAVAILABLE, reason)
            assert words in caught.value.details()
            await free_slot(stub)
            assert not failing & workers(runtime.TRAINING)
        assert (await train(stub, files))[-1].WhichOneof("content") == "completed"


async def test_a_device_error_in_detection_fails_the_call_and_ends_the_process(
    trainer, model, errors, monkeypatch
):
    monkeypatch.setattr(runtime, "DETECTION", f"{HERE}.detection_on_failing_device")
    audio = encoded(bursts(2, seed=99)[0], "FLAC")
    start = detection_start(model)
    requests = [pb.DetectRequest(start=start), pb.DetectRequest(data=audio)]
    async with serving(settings(trainer)) as stub:
        await free_slot(stub)
        failing = workers(runtime.DETECTION)
        errors.write_text(f"{STICKY}\n")
        with pytest.raises(grpc.RpcError) as caught:
            [response async for response in stub.Detect(iter(requests), timeout=SECONDS)]
        assert failure(caught.value) == (grpc.StatusCode.UNAVAILABLE, "DEVICE_FAILED")
        responses = [response async for response in stub.Detect(iter(requests), timeout=SECONDS)]
        assert responses[-1].WhichOneof("content") == "summary"
        assert len(failing) == 1
        assert not failing & workers(runtime.DETECTION)


async def test_a_device_error_in_a_job_ends_its_attempt_and_not_the_next_one(
    trainer, model, errors, monkeypatch
):
    monkeypatch.setattr(runtime, "DETECTION", f"{HERE}.detection_on_failing_device")
    requests = [
        pb.DetectFilesRequest(job=detection_job(model)),
        trainer.recording(encoded(bursts(2, seed=99)[0], "FLAC")),
    ]
    async with serving(settings(trainer)) as stub:
        await free_slot(stub, "free_detection_slots")
        errors.write_text(f"{STICKY}\n")
        with pytest.raises(grpc.RpcError) as caught:
            [response async for response in stub.DetectFiles(iter(requests), timeout=SECONDS)]
        assert failure(caught.value) == (grpc.StatusCode.UNAVAILABLE, "DEVICE_FAILED")
        assert kind(caught.value) == pb.FAILURE_KIND_ATTEMPT
        await free_slot(stub, "free_detection_slots")
        responses = [response async for response in stub.DetectFiles(iter(requests), timeout=SECONDS)]
        assert responses[-1].WhichOneof("content") == "completed"


@pytest.mark.usefixtures("compiled")
async def test_a_process_that_fails_at_its_first_step_never_becomes_warm(tmp_path, errors, monkeypatch):
    monkeypatch.setattr(supervisor, "BACKOFF_SECONDS", (0.0,))
    errors.write_text(f"{STICKY}\n")
    chosen = TrainerSettings(data_dir=tmp_path, network="tiny")
    variables = runtime._training_environment(chosen)
    training = Supervisor(f"{HERE}.training_that_fails_to_compile", chosen, variables, Changes())
    running = asyncio.create_task(training.run())
    await training.wait_until_warm()
    assert not errors.read_text()  # the process before it has exited
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_detect_does_not_wait_for_a_process_that_cannot_start(tmp_path, monkeypatch):
    monkeypatch.setattr(detection_process, "START_SECONDS", 0)
    never_started = Supervisor("no.such.module", TrainerSettings(data_dir=tmp_path), {}, Changes())
    with pytest.raises(CallError, match="has not started within") as caught:
        await DetectionProcess(never_started).detect("weights", "config", "ab", tmp_path, 1000, {})
    assert caught.value.reason == "DEVICE_FAILED"


def test_other_errors_are_not_the_devices():
    assert device_failure(ValueError("INTERNAL: not from the device")) is None


@pytest.mark.parametrize("amount", ["3221225472 bytes", "3.00GiB", "3 GB"])
def test_running_out_of_memory_says_what_was_needed_and_what_there_is(amount):
    text = f"RESOURCE_EXHAUSTED: Out of memory while trying to allocate {amount}."
    needed = needed_memory(text, {"bytes_in_use": 7 << 30, "bytes_limit": 9 << 30})
    assert (
        needed
        == "10.0 GiB were needed, 3.0 GiB more than the 7.0 GiB in use, and this process may use 9.0 GiB"
    )
