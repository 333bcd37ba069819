"""Real service processes, and a dataset that is large enough to train on."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from earmark.client import Client, connect, upload, wait_until_ready
from earmark.v1 import annotation_service_pb2, dataset_service_pb2
from earmark.v1 import training_service_pb2 as training
from tests.sounds import write_wav

EARMARK = Path(sys.executable).with_name("earmark")


@contextmanager
def service(name: str, data_dir: Path, **settings: str) -> Iterator[subprocess.Popen]:
    """Run `earmark NAME` with `process.address` as its address; terminate it at the end if it still runs."""
    environment = os.environ | {"EARMARK_DATA_DIR": str(data_dir)}
    environment |= {"EARMARK_PORT": "0", "EARMARK_TRAINER_PORT": "0"} | settings
    with (data_dir / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(
            [EARMARK, name], env=environment, stdout=subprocess.PIPE, stderr=log, text=True
        )
    try:
        process.address = listening(process)
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait()
        process.stdout.close()


def listening(process: subprocess.Popen) -> str:
    """Wait for the line that a service prints once it serves, and return the address in it."""
    for line in process.stdout:
        if " listening on " in line:
            return line.split()[-1]
    raise AssertionError(f"ended with {process.wait()} before it served")


def kill(process: subprocess.Popen) -> None:
    """Send SIGKILL, as the kernel does when memory runs out, and wait."""
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


@dataclass
class Trainable:
    """A dataset that meets every prerequisite."""

    client: Client
    dataset_id: str
    annotation_set_id: str

    def create(self, **config) -> training.TrainingJob:
        request = training.CreateTrainingJobRequest(
            dataset_id=self.dataset_id,
            annotation_set_id=self.annotation_set_id,
            config={"artifact_types": ["dropout", "glitch"], "seed": 1} | config,
        )
        return self.client.training.CreateTrainingJob(request).training_job

    def job(self, job_id: str) -> training.TrainingJob:
        request = training.GetTrainingJobRequest(training_job_id=job_id)
        return self.client.training.GetTrainingJob(request).training_job


@contextmanager
def trainable(address: str, folder: Path) -> Iterator[Trainable]:
    """A dataset of six files with just over five minutes of audio, ready, with a published annotation set."""
    with connect(address) as client:
        types = [{"name": "dropout"}, {"name": "glitch"}]
        created = client.datasets.CreateDataset(
            dataset_service_pb2.CreateDatasetRequest(name="calls", artifact_types=types)
        )
        dataset_id, annotations = created.dataset.id, []
        for number in range(6):
            path = folder / f"{number}.wav"
            placed = write_wav(path, 51, number)
            file = upload(client, dataset_id, path)
            annotations += [
                {"audio_file_id": file.id, "artifact_type": kind, "start_ms": start, "end_ms": end}
                for kind, start, end in placed
            ]
        assert not [file.error_message for file in wait_until_ready(client, dataset_id) if file.error_message]
        set_request = annotation_service_pb2.CreateAnnotationSetRequest(dataset_id=dataset_id)
        set_id = client.annotations.CreateAnnotationSet(set_request).annotation_set.id
        batch = annotation_service_pb2.BatchCreateAnnotationsRequest(
            annotation_set_id=set_id, annotations=annotations
        )
        client.annotations.BatchCreateAnnotations(batch)
        publish = annotation_service_pb2.PublishAnnotationSetRequest(annotation_set_id=set_id)
        client.annotations.PublishAnnotationSet(publish)
        yield Trainable(client, dataset_id, set_id)
