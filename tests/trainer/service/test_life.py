import signal
import subprocess
import sys
import threading

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from earmark.internal.v1 import trainer_service_pb2 as pb
from earmark.trainer.service.scratch import ScratchDirectory
from tests.trainer.process import SECONDS, failure, open_stream, running, training_job, wait_for_exit


def accepted(call):
    return next(call).WhichOneof("content") == "accepted"


@pytest.mark.usefixtures("compiled")
def test_sigterm_ends_streams_with_unavailable_and_leaves_no_process(tmp_path):
    with running(tmp_path, "--precompile", "false") as trainer:
        watch = trainer.warm().stub.WatchCapacity(pb.WatchCapacityRequest())
        end = threading.Event()
        job = trainer.stub.Train(open_stream(pb.TrainRequest(job=training_job()), end))
        assert accepted(job)
        assert next(watch)
        children = trainer.children()
        assert len(children) == 3
        trainer.process.terminate()
        for call in (watch, job):
            with pytest.raises(grpc.RpcError) as caught:
                list(call)
            assert failure(caught.value) == (grpc.StatusCode.UNAVAILABLE, "STOPPING")
        end.set()
        assert trainer.process.wait(SECONDS) == 0
        wait_for_exit(children)
        assert not list((tmp_path / "scratch").iterdir())


def test_a_killed_trainer_leaves_no_process(tmp_path, files, trainer):
    objects = str(trainer.data_dir / "objects")
    with running(tmp_path, "--object-store", objects, "--precompile", "false") as killed:
        job = killed.warm().train(files)
        assert accepted(job)
        children = killed.children()
        killed.process.kill()
        wait_for_exit(children)
        with pytest.raises(grpc.RpcError) as caught:
            list(job)
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE


def test_folders_of_a_killed_trainer_are_removed_and_those_in_use_are_kept(tmp_path):
    (tmp_path / "abandoned").mkdir()
    (tmp_path / "abandoned" / "source").write_bytes(b"x")
    first = ScratchDirectory(tmp_path)
    (mine,) = tmp_path.iterdir()
    with first.folder() as folder:
        second = ScratchDirectory(tmp_path)
        assert folder.parent == mine
        assert folder.exists()
        second.close()
    assert not folder.exists()
    first.close()
    assert not list(tmp_path.iterdir())


def test_health_and_reflection_are_served(trainer):
    health = health_pb2_grpc.HealthStub(trainer.channel)
    for name in ("", "earmark.internal.v1.TrainerService", "earmark.background"):
        request = health_pb2.HealthCheckRequest(service=name)
        assert health.Check(request).status == health_pb2.HealthCheckResponse.SERVING
    reflection = reflection_pb2_grpc.ServerReflectionStub(trainer.channel)
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    listed = next(reflection.ServerReflectionInfo(iter([request]))).list_services_response.service
    assert "earmark.internal.v1.TrainerService" in [service.name for service in listed]


def run(*arguments):
    command = [sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)


def test_a_port_in_use_is_reported(trainer, tmp_path):
    port = trainer.address.rpartition(":")[2]
    result = run("-m", "earmark.trainer", "--trainer-port", port, "--data-dir", str(tmp_path))
    assert result.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}" in result.stderr


def test_help_lists_the_flags():
    result = run("-m", "earmark.trainer", "--help")
    assert result.returncode == 0
    assert "--trainer-port" in result.stdout
    assert "default factory" not in result.stdout


def test_a_file_that_takes_too_long_is_ended_by_the_kernel():
    result = run("-c", "from trainer.workers.audio import limit_cpu; limit_cpu(1)\nwhile True: pass")
    assert result.returncode == -signal.SIGXCPU


def test_memory_is_limited():
    code = """
import numpy
from earmark.trainer.service.audio_pool import decode_limits
from earmark.trainer.settings import TrainerSettings
from earmark.trainer.workers.audio import limit_resources
limit_resources(decode_limits(TrainerSettings(audio_memory_mb=1024)))
numpy.ones(1 << 28)
"""
    assert "MemoryError" in run("-c", code).stderr
