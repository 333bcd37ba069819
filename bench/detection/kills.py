"""One detection job of very many files, while processes are killed under it.

    python -m bench.detection.kills [--files 10000] [--seed 1]

Searches the same short recordings three times on a system of two gateways, a trainer and PostgreSQL: in
peace, while a gateway, the trainer and PostgreSQL are killed one after the other, and with a cancellation in
the middle. Nothing may be lost or doubled: the second list is the first, and no watch misses a revision.
Prints one line of JSON; exits with 1 if something is wrong.
"""

import asyncio
import json
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from bench.detection.__main__ import upload
from bench.faults.dataset import RATE, create_training_data, wav
from bench.faults.drill import GATEWAY, KILLED, TRAINER
from bench.faults.system import Postgres, Service, System
from bench.training import activate
from earmark.client import Client, connect, list_detections, watch, watch_detection_job
from earmark.v1 import detection_service_pb2 as pb
from earmark.v1 import training_service_pb2 as training

SECONDS = 0.5
RESTART_SECONDS = 1.0  # for which a killed process stays away
POLL_SECONDS = 0.05
CONFIG = {"threshold": 0.2}

Found = list[tuple[str, int, int, float]]


@dataclass(slots=True)
class Searched:
    """A job as its watcher saw it, and what it found: file, onset, offset and confidence."""

    seconds: float = 0.0
    job: pb.DetectionJob = field(default_factory=pb.DetectionJob)
    revisions: list[int] = field(default_factory=list)
    done: list[int] = field(default_factory=list)
    found: Found = field(default_factory=list)

    def problems(self, files: int) -> Iterator[str]:
        """What is wrong with the events and the figures."""
        if self.revisions != list(range(1, self.job.revision + 1)):
            yield f"the watch has {len(self.revisions)} of {self.job.revision} revisions"
        if self.done != sorted(self.done):
            yield "the number of completed files falls"
        if self.job.failed_files or self.job.total_files != files:
            yield f"{self.job.failed_files} of {self.job.total_files} files failed"
        if len(self.found) != self.job.total_detections:
            yield f"{len(self.found)} of {self.job.total_detections} detections are listed"


def main(
    *,
    files: Annotated[int, typer.Option(help="How many files a job has.")] = 10_000,
    seed: Annotated[int, typer.Option(help="Of the recordings and of the times of the kills.")] = 1,
) -> None:
    """Search very many files while processes are killed."""
    with tempfile.TemporaryDirectory(prefix="earmark-bench-") as folder:
        Path(folder).chmod(0o755)  # PostgreSQL refuses root, and runs as another user
        figures = asyncio.run(measure(Path(folder), files, seed))
    print(json.dumps(figures))
    sys.exit(1 if figures["problems"] else 0)


async def measure(folder: Path, files: int, seed: int) -> dict[str, Any]:
    """The figures of the three jobs."""
    exits: list[str] = []
    trainer = TRAINER | {"EARMARK_AUDIO_PROCESSES": "2"}
    async with System(folder, exits.append, trainers=1, gateway=GATEWAY | KILLED, trainer=trainer) as system:
        with connect(system.addresses[0]) as client:
            model_id = await asyncio.to_thread(trained, client, system.addresses[0], folder)
            paths = await asyncio.to_thread(recordings, folder / "recordings", files, seed)
            search = partial(searched, client, model_id, paths)
            peace = await asyncio.to_thread(search, Searched())
            killed = Searched()
            killing = asyncio.create_task(kill(system, killed, files, random.Random(seed)))
            await asyncio.to_thread(search, killed)
            kills = await killing
            cancelled = await asyncio.to_thread(search, Searched(), cancel_at=files // 2)
    problems = [*peace.problems(files), *killed.problems(files), *exits]
    if killed.found != peace.found:
        problems.append("the job under kills does not find what the one in peace finds")
    if cancelled.job.status != pb.DETECTION_JOB_STATUS_CANCELLED:
        problems.append("the cancelled job is not cancelled")
    return {
        "files": files,
        "seed": seed,
        "kills": kills,
        "attempts": killed.job.attempt,
        "seconds": {"in peace": round(peace.seconds, 1), "under kills": round(killed.seconds, 1)},
        "detections": len(peace.found),
        "events": len(killed.revisions),
        "files_before_the_cancellation": cancelled.job.completed_files,
        "problems": problems,
    }


def trained(client: Client, address: str, folder: Path) -> str:
    """The id of an active model of a tiny network."""
    data = create_training_data(address, folder / "audio")
    request = training.CreateTrainingJobRequest(
        dataset_id=data.dataset_id,
        annotation_set_id=data.set_id,
        config={"artifact_types": data.types, "epochs": 20, "seed": 1},
    )
    job_id = client.training.CreateTrainingJob(request).training_job.id
    *_, created, _ = watch(client, job_id)
    return activate(client, created.model_created.model_id).id


def recordings(folder: Path, count: int, seed: int) -> list[Path]:
    """Short recordings of noise, some with a burst."""
    folder.mkdir()
    rng = np.random.default_rng(seed)
    paths = []
    for number in range(count):
        sound = rng.normal(0, 0.01, round(SECONDS * RATE))
        if number % 2:
            at = rng.integers(0, len(sound) // 2)
            sound[at : at + RATE // 5] += rng.normal(0, 0.3, len(sound[at : at + RATE // 5]))
        path = folder / f"{number:05d}.wav"
        path.write_bytes(wav(sound))
        paths.append(path)
    return paths


def searched(
    client: Client, model_id: str, paths: list[Path], result: Searched, cancel_at: int | None = None
) -> Searched:
    """Searches the files by one job, and cancels it once `cancel_at` files are completed."""
    request = pb.CreateDetectionJobRequest(
        model_id=model_id, recording_ids=list(upload(client, paths)), config=CONFIG
    )
    began = time.monotonic()
    job_id = client.detection.CreateDetectionJob(request).detection_job.id
    for event in watch_detection_job(client, job_id):
        result.revisions.append(event.revision)
        if event.HasField("progress"):
            result.done.append(event.progress.completed_files)
            if cancel_at is not None and result.done[-1] >= cancel_at:
                client.detection.CancelDetectionJob(pb.CancelDetectionJobRequest(detection_job_id=job_id))
                cancel_at = None
    result.seconds = time.monotonic() - began
    get = pb.GetDetectionJobRequest(detection_job_id=job_id)
    result.job = client.detection.GetDetectionJob(get).detection_job
    result.found = [
        (each.filename, each.detection.start_ms, each.detection.end_ms, each.detection.confidence)
        for each in list_detections(client, job_id)
    ]
    return result


async def kill(system: System, search: Searched, files: int, rng: random.Random) -> list[str]:
    """Kills the watched gateway, the trainer and PostgreSQL in turn. Returns their names."""
    targets: list[Service | Postgres] = [system.gateways[0], *system.trainers, system.postgres]
    rng.shuffle(targets)
    for number, target in enumerate(targets):
        least = 0.9 * files * (number + rng.random()) / len(targets)
        while not search.done or search.done[-1] < least:  # noqa: ASYNC110 - a thread adds to the list
            await asyncio.sleep(POLL_SECONDS)
        await target.kill()
        await asyncio.sleep(RESTART_SECONDS)
        await target.start()
    return [target.name for target in targets]


if __name__ == "__main__":
    typer.run(main)
