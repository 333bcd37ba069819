"""Inserts datasets, jobs and events directly, without real audio."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from uuid_utils.compat import uuid7

from earmark.gateway.caller import DEFAULT_TENANT
from earmark.gateway.convert import values
from earmark.gateway.convert.event_bodies import notice
from earmark.gateway.convert.training import config_with_defaults
from earmark.gateway.watching import topics
from earmark.storage.bus import Bus
from earmark.storage.database import Connection, Database
from earmark.storage.queries import datasets, training
from earmark.storage.records import ArtifactType
from earmark.v1 import metrics_pb2
from earmark.v1.training_config_pb2 import TrainingConfig

TYPES = ("glitch", "dropout")
EPOCHS = 20
FILE_MS = 60_000
PERIOD_MS, EVENT_MS = 500, 200
# No gateway renews the leases of these jobs, so they must not end during the run.
LEASE_SECONDS = 500  # longer than a measurement; ten minutes or more count as a clock that went back
LOADING_MESSAGE = "30 files, 1234.5 s of audio"


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset that jobs can be created on."""

    id: UUID
    annotation_set_id: UUID


async def insert_dataset(
    connection: Connection, *, files: int, annotations_per_file: int, tenant: str = DEFAULT_TENANT
) -> Dataset:
    """Inserts a dataset without audio, with a published set. Must be called in a transaction."""
    dataset = Dataset(uuid7(), uuid7())
    # COPY FROM is not for those whom row-level security binds.
    await connection.execute("SET LOCAL ROLE NONE")
    types = [ArtifactType(name, "", "#FF0000") for name in TYPES]
    await datasets.create(connection, tenant, dataset.id, "load", "", types)
    file_ids = [uuid7() for _ in range(files)]
    await _insert_files(connection, dataset, file_ids, tenant)
    await _insert_set(connection, dataset, files * annotations_per_file, tenant)
    await _insert_annotations(connection, dataset, file_ids, annotations_per_file, tenant)
    return dataset


async def _insert_files(connection: Connection, dataset: Dataset, file_ids: list[UUID], tenant: str) -> None:
    columns = (
        "id tenant_id dataset_id original_filename content_type size_bytes sha256 duration_ms sample_rate_hz"
        " channels processing_status revision"
    )
    facts = (FILE_MS, 16_000, 1, "ready")
    rows = [
        (id_, tenant, dataset.id, f"{number}.wav", "audio/wav", 1, f"{number:064x}", *facts, number)
        for number, id_ in enumerate(file_ids, start=1)
    ]
    await connection.copy_records_to_table("audio_files", columns=columns.split(), records=rows)
    update = "UPDATE datasets SET audio_revision = $2 WHERE id = $1"
    await connection.execute(update, dataset.id, len(rows))


async def _insert_set(connection: Connection, dataset: Dataset, annotations: int, tenant: str) -> None:
    count = annotations // len(TYPES)
    await connection.execute(
        "INSERT INTO annotation_sets (id, tenant_id, dataset_id, version, status, published_at, totals)"
        " VALUES ($1, $2, $3, 1, 'published', now(), $4)",
        *(dataset.annotation_set_id, tenant, dataset.id),
        {name: {"count": count, "duration_ms": EVENT_MS * count} for name in TYPES},
    )


async def _insert_annotations(
    connection: Connection, dataset: Dataset, file_ids: list[UUID], per_file: int, tenant: str
) -> None:
    columns = (
        "id tenant_id annotation_set_id audio_file_id dataset_id artifact_type start_ms end_ms confidence"
    )
    owners = (tenant, dataset.annotation_set_id)
    events = [
        (TYPES[number % len(TYPES)], PERIOD_MS * number, PERIOD_MS * number + EVENT_MS, 1.0)
        for number in range(per_file)
    ]
    rows = [(uuid7(), *owners, file_id, dataset.id, *event) for file_id in file_ids for event in events]
    await connection.copy_records_to_table("annotations", columns=columns.split(), records=rows)


async def insert_job(connection: Connection, dataset: Dataset, *, tenant: str = DEFAULT_TENANT) -> UUID:
    """Inserts a job in its first attempt, without events, that no gateway runs."""
    job_id = uuid7()
    await connection.execute(
        "INSERT INTO training_jobs (id, tenant_id, dataset_id, annotation_set_id, config, metadata, metrics,"
        " total_epochs, status, attempt, lease_until, started_at, current_epoch, best_epoch, progress)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'training', 1, now() + make_interval(secs => $9), now(),"
        " 7, 6, 0.35)",
        *(job_id, tenant, dataset.id, dataset.annotation_set_id, _config(), {"team": "load"}),
        *(values.to_json(_metrics()), EPOCHS, LEASE_SECONDS),
    )
    return job_id


async def record_event(database: Database, bus: Bus, job_id: UUID) -> int:
    """Commits a new event of the job and publishes it on the bus. Returns its revision."""
    async with database.transaction() as connection:
        locked = await training.JOBS.lock_attempt(connection, job_id, 1)
        assert locked
        event = notice("LOADING", LOADING_MESSAGE)
        advanced = await training.advance(connection, job_id, 1, locked.revision, LEASE_SECONDS, event)
    assert advanced
    bus.publish(topics.events(DEFAULT_TENANT))
    return advanced.revision


def _config() -> dict[str, Any]:
    return values.to_json(config_with_defaults(TrainingConfig(artifact_types=TYPES, epochs=EPOCHS, seed=7)))


def _metrics() -> metrics_pb2.EvalMetrics:
    """Metrics as large as those of a real job with these types."""
    figures = metrics_pb2.DetectionFigures(precision=0.91, recall=0.87, f1_score=2 / 3, support=241)
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
