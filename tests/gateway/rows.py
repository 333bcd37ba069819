"""Inserts the rows that a test starts from, without real audio."""

from dataclasses import dataclass
from uuid import UUID

from uuid_utils.compat import uuid7

from earmark.storage.database import Connection
from earmark.storage.queries import datasets
from earmark.storage.records import ArtifactType

TENANT = "default"
MINUTE_MS = 60_000


@dataclass
class Built:
    dataset_id: UUID
    annotation_set_id: UUID
    audio_file_ids: list[UUID]


async def dataset(
    connection: Connection,
    *,
    types: tuple[str, ...] = ("glitch", "dropout"),
    files: int = 3,
    minutes: float = 2.0,
    audio_status: str = "ready",
    set_status: str = "published",
    annotated: tuple[str, ...] | None = None,
    tenant: str = TENANT,
    frontends: tuple[str, ...] = ("",),
) -> Built:
    """Inserts a dataset of `files` files of `minutes` each.

    Every file has one annotation of each `annotated` type. Features are of the `frontends` in turn.
    """
    dataset_id = uuid7()
    defined = [ArtifactType(name, "", "#FF0000") for name in types]
    await datasets.create(connection, tenant, dataset_id, "calls", "", defined)
    built = Built(dataset_id, uuid7(), [uuid7() for _ in range(files)])
    for number, audio_file_id in enumerate(built.audio_file_ids):
        await connection.execute(
            "INSERT INTO audio_files (id, tenant_id, dataset_id, original_filename, content_type, size_bytes,"
            " sha256, duration_ms, sample_rate_hz, channels, processing_status, revision,"
            " frontend)"
            " VALUES ($1, $2, $3, $4, 'audio/wav', 1, $5, $6, 16000, 1, $7, $8, $9)",
            *(audio_file_id, tenant, dataset_id, f"{number}.wav", f"{number:064x}"),
            *(round(minutes * MINUTE_MS), audio_status, number + 1, frontends[number % len(frontends)]),
        )
    await connection.execute("UPDATE datasets SET audio_revision = $2 WHERE id = $1", dataset_id, files)
    await connection.execute(
        "INSERT INTO annotation_sets (id, tenant_id, dataset_id, version) VALUES ($1, $2, $3, 1)",
        *(built.annotation_set_id, tenant, dataset_id),
    )
    for audio_file_id in built.audio_file_ids:
        for name in types if annotated is None else annotated:
            await connection.execute(
                "INSERT INTO annotations (id, tenant_id, annotation_set_id, audio_file_id, dataset_id,"
                " artifact_type, start_ms, end_ms, confidence)"
                " VALUES ($1, $2, $3, $4, $5, $6, 100, 300, 0.75)",
                *(uuid7(), tenant, built.annotation_set_id, audio_file_id, dataset_id, name),
            )
    if set_status == "published":
        names = types if annotated is None else annotated
        await connection.execute(
            "UPDATE annotation_sets SET status = 'published', published_at = now(), totals = $2"
            " WHERE id = $1",
            built.annotation_set_id,
            {name: {"count": files, "duration_ms": 200 * files} for name in names},
        )
    return built
