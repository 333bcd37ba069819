"""Runs a trainer as its own process, and calls it."""

import os
import select
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from earmark.internal.v1 import trainer_service_pb2 as pb
from earmark.internal.v1 import trainer_service_pb2_grpc as pb_grpc
from earmark.storage.objects import ObjectStore
from earmark.trainer_secret import find_secrets
from earmark.v1 import training_config_pb2
from tests.trainer.grants import granted

SECONDS = 120  # how long a test waits for anything before it fails
JOB_ID = "019a9f45-5e21-7b60-a7c1-8d9e0f1a2b55"


@dataclass(frozen=True)
class Trainer:
    process: subprocess.Popen
    address: str
    data_dir: Path
    stub: pb_grpc.TrainerServiceStub
    channel: grpc.Channel
    objects: ObjectStore
    secret: bytes

    def capacity(self) -> pb.Capacity:
        return self.stub.GetCapacity(pb.GetCapacityRequest(), timeout=SECONDS).capacity

    def wait_for(self, condition) -> pb.Capacity:
        """Returns the first capacity that meets the condition."""
        watch = self.stub.WatchCapacity(pb.WatchCapacityRequest(), timeout=SECONDS)
        capacity = next(response.capacity for response in watch if condition(response.capacity))
        watch.cancel()
        return capacity

    def warm(self) -> "Trainer":
        self.wait_for(lambda capacity: capacity.free_training_slots)
        return self

    def children(self, module: str = "") -> list[int]:
        """Returns the process ids of its children that run this module, by default of all."""
        return [
            pid
            for pid, (parent, command) in processes().items()
            if parent == self.process.pid and f"earmark.trainer.workers.child\0{module}" in command
        ]

    def process_audio(self, data: bytes, name: str = "one") -> list[pb.ProcessAudioResponse]:
        self.objects.put(f"default/audio/{name}/source", data)
        return list(self.stub.ProcessAudio(audio_request(name), timeout=SECONDS))

    def train(self, files=(), **config) -> Iterator[pb.TrainResponse]:
        job = pb.TrainRequest(job=training_job(**config))
        return self.stub.Train(iter([job, *files]), timeout=4 * SECONDS)

    def detect_files(
        self, model: pb.TrainResponse.Completed, files=(), **config
    ) -> Iterator[pb.DetectFilesResponse]:
        """`files` are requests; what follows them may block, for a stream that stays open."""
        requests = chain([pb.DetectFilesRequest(job=detection_job(model, **config))], files)
        return self.stub.DetectFiles(requests, timeout=4 * SECONDS)

    def recording(self, data: bytes) -> pb.DetectFilesRequest:
        """Stores a recording for a detection job."""
        file_id = str(uuid.uuid4())
        self.objects.put(key := f"default/recordings/{file_id}/source", data)
        return pb.DetectFilesRequest(file=pb.DetectFilesRequest.File(file_id=file_id, source=key))

    def detect(self, data: bytes, model: pb.TrainResponse.Completed, **config) -> list[pb.DetectResponse]:
        start = detection_start(model, **config)
        parts = [pb.DetectRequest(data=data[at : at + 50_000]) for at in range(0, len(data), 50_000)]
        return list(self.stub.Detect(iter([pb.DetectRequest(start=start), *parts]), timeout=2 * SECONDS))


@contextmanager
def running(data_dir: Path, *flags: str) -> Iterator[Trainer]:
    # A gateway gives the store its id.
    data_dir.mkdir(exist_ok=True)
    objects = ObjectStore.open(str(data_dir / "objects")).created()
    process = subprocess.Popen(
        [sys.executable, "-m", "earmark.trainer", "--trainer-port", "0", "--data-dir", str(data_dir), *flags],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        line = process.stdout.readline()
        assert line.startswith("trainer listening on 127.0.0.1:")
        address = line.split()[-1]
        # There is none where gateways are known by their certificates.
        secret = next(iter(find_secrets(None, data_dir)), b"")
        with granted(grpc.insecure_channel(address), secret) as channel:
            stub = pb_grpc.TrainerServiceStub(channel)
            yield Trainer(process, address, data_dir, stub, channel, objects, secret)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(SECONDS)
        process.stdout.close()


def processes() -> dict[int, tuple[int, str]]:
    """Returns the parent and the command line of every live process."""
    live = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
                command = (folder / "cmdline").read_text()
            except OSError:
                continue
            if state != "Z":
                live[int(folder.name)] = int(parent), command
    return live


def wait_for_exit(pids: list[int]) -> None:
    """Waits until these processes have exited."""
    for pid in pids:
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        ended, _, _ = select.select([descriptor], [], [], SECONDS)
        os.close(descriptor)
        assert ended, f"process {pid} is still running"


def training_job(**config) -> pb.TrainRequest.Job:
    values = {
        "artifact_types": ["static"],
        "epochs": 1,
        "validation_split": 0.2,
        "learning_rate": 0.001,
        "batch_size": 8,
        "chunk_size_ms": 500,
        "stride_ms": 250,
        "seed": 1,
    }
    config = training_config_pb2.TrainingConfig(**{**values, **config})
    # No other attempt writes there: the model of one stays as it was.
    prefix = f"default/jobs/{JOB_ID}/{uuid.uuid4()}"
    return pb.TrainRequest.Job(training_job_id=JOB_ID, attempt=1, config=config, prefix=prefix)


def detection_start(model: pb.TrainResponse.Completed, **config) -> pb.DetectRequest.Start:
    return pb.DetectRequest.Start(
        weights=model.weights, model_config=model.model_config, sha256=model.sha256, config=config
    )


def detection_job(model: pb.TrainResponse.Completed, **config) -> pb.DetectFilesRequest.Job:
    return pb.DetectFilesRequest.Job(
        detection_job_id=JOB_ID,
        attempt=1,
        weights=model.weights,
        model_config=model.model_config,
        sha256=model.sha256,
        config=config,
    )


def open_stream(first, end: threading.Event):
    """Yields one request and ends the stream when `end` is set."""
    yield first
    end.wait()


def responses_and_error(call) -> tuple[list, grpc.RpcError]:
    """Returns the responses of a call that fails, and its error."""
    responses = []
    try:
        responses.extend(call)
    except grpc.RpcError as error:
        return responses, error
    raise AssertionError("the call succeeded")


def audio_request(name: str) -> pb.ProcessAudioRequest:
    keys = {field: f"default/audio/{name}/{field}" for field in ("source", "audio", "features")}
    return pb.ProcessAudioRequest(audio_file_id=name, **keys)


def failure(error: grpc.RpcError) -> tuple[grpc.StatusCode, str]:
    """Returns the status code and the reason of its ErrorInfo."""
    info = error_details_pb2.ErrorInfo()
    assert rpc_status.from_call(error).details[0].Unpack(info)
    assert info.domain == "earmark"
    return error.code(), info.reason


def kind(error: grpc.RpcError) -> pb.FailureKind:
    """Returns whose the failure is."""
    found = pb.Failure()
    assert any(detail.Unpack(found) for detail in rpc_status.from_call(error).details)
    return found.kind
