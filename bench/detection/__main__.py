"""Measures detection jobs end to end.

    python -m bench.detection --train DIR --test DIR [--minutes 60] [--peer PYTHON_WITH_ESSENTIA]

DIR contains audio files and annotations.csv, see bench.tools.folder. Trains a model on its own system, cuts
the test recordings into files of 20 s, and searches them by detection jobs, after one that only warms up.
Prints one line of JSON for each form of the files, which bench/README.md describes.
"""

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import typer

from bench.detection.files import FORMS, PIECE_SECONDS, make
from bench.detection.stages import profile, shares, system_cpu_seconds
from bench.tools.folder import Row, annotations, audio, publish_annotations, upload_folder
from bench.tools.processes import peak_memory_mib
from bench.tools.scores import scores
from bench.training import Task, activate, system, train_model
from earmark.client import Client, connect, list_detections, upload_recording, watch_detection_job
from earmark.v1 import detection_service_pb2 as pb

UPLOADS_AT_ONCE = 8
WARM_FILES = 20


def main(
    *,
    train: Annotated[Path, typer.Option(help="Folder to train on.")],
    test: Annotated[Path, typer.Option(help="Folder to detect in.")],
    minutes: Annotated[float, typer.Option(help="How much audio to search.")] = 60.0,
    epochs: Annotated[int | None, typer.Option(help="Of the training [20].")] = None,
    peer: Annotated[Path | None, typer.Option(help="A Python with Essentia, to run beside.")] = None,
) -> None:
    """Measure detection jobs."""
    with system(None) as address, connect(address) as client:
        model_id = trained(client, train, epochs)
        for form in FORMS:
            with tempfile.TemporaryDirectory(prefix="earmark-bench-") as name:
                folder = Path(name)
                truth = make(test, folder, form, minutes)
                figures = measure(client, model_id, folder, truth) | {"files": form.name}
                if peer is not None:
                    figures["essentia"] = of_peer(peer, folder, truth)
            print(json.dumps(figures | {"peak_memory_mib": peak_memory_mib()}), flush=True)


def trained(client: Client, folder: Path, epochs: int | None) -> str:
    """The id of an active model, trained on the folder."""
    truth = annotations(folder)
    dataset = upload_folder(client, folder, tuple(sorted({row["artifact_type"] for row in truth})))
    config = {"seed": 1} | ({"epochs": epochs} if epochs else {})
    task = Task(dataset, publish_annotations(client, dataset, truth), config, folder, folder)
    return activate(client, train_model(client, task)[0].model_id).id


def measure(client: Client, model_id: str, folder: Path, truth: list[Row]) -> dict[str, Any]:
    """The figures of one job over the folder's files."""
    files = audio(folder)
    run(client, model_id, upload(client, files[:WARM_FILES]))
    began = time.perf_counter()
    recordings = upload(client, files)
    uploaded, used_before = time.perf_counter(), system_cpu_seconds()
    job = run(client, model_id, recordings)
    completed, used = time.perf_counter(), system_cpu_seconds() - used_before
    rows = [_row(each) for each in list_detections(client, job.id)]
    listed = time.perf_counter()
    seconds = len(files) * PIECE_SECONDS
    return {
        "hours": round(seconds / 3600, 2),
        "seconds_uploading": round(uploaded - began, 2),
        "seconds_searching": round(completed - uploaded, 2),
        "seconds_listing": round(listed - completed, 2),
        "times_real_time": round(seconds / (completed - uploaded), 1),
        "times_real_time_with_upload": round(seconds / (listed - began), 1),
        "failed_files": job.failed_files,
        "stages_percent": shares(
            len(files),
            completed - uploaded,
            used,
            profile(client, model_id, files),
            len(os.sched_getaffinity(0)),
        ),
        **_scores(truth, rows, files),
    }


def upload(client: Client, files: list[Path]) -> dict[str, Path]:
    """Uploads the files; returns them by the id of their recording."""
    with ThreadPoolExecutor(UPLOADS_AT_ONCE) as threads:
        ids = threads.map(lambda path: upload_recording(client, path).id, files)
        return dict(zip(ids, files, strict=True))


def run(client: Client, model_id: str, recordings: Mapping[str, Path]) -> pb.DetectionJob:
    """Runs a job to its end and returns it."""
    request = pb.CreateDetectionJobRequest(model_id=model_id, recording_ids=recordings)
    job_id = client.detection.CreateDetectionJob(request).detection_job.id
    for _ in watch_detection_job(client, job_id):
        pass
    get = pb.GetDetectionJobRequest(detection_job_id=job_id)
    job: pb.DetectionJob = client.detection.GetDetectionJob(get).detection_job
    if job.status != pb.DETECTION_JOB_STATUS_COMPLETED:
        raise SystemExit(f"the detection job failed: {job.error.message}")
    return job


def of_peer(python: Path, folder: Path, truth: list[Row]) -> dict[str, Any]:
    """What Essentia's detectors find in the same files, of the types that they have, and how fast."""
    command = [python, Path(__file__).with_name("peer.py"), folder]
    reply = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    keys = ("filename", "artifact_type", "start_ms", "end_ms")
    rows = [dict(zip(keys, map(str, row), strict=True)) for row in reply["rows"]]
    files = audio(folder)
    figures = _scores([row for row in truth if row["artifact_type"] in reply["types"]], rows, files)
    seconds = len(files) * PIECE_SECONDS
    return {"times_real_time": round(seconds / reply["seconds"], 1), **figures}


def _scores(truth: list[Row], rows: list[Row], files: list[Path]) -> dict[str, Any]:
    durations = {path.name: 1000 * PIECE_SECONDS for path in files}
    figures = scores(truth, rows, durations)
    return {key: figures[key] for key in ("event_f1", "event_f1_macro", "event_f1_per_type")}


def _row(found: pb.JobDetection) -> Row:
    detection = found.detection
    return {
        "filename": found.filename,
        "artifact_type": detection.artifact_type,
        "start_ms": str(detection.start_ms),
        "end_ms": str(detection.end_ms),
        "confidence": f"{detection.confidence:.3f}",
    }


if __name__ == "__main__":
    typer.run(main)
