"""Files, training jobs and a detection job on a Ray cluster of this machine, one of whose nodes is killed.

    python -m bench.ray_cluster [--files 1000] [--jobs 3]

Starts its own cluster of a head and three nodes, and a system whose trainer works there. Uploads the files,
trains the jobs and searches the files at the same time. With half of the files uploaded, a node is killed,
and another joins: nothing may be lost or doubled. Prints one line of JSON; exits with 1 if something is.
"""

import asyncio
import json
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from bench.detection.__main__ import UPLOADS_AT_ONCE
from bench.detection.kills import Searched, recordings, searched
from bench.faults.dataset import TrainingData, create_training_data
from bench.faults.drill import GATEWAY, KILLED, TRAINER
from bench.faults.job_validators import no_job_fails, one_end_and_no_stale_writes
from bench.faults.observations import Observations
from bench.faults.search_validators import searches_end_once
from bench.faults.system import System
from bench.faults.tables import Tables, read
from bench.tools.raylets import Raylets, raylets
from bench.training import activate
from earmark.client import Client, connect, upload, wait_until_ready, watch
from earmark.v1 import audio_service_pb2 as audio
from earmark.v1 import dataset_service_pb2
from earmark.v1 import training_service_pb2 as training

NODES = 3
EPOCHS = 100  # more than a job completes before the kill


@dataclass(slots=True)
class Timed:
    """When the parts of the work were done, in seconds from their common start."""

    began: float = field(default_factory=time.monotonic)
    seconds: dict[str, float] = field(default_factory=dict)

    def note(self, part: str) -> None:
        """This part is done."""
        self.seconds[part] = round(time.monotonic() - self.began, 1)


def main(
    *,
    files: Annotated[int, typer.Option(help="How many files are uploaded, and searched by the job.")] = 1000,
    jobs: Annotated[int, typer.Option(help="How many training jobs there are.")] = NODES,
) -> None:
    """Use a Ray cluster, and kill one of its nodes."""
    with tempfile.TemporaryDirectory(prefix="earmark-bench-") as folder, raylets() as cluster:
        Path(folder).chmod(0o755)  # PostgreSQL refuses root, and runs as another user
        figures = asyncio.run(measure(Path(folder), cluster, files, jobs))
    print(json.dumps(figures))
    sys.exit(1 if figures["problems"] else 0)


async def measure(folder: Path, cluster: Raylets, files: int, jobs: int) -> dict[str, Any]:
    """The figures of the work, and what is wrong with it."""
    exits: list[str] = []
    nodes = [await asyncio.to_thread(cluster.add, 1) for _ in range(NODES)]
    settings = {"EXECUTOR": "ray", "RAY_ADDRESS": cluster.address, "PRECOMPILE": "false"}
    trainer = TRAINER | cluster.environment | {f"EARMARK_{name}": value for name, value in settings.items()}
    async with System(folder, exits.append, trainers=1, gateway=GATEWAY | KILLED, trainer=trainer) as system:
        with connect(system.addresses[0]) as client:
            data = await asyncio.to_thread(create_training_data, system.addresses[0], folder / "audio")
            model_id = await asyncio.to_thread(trained, client, data, epochs=20)
            await asyncio.to_thread(activate, client, model_id)
            paths = await asyncio.to_thread(recordings, folder / "recordings", files, 1)
            half, timed, search = threading.Event(), Timed(), Searched()
            work = [
                asyncio.to_thread(processed, client, paths, half, timed),
                asyncio.to_thread(searched, client, model_id, paths, search),
                *(asyncio.to_thread(trained, client, data, epochs=EPOCHS) for _ in range(jobs)),
                asyncio.to_thread(replace, cluster, nodes[0], half, timed),
            ]
            await asyncio.gather(*work)
            timed.note("everything")
        tables = await read(system.postgres.dsn, system.objects)
    search_problems = search.problems(files)
    problems = [*exits, *search_problems, *_job_problems(tables), *_file_problems(tables)]
    lost = sum(
        event.notice.code == training.NOTICE_CODE_TRAINER_LOST
        for events in tables.events.values()
        for event in events
    )
    return {
        "files": files,
        "jobs": jobs,
        "seconds_until": timed.seconds | {"searched": round(search.seconds, 1)},
        "attempts": [job.attempt for job in tables.jobs],
        "attempts_lost": lost,
        "attempts_of_the_search": search.job.attempt,
        "detections": len(search.found),
        "problems": problems,
    }


def trained(client: Client, data: TrainingData, epochs: int) -> str:
    """The id of the model of a new job."""
    request = training.CreateTrainingJobRequest(
        dataset_id=data.dataset_id,
        annotation_set_id=data.set_id,
        config={"artifact_types": data.types, "epochs": epochs, "seed": 1},
    )
    job_id = client.training.CreateTrainingJob(request).training_job.id
    *_, created, _ = watch(client, job_id)
    return created.model_created.model_id


def processed(client: Client, paths: list[Path], half: threading.Event, timed: Timed) -> None:
    """Uploads the files to a dataset of their own, and waits until they are ready. Sets `half` on the way."""
    request = dataset_service_pb2.CreateDatasetRequest(name="files", artifact_types=[{"name": "burst"}])
    dataset_id = client.datasets.CreateDataset(request).dataset.id
    with ThreadPoolExecutor(UPLOADS_AT_ONCE) as threads:
        for number, _ in enumerate(threads.map(partial(upload, client, dataset_id), paths)):
            if number >= len(paths) // 2:
                half.set()
    wait_until_ready(client, dataset_id)
    timed.note("files are ready")


def replace(cluster: Raylets, node_id: str, half: threading.Event, timed: Timed) -> None:
    """Kills the node once `half` is set, and adds another."""
    half.wait()
    cluster.kill(node_id)
    timed.note("a node is killed")
    cluster.add(1)
    timed.note("another has joined")


def _job_problems(tables: Tables) -> Iterator[str]:
    nothing = Observations()
    yield from one_end_and_no_stale_writes(nothing, tables)
    yield from no_job_fails(nothing, tables)
    yield from searches_end_once(nothing, tables)


def _file_problems(tables: Tables) -> Iterator[str]:
    """Every file is ready, became so once, and has features."""
    yield from (
        f"{file.name} is {file.status}: {file.error_message}"
        for file in tables.files
        if file.status != "ready"
    )
    ready = Counter(
        event.audio_file_id
        for event in tables.file_events
        if event.status_changed.to == audio.AUDIO_PROCESSING_STATUS_READY
    )
    if set(ready.values()) != {1} or len(ready) != len(tables.files):
        yield f"{len(tables.files)} files became ready {ready.total()} times"
    features = sum(key.startswith("default/audio/") and key.endswith("/features") for key in tables.objects)
    if features != len(tables.files):
        yield f"{len(tables.files)} files have {features} objects of features"


if __name__ == "__main__":
    typer.run(main)
