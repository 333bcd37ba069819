"""Trains through the public API and measures it.

    python -m bench.training --train DIR --test DIR --detections OUT.csv [--epochs N] [--seed N]

DIR holds audio files and annotations.csv (filename,artifact_type,start_ms,end_ms). Starts a system of its
own, on a fresh data directory, or uses the one at --address. Prints one JSON line: seconds from create to
completed and of what came before, the rate of training, and event-level F1 on the test folder at Detect's
defaults.
"""

import csv
import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from earmark.client import Client, connect, detect, upload, wait_until_ready, watch
from earmark.client.local import LocalSystem
from earmark.v1 import (
    annotation_service_pb2,
    dataset_service_pb2,
    metrics_pb2,
    model_service_pb2,
    training_service_pb2,
)

from trainer.metrics import Counts, event_counts

Row = dict[str, str]
COLUMNS = ("filename", "artifact_type", "start_ms", "end_ms", "confidence")
BATCH = 5000


def main(
    train: Annotated[Path, typer.Option(help="Folder to train on.")],
    test: Annotated[Path, typer.Option(help="Folder to detect in.")],
    detections: Annotated[Path, typer.Option(help="CSV to write the detections to.")],
    epochs: int | None = None,
    seed: int = 0,
    address: str | None = None,
) -> None:
    """Measure one training job and its detections."""
    with system(address) as reached, connect(reached) as client:
        figures = measure(client, train, test, detections, {"epochs": epochs, "seed": seed})
    print(json.dumps(figures))


@contextmanager
def system(address: str | None) -> Iterator[str]:
    """The address of a running system: the one given, or one of our own."""
    if address:
        yield address
        return
    with tempfile.TemporaryDirectory(prefix="earmark-bench-") as folder:
        settings = {"EARMARK_DATA_DIR": folder, "EARMARK_PORT": "0", "EARMARK_TRAINER_PORT": "0"}
        with LocalSystem(settings, log=lambda _: None) as local:
            yield local.address


def measure(client: Client, train: Path, test: Path, out: Path, config: dict[str, Any]) -> dict[str, Any]:
    """The figures of one job."""
    truth = annotations(train)
    types = sorted({row["artifact_type"] for row in truth})
    started = time.perf_counter()
    dataset_id, files = prepare(client, train, types)
    processed = time.perf_counter()
    set_id = annotate(client, dataset_id, files, truth)
    created = time.perf_counter()
    given = {name: value for name, value in config.items() if value is not None}
    job = client.training.CreateTrainingJob(
        training_service_pb2.CreateTrainingJobRequest(
            dataset_id=dataset_id, annotation_set_id=set_id, config={"artifact_types": types, **given}
        )
    ).training_job
    events = list(watch(client, job.id))
    completed = time.perf_counter()
    job = client.training.GetTrainingJob(
        training_service_pb2.GetTrainingJobRequest(training_job_id=job.id)
    ).training_job
    if not job.model_id:
        raise SystemExit(f"the job ended without a model: {job.error.reason}: {job.error.message}")
    activate(client, job.model_id)
    found = detect_all(client, job.model_id, test)
    write(out, found)
    return {
        "seconds_processing_audio": round(processed - started, 1),
        "seconds_create_to_completed": round(completed - created, 1),
        "seconds_by_stage": stages(events),
        "chunks_per_second": round(max(e.epoch_completed.chunks_per_second for e in events), 1),
        "seconds_detecting": round(time.perf_counter() - completed, 1),
        "validation": validation(job.metrics),
        **scores(annotations(test), found),
    }


def validation(metrics: metrics_pb2.EvalMetrics) -> dict[str, Any]:
    """The model's own event-level figures, on what its job held out: [precision, recall, F1, support]."""
    table = {"over all": metrics.overall, **dict(sorted(metrics.per_type.items()))}
    return {
        name: [round(row.precision, 2), round(row.recall, 2), round(row.f1_score, 2), row.support]
        for name, row in table.items()
    }


def annotations(folder: Path) -> list[Row]:
    """The rows of the folder's annotations.csv."""
    with (folder / "annotations.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def prepare(client: Client, folder: Path, types: list[str]) -> tuple[str, dict[str, str]]:
    """A dataset of the folder's audio, ready: its id, and each file's id by name."""
    request = dataset_service_pb2.CreateDatasetRequest(
        name=folder.name, artifact_types=[{"name": name} for name in types]
    )
    dataset_id = client.datasets.CreateDataset(request).dataset.id
    paths = [path for path in sorted(folder.iterdir()) if path.suffix != ".csv"]
    files = {path.name: upload(client, dataset_id, path).id for path in paths}
    bad = [f for f in wait_until_ready(client, dataset_id) if f.error_message]
    if bad:
        raise SystemExit(f"{bad[0].original_filename}: {bad[0].error_message}")
    return dataset_id, files


def annotate(client: Client, dataset_id: str, files: dict[str, str], rows: list[Row]) -> str:
    """A published set with the rows as its annotations."""
    request = annotation_service_pb2.CreateAnnotationSetRequest(dataset_id=dataset_id)
    set_id = client.annotations.CreateAnnotationSet(request).annotation_set.id
    for start in range(0, len(rows), BATCH):
        marks = [
            {
                "audio_file_id": files[row["filename"]],
                "artifact_type": row["artifact_type"],
                "start_ms": int(row["start_ms"]),
                "end_ms": int(row["end_ms"]),
            }
            for row in rows[start : start + BATCH]
        ]
        client.annotations.BatchCreateAnnotations(
            annotation_service_pb2.BatchCreateAnnotationsRequest(annotation_set_id=set_id, annotations=marks)
        )
    client.annotations.PublishAnnotationSet(
        annotation_service_pb2.PublishAnnotationSetRequest(annotation_set_id=set_id)
    )
    return set_id


def activate(client: Client, model_id: str) -> None:
    """Only an active model detects."""
    client.models.UpdateModel(
        model_service_pb2.UpdateModelRequest(
            model={"id": model_id, "is_active": True}, update_mask={"paths": ["is_active"]}
        )
    )


def detect_all(client: Client, model_id: str, folder: Path) -> list[Row]:
    """What the model finds in every file of the folder, at the defaults."""
    return [
        {
            "filename": path.name,
            "artifact_type": found.artifact_type,
            "start_ms": str(found.start_ms),
            "end_ms": str(found.end_ms),
            "confidence": f"{found.confidence:.3f}",
        }
        for path in sorted(folder.iterdir())
        if path.suffix != ".csv"
        for found in detect(client, model_id, path)
    ]


def write(path: Path, rows: list[Row]) -> None:
    """The detections as a CSV."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


def stages(events: list[training_service_pb2.TrainingEvent]) -> dict[str, float]:
    """Seconds from the creation to the trainer's acceptance, and so on to the end."""
    times: dict[str, float] = {}
    first = events[0].time.ToMicroseconds() / 1e6
    for event in events:
        kind = event.WhichOneof("kind")
        name = training_service_pb2.NoticeCode.Name(event.notice.code) if kind == "notice" else kind
        seconds = round(event.time.ToMicroseconds() / 1e6 - first, 2)
        if name == "NOTICE_CODE_ACCEPTED":
            times["accepted"] = seconds
        elif name == "NOTICE_CODE_LOADING":
            times["loaded"] = seconds
        elif name == "epoch_completed":
            times.setdefault("first_epoch", seconds)
            times["last_epoch"] = seconds
    times["completed"] = round(events[-1].time.ToMicroseconds() / 1e6 - first, 2)
    return times


def scores(truth: list[Row], found: list[Row]) -> dict[str, Any]:
    """Event-level F1: micro, macro and per type, as the models' own figures are counted."""
    counts: dict[str, Counts] = defaultdict(Counts)
    for name in {row["filename"] for row in (*truth, *found)}:
        for kind in {row["artifact_type"] for row in (*truth, *found)}:
            counts[kind] += event_counts(spans(truth, name, kind), spans(found, name, kind))
    per_type = {kind: counts[kind].figures() for kind in sorted(counts)}
    f1 = {kind: figures.f1_score for kind, figures in per_type.items() if figures.f1_score is not None}
    overall = sum(counts.values(), Counts()).figures().f1_score
    return {
        "event_f1": round(overall or 0, 4),
        "event_f1_macro": round(float(np.mean(list(f1.values()))), 4),
        "event_f1_per_type": {kind: round(value, 4) for kind, value in f1.items()},
    }


def spans(rows: list[Row], filename: str, kind: str) -> np.ndarray:
    """(events, 2) onsets and offsets in ms."""
    chosen = [r for r in rows if r["filename"] == filename and r["artifact_type"] == kind]
    return np.array([(int(r["start_ms"]), int(r["end_ms"])) for r in chosen]).reshape(-1, 2)


if __name__ == "__main__":
    typer.run(main)
