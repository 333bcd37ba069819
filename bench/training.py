"""Measures training through the public API.

    python -m bench.training --train DIR --test DIR --detections OUT.csv [--epochs N] [--seed N] [--jobs N]

DIR contains audio files and annotations.csv, see bench.tools.folder. Starts its own system
on an empty data directory, or uses the one at --address. Prints one line of JSON per job, which
bench/README.md describes. The detections written are those of the last job.
"""

import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from bench.tools.folder import (
    UploadedDataset,
    annotations,
    detect_all,
    durations_ms,
    publish_annotations,
    upload_folder,
    write,
)
from bench.tools.processes import peak_memory_mib
from bench.tools.scores import scores
from bench.tools.stages import Events, chunks_of_an_epoch, chunks_per_second, device, stages
from earmark.client import Client, connect, watch
from earmark.client.local import LocalSystem
from earmark.trainer.service.messages import from_config
from earmark.v1 import metrics_pb2, model_service_pb2, training_service_pb2

WEIGHT_BYTES = 4


@dataclass(frozen=True, slots=True)
class Task:
    """What every job trains on and detects in. `config`: the settings that differ from a job's defaults."""

    dataset: UploadedDataset
    set_id: str
    config: Mapping[str, Any]
    test: Path
    detections: Path


def main(
    *,
    train: Annotated[Path, typer.Option(help="Folder to train on.")],
    test: Annotated[Path, typer.Option(help="Folder to detect in.")],
    detections: Annotated[Path, typer.Option(help="CSV to write the detections to.")],
    address: Annotated[str | None, typer.Option(help="A running system; without it, start one.")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="How often to run the same job.")] = 1,
    epochs: int | None = None,
    seed: int = 0,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    validation_split: float | None = None,
    chunk_size_ms: int | None = None,
    stride_ms: int | None = None,
    early_stopping_epochs: int | None = None,
    base_model_id: str | None = None,
) -> None:
    """Measure training jobs and their detections."""
    config = {
        "epochs": epochs,
        "seed": seed,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "validation_split": validation_split,
        "chunk_size_ms": chunk_size_ms,
        "stride_ms": stride_ms,
        "early_stopping_epochs": early_stopping_epochs,
        "base_model_id": base_model_id,
    }
    settings = {name: value for name, value in config.items() if value is not None}
    with system(address) as reached, connect(reached) as client:
        started = time.perf_counter()
        truth = annotations(train)
        dataset = upload_folder(client, train, tuple(sorted({row["artifact_type"] for row in truth})))
        processed = round(time.perf_counter() - started, 1)
        task = Task(dataset, publish_annotations(client, dataset, truth), settings, test, detections)
        for number in range(jobs):
            cold = {} if address else {"cold": number == 0}
            figures = cold | {"seconds_processing_audio": processed} | measure(client, task)
            if not address:
                figures["peak_memory_mib"] = peak_memory_mib()
            print(json.dumps(figures), flush=True)


@contextmanager
def system(address: str | None) -> Iterator[str]:
    """The address of a running system: `address`, or that of a system started for the measurement."""
    if address:
        yield address
        return
    with tempfile.TemporaryDirectory(prefix="earmark-bench-") as folder:
        # PostgreSQL refuses root; the user that it runs as instead must reach its folder.
        Path(folder).chmod(0o755)
        settings = {"EARMARK_DATA_DIR": folder, "EARMARK_PORT": "0", "EARMARK_TRAINER_PORT": "0"}
        with LocalSystem(settings, log=partial(print, file=sys.stderr)) as local:
            yield local.address


def measure(client: Client, task: Task) -> dict[str, Any]:
    """The figures of one job."""
    created = time.perf_counter()
    job, events = train_model(client, task)
    completed = time.perf_counter()
    model = activate(client, job.model_id)
    detections = detect_all(client, model.id, task.test)
    detected = time.perf_counter()
    write(task.detections, detections)
    chunks = chunks_of_an_epoch(events, task.dataset.durations_ms, from_config(job.config))
    rate = chunks_per_second(events)
    return {
        "device": device(events),
        "seconds_create_to_completed": round(completed - created, 2),
        "seconds_by_stage": stages(events, chunks),
        "seconds_detecting": round(detected - completed, 1),
        "epochs": sum(event.HasField("epoch_completed") for event in events),
        "best_epoch": model.best_epoch,
        "chunks_per_second": round(rate, 1),
        "audio_seconds_per_second": round(rate * job.config.stride_ms / 1000, 1),
        "parameters": model.size_bytes // WEIGHT_BYTES,
        **scores(annotations(task.test), detections, durations_ms(task.test)),
        "validation": validation(job.metrics),
    }


def train_model(client: Client, task: Task) -> tuple[training_service_pb2.TrainingJob, Events]:
    """Runs a job to its end. Returns it and its events. Raises SystemExit if it has no model."""
    request = training_service_pb2.CreateTrainingJobRequest(
        dataset_id=task.dataset.id,
        annotation_set_id=task.set_id,
        config={"artifact_types": task.dataset.types, **task.config},
    )
    job_id = client.training.CreateTrainingJob(request).training_job.id
    events = list(watch(client, job_id))
    get = training_service_pb2.GetTrainingJobRequest(training_job_id=job_id)
    job = client.training.GetTrainingJob(get).training_job
    if not job.model_id:
        raise SystemExit(f"the job ended without a model: {job.error.message}")
    return job, events


def activate(client: Client, model_id: str) -> model_service_pb2.Model:
    """Activates the model and returns it: only an active model detects."""
    request = model_service_pb2.UpdateModelRequest(
        model={"id": model_id, "is_active": True}, update_mask={"paths": ["is_active"]}
    )
    model: model_service_pb2.Model = client.models.UpdateModel(request).model
    return model


def validation(metrics: metrics_pb2.EvalMetrics) -> dict[str, Any]:
    """The model's event-level metrics on its job's validation set: [precision, recall, F1, support]."""
    table: dict[str, Any] = {"over all": metrics.overall, **dict(sorted(metrics.per_type.items()))}
    ratios = ("precision", "recall", "f1_score")
    return {
        name: [
            *(round(getattr(row, ratio), 2) if row.HasField(ratio) else None for ratio in ratios),
            row.support,
        ]
        for name, row in table.items()
    }


if __name__ == "__main__":
    typer.run(main)
