"""What the neighbour and the abuser work on."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from uuid_utils.compat import uuid7

from bench.faults.dataset import FILE_SECONDS, KIND, TrainingData, bursts, create_training_data
from bench.neighbour.system import System, vacuum
from earmark.client import connect, upload
from earmark.gateway.caller import DEFAULT_TENANT
from earmark.storage.database import Database
from earmark.v1 import dataset_service_pb2 as datasets_pb
from earmark.v1 import model_service_pb2 as models_pb
from earmark.v1 import training_service_pb2 as training_pb

COPIED, MILLION = 400_000, 1_000_000
ANNOTATION_MS = 100
DOWNLOADED_BYTES = 8 << 20

_ANNOTATE = """
INSERT INTO annotations
    (id, tenant_id, annotation_set_id, audio_file_id, dataset_id, artifact_type, start_ms, end_ms, confidence)
SELECT gen_random_uuid(), $1, $2, $3, $4, $5, onset, onset + $6, 1
FROM (SELECT number % $8 AS onset FROM generate_series(1, $7::int) AS number) AS onsets
"""


@dataclass(frozen=True, slots=True)
class Target:
    """The abuser's own resources, by their ids. The process of the abuser gets them as JSON."""

    dataset_id: str
    draft_id: str
    copied_id: str
    million_id: str
    file_id: str
    # Where files go that harm.
    bin_id: str
    model_id: str


@dataclass(frozen=True, slots=True)
class Data:
    """The neighbour's dataset and model, and the abuser's target."""

    neighbour: TrainingData
    # Of the neighbour too: jobs train on no dataset with files in work.
    uploads_id: str
    model_id: str
    target: Target


async def create(system: System) -> Data:
    """Uploads, trains a model, and fills the abuser's large sets."""
    address = system.gateway.address
    neighbour = await asyncio.to_thread(create_training_data, address, system.folder / "neighbour")
    abuser = await asyncio.to_thread(create_training_data, address, system.folder / "abuser")
    model_id = await asyncio.to_thread(_train, address, neighbour)
    uploads_id, bin_id = [await asyncio.to_thread(_create_dataset, address) for _ in range(2)]
    file_id = await asyncio.to_thread(_upload_bytes, address, bin_id, system.folder / "bytes.wav")
    draft, copied, million = [
        await _insert_set(system.database, abuser, version, count)
        for version, count in enumerate((0, COPIED, MILLION), start=2)
    ]
    target = Target(abuser.dataset_id, draft, copied, million, file_id, bin_id, model_id)
    await vacuum(system.database)
    return Data(neighbour, uploads_id, model_id, target)


def _train(address: str, data: TrainingData) -> str:
    """The id of a model that detects nothing useful."""
    request = training_pb.CreateTrainingJobRequest(
        dataset_id=data.dataset_id,
        annotation_set_id=data.set_id,
        config={"artifact_types": data.types, "epochs": 1, "seed": 1},
    )
    with connect(address) as client:
        job = client.training.CreateTrainingJob(request).training_job
        watch = training_pb.WatchTrainingJobRequest(training_job_id=job.id)
        for _ in client.training.WatchTrainingJob(watch):
            pass
        done = training_pb.GetTrainingJobRequest(training_job_id=job.id)
        model_id: str = client.training.GetTrainingJob(done).training_job.model_id
        activate = models_pb.UpdateModelRequest(
            model={"id": model_id, "is_active": True}, update_mask={"paths": ["is_active"]}
        )
        client.models.UpdateModel(activate)
        return model_id


def _create_dataset(address: str) -> str:
    """The id of an empty dataset."""
    request = datasets_pb.CreateDatasetRequest(name="uploads", artifact_types=[{"name": KIND}])
    with connect(address) as client:
        return client.datasets.CreateDataset(request).dataset.id


def _upload_bytes(address: str, dataset_id: str, path: Path) -> str:
    """A file to download. It is no audio."""
    path.write_bytes(bytes(DOWNLOADED_BYTES))
    with connect(address) as client:
        return upload(client, dataset_id, path).id


async def _insert_set(database: Database, data: TrainingData, version: int, count: int) -> str:
    """A set with `count` annotations on one file: a draft if there are none."""
    set_id, status = uuid7(), "published" if count else "draft"
    async with database.transaction() as connection:
        await connection.execute("SET LOCAL ROLE NONE")
        # The rows are right: without checks of their references they are inserted in a third of the time.
        await connection.execute("SET LOCAL session_replication_role = replica")
        await connection.execute("SET LOCAL statement_timeout = 0")
        await connection.execute(
            "INSERT INTO annotation_sets (id, tenant_id, dataset_id, version, status, published_at, totals)"
            " VALUES ($1, $2, $3, $4, $5::text, CASE WHEN $5 = 'published' THEN now() END, $6)",
            *(set_id, DEFAULT_TENANT, UUID(data.dataset_id), version, status),
            {KIND: {"count": count, "duration_ms": ANNOTATION_MS * count}} if count else None,
        )
        ids = (DEFAULT_TENANT, set_id, UUID(data.file_ids[0]), UUID(data.dataset_id), KIND)
        last = FILE_SECONDS * 1000 - ANNOTATION_MS
        await connection.execute(_ANNOTATE, *ids, ANNOTATION_MS, count, last, timeout=120)
    return str(set_id)


def short_recording(seed: int) -> bytes:
    """A WAV of a second."""
    return bursts(1, seed)[0]
