"""Rows of another tenant, of every kind, of which no client may see anything."""

from dataclasses import astuple, dataclass

from uuid_utils.compat import uuid7

from earmark.storage.database import Database
from earmark.storage.queries import datasets
from earmark.storage.records import ArtifactType

TENANT = "other"
SECRET = "secret of the other tenant"


@dataclass(frozen=True, slots=True)
class OtherTenant:
    """The ids of the other tenant's rows."""

    dataset_id: str
    file_id: str
    set_id: str
    job_id: str
    model_id: str

    @property
    def secrets(self) -> frozenset[str]:
        """Texts that must not occur in any reply to the drill's clients."""
        return frozenset((SECRET, *astuple(self)))


async def insert(dsn: str) -> OtherTenant:
    """Inserts a dataset with a file, a published annotation set, and a completed job with its model."""
    dataset_id, file_id, set_id, job_id, model_id = ids = [uuid7() for _ in range(5)]
    async with Database(dsn) as database, database.transaction() as connection:
        kind = ArtifactType(SECRET, "", "#FF0000")
        await datasets.create(connection, TENANT, dataset_id, SECRET, SECRET, [kind])
        await connection.execute(
            "INSERT INTO audio_files (id, tenant_id, dataset_id, original_filename, content_type, size_bytes,"
            " sha256, duration_ms, sample_rate_hz, channels, processing_status, revision)"
            " VALUES ($1, $2, $3, $4, '', 1, '', 600000, 8000, 1, 'ready', 1)",
            *(file_id, TENANT, dataset_id, SECRET),
        )
        await connection.execute(
            "INSERT INTO annotation_sets (id, tenant_id, dataset_id, version, status, totals, published_at)"
            " VALUES ($1, $2, $3, 1, 'published', '{}', now())",
            *(set_id, TENANT, dataset_id),
        )
        await connection.execute(
            "INSERT INTO annotations (id, tenant_id, annotation_set_id, audio_file_id, dataset_id,"
            " artifact_type, start_ms, end_ms, confidence) VALUES ($1, $2, $3, $4, $5, $6, 0, 1, 1)",
            *(uuid7(), TENANT, set_id, file_id, dataset_id, SECRET),
        )
        await connection.execute(
            "INSERT INTO training_jobs (id, tenant_id, dataset_id, annotation_set_id, config, metadata,"
            " status, total_epochs, model_id, finished_at, attempt, revision)"
            " VALUES ($1, $2, $3, $4, $5, $6, 'completed', 1, $7, now(), 1, 1)",
            *(job_id, TENANT, dataset_id, set_id, {"artifact_types": [SECRET]}, {SECRET: SECRET}, model_id),
        )
        await connection.execute(
            "INSERT INTO events"
            " (tenant_id, resource, resource_id, dataset_id, kind, status, attempt, revision, body)"
            " VALUES ($1, 'training_job', $2, $3, 'notice', 'completed', 1, 1, $4)",
            *(TENANT, job_id, dataset_id, {"notice": {"message": SECRET}}),
        )
        await connection.execute(
            "INSERT INTO models (id, tenant_id, training_job_id, dataset_id, name, name_key, artifact_types,"
            " eval_metrics, recommended_thresholds, merge_windows_ms, min_durations_ms, weights,"
            " model_config, size_bytes, sha256, config, best_epoch, annotation_set_id,"
            " annotation_set_version, audio_file_count, audio_duration_ms, earmark_version, frontend_version)"
            " VALUES ($1, $2, $3, $4, $5, $5, $6, '{}', '{}', '{}', '{}', '', '', 1, '', '{}', 1, $7, 1, 1,"
            " 1, '', '')",
            *(model_id, TENANT, job_id, dataset_id, SECRET, [SECRET], set_id),
        )
    return OtherTenant(*map(str, ids))
