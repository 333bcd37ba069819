"""Rows to work on, put there without the work of making real audio."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from earmark.v1 import metrics_pb2
from earmark.v1.training_config_pb2 import TrainingConfig
from uuid_utils.compat import uuid7

from gateway.caller import DEFAULT_TENANT
from gateway.convert import values
from gateway.convert.event_bodies import notice
from gateway.convert.training import config_with_defaults
from gateway.watching import topics
from storage.bus import Bus
from storage.database import Connection, Database
from storage.queries import datasets, training
from storage.records import ArtifactType

TYPES = ("glitch", "dropout")
EPOCHS = 20
FILE_MS = 60_000
APART_MS, LONG_MS = 500, 200
# The jobs here are nobody's: their leases outlast the run.
LEASE_SECONDS = 86_400
LOADED = "30 files, 1234.5 s of audio"


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset that jobs can be created on."""

    id: UUID
    annotation_set_id: UUID


async def dataset(connection: Connection, *, files: int, annotations_per_file: int) -> Dataset:
    """With a published set; no audio lies behind it. To be called in a transaction."""
    made = Dataset(uuid7(), uuid7())
    types = [ArtifactType(name, "", "#FF0000") for name in TYPES]
    await datasets.create(connection, DEFAULT_TENANT, made.id, "load", "", types)
    file_ids = [uuid7() for _ in range(files)]
    await _add_files(connection, made, file_ids)
    await _add_set(connection, made, files * annotations_per_file)
    await _annotate(connection, made, file_ids, annotations_per_file)
    return made


async def _add_files(connection: Connection, made: Dataset, file_ids: list[UUID]) -> None:
    columns = (
        "id tenant_id dataset_id original_filename content_type size_bytes sha256 duration_ms sample_rate_hz"
        " channels processing_status revision"
    )
    facts = (FILE_MS, 16_000, 1, "ready")
    rows = [
        (id_, DEFAULT_TENANT, made.id, f"{number}.wav", "audio/wav", 1, f"{number:064x}", *facts, number)
        for number, id_ in enumerate(file_ids, start=1)
    ]
    await connection.copy_records_to_table("audio_files", columns=columns.split(), records=rows)


async def _add_set(connection: Connection, made: Dataset, annotations: int) -> None:
    count = annotations // len(TYPES)
    await connection.execute(
        "INSERT INTO annotation_sets (id, tenant_id, dataset_id, version, status, published_at, totals)"
        " VALUES ($1, $2, $3, 1, 'published', now(), $4)",
        *(made.annotation_set_id, DEFAULT_TENANT, made.id),
        {name: {"count": count, "duration_ms": LONG_MS * count} for name in TYPES},
    )


async def _annotate(connection: Connection, made: Dataset, file_ids: list[UUID], each: int) -> None:
    columns = (
        "id tenant_id annotation_set_id audio_file_id dataset_id artifact_type start_ms end_ms confidence"
    )
    owners = (DEFAULT_TENANT, made.annotation_set_id)
    marks = [
        (TYPES[number % len(TYPES)], APART_MS * number, APART_MS * number + LONG_MS, 1.0)
        for number in range(each)
    ]
    rows = [(uuid7(), *owners, file_id, made.id, *mark) for file_id in file_ids for mark in marks]
    await connection.copy_records_to_table("annotations", columns=columns.split(), records=rows)


async def job(connection: Connection, on: Dataset) -> UUID:
    """A job in its first attempt, without events, that no gateway runs."""
    job_id = uuid7()
    await connection.execute(
        "INSERT INTO training_jobs (id, tenant_id, dataset_id, annotation_set_id, config, metadata, metrics,"
        " total_epochs, status, attempt, lease_until, started_at, current_epoch, best_epoch, progress)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'training', 1, now() + make_interval(secs => $9), now(),"
        " 7, 6, 0.35)",
        *(job_id, DEFAULT_TENANT, on.id, on.annotation_set_id, _config(), {"team": "load"}),
        *(values.to_json(_metrics()), EPOCHS, LEASE_SECONDS),
    )
    return job_id


async def record(database: Database, bus: Bus, job_id: UUID) -> int:
    """The revision of a new event, when it is committed and the bus has been told."""
    async with database.transaction() as connection:
        held = await training.lock_attempt(connection, job_id, 1)
        assert held
        event = notice("LOADING", LOADED)
        advanced = await training.advance(connection, job_id, 1, held.revision, LEASE_SECONDS, event)
    assert advanced
    bus.publish(*topics.of_job(DEFAULT_TENANT, job_id))
    return advanced.revision


def _config() -> dict[str, Any]:
    return values.to_json(config_with_defaults(TrainingConfig(artifact_types=TYPES, epochs=EPOCHS, seed=7)))


def _metrics() -> metrics_pb2.EvalMetrics:
    """As large as those of a job that learns so many types are."""
    figures = metrics_pb2.Figures(precision=0.91, recall=0.87, f1_score=2 / 3, support=241)
    of_type = metrics_pb2.TypeMetrics(
        precision=0.91,
        recall=0.87,
        f1_score=2 / 3,
        support=120,
        chunk=figures,
        average_precision=0.93,
        best_threshold=0.47,
        segment=figures,
    )
    return metrics_pb2.EvalMetrics(
        overall=figures,
        per_type=dict.fromkeys(TYPES, of_type),
        macro_f1_score=2 / 3,
        chunk=figures,
        segment=figures,
    )
