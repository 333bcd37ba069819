"""Deletions for good. What is deleted together is found and locked first, and then deleted in one place.

A removal begins with its target, which the caller has locked: the dataset's row for a dataset, its files and
its published sets; otherwise the target's own row.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from earmark.storage import sql
from earmark.storage.database import Connection
from earmark.storage.queries import detection_jobs, orphans

SQL = sql.load("deletions")


@dataclass(frozen=True, slots=True)
class Removal:
    """The ids of the rows that are deleted together. Annotations belong to sets and files.

    `published_set_ids`: those of the sets that are published, or that lose the annotations of a deleted file.
    """

    dataset_ids: Sequence[UUID] = ()
    audio_file_ids: Sequence[UUID] = ()
    set_ids: Sequence[UUID] = ()
    published_set_ids: Sequence[UUID] = ()
    job_ids: Sequence[UUID] = ()
    model_ids: Sequence[UUID] = ()
    # The aliases of the models.
    aliases: Sequence[str] = ()


async def of_dataset(connection: Connection, dataset_id: UUID) -> Removal:
    sets = await connection.fetch(SQL["sets_of_dataset"], dataset_id)
    job_ids = await _ids(connection, SQL["jobs"], dataset_id, None)
    model_ids = await _ids(connection, SQL["models_of_jobs"], job_ids)
    return Removal(
        dataset_ids=[dataset_id],
        audio_file_ids=await _ids(connection, SQL["files_of_dataset"], dataset_id),
        set_ids=[row["id"] for row in sets],
        published_set_ids=[row["id"] for row in sets if row["status"] == "published"],
        job_ids=job_ids,
        model_ids=model_ids,
        aliases=await _aliases(connection, model_ids),
    )


async def of_file(connection: Connection, dataset_id: UUID, audio_file_id: UUID) -> Removal:
    """Published sets lose the file's annotations, but are not deleted."""
    published = await _ids(connection, SQL["sets_with_file"], dataset_id, audio_file_id)
    return Removal(audio_file_ids=[audio_file_id], published_set_ids=published)


async def of_set(connection: Connection, dataset_id: UUID, set_id: UUID, *, is_published: bool) -> Removal:
    job_ids = await _ids(connection, SQL["jobs"], dataset_id, set_id) if is_published else []
    model_ids = await _ids(connection, SQL["models_of_jobs"], job_ids)
    return Removal(
        set_ids=[set_id],
        published_set_ids=[set_id] if is_published else [],
        job_ids=job_ids,
        model_ids=model_ids,
        aliases=await _aliases(connection, model_ids),
    )


async def of_job(connection: Connection, job_id: UUID) -> Removal:
    model_ids = await _ids(connection, SQL["models_of_jobs"], [job_id])
    return Removal(job_ids=[job_id], model_ids=model_ids, aliases=await _aliases(connection, model_ids))


async def of_model(connection: Connection, model_id: UUID) -> Removal:
    """The job stays, and still names the model that it produced."""
    return Removal(model_ids=[model_id], aliases=await _aliases(connection, [model_id]))


async def unfinished_jobs(
    connection: Connection, tenant_id: str, removal: Removal, dataset_id: UUID | None = None
) -> list[UUID]:
    """The unfinished jobs that the removal would break. `dataset_id`: set if they train on its files."""
    models = [str(model_id) for model_id in removal.model_ids]
    return await _ids(connection, SQL["unfinished_jobs"], tenant_id, removal.job_ids, dataset_id, models)


async def unfinished_searches(connection: Connection, tenant_id: str, removal: Removal) -> list[UUID]:
    """The unfinished detection jobs that the removal would break, since they search with its models."""
    return await detection_jobs.unfinished_of_models(connection, tenant_id, removal.model_ids)


async def delete(connection: Connection, tenant_id: str, removal: Removal, caller: str) -> dict[str, int]:
    """Deletes the rows and returns their numbers by resource type. Every deletion for good passes here.

    The foreign keys determine the order. A sweep deletes the objects. `caller`: who removes the aliases.
    """
    await connection.execute(SQL["delete_attempts"], removal.job_ids)
    await connection.execute(SQL["unsweep_jobs"], removal.model_ids)
    await connection.execute(SQL["remove_aliases"], removal.model_ids, caller)
    await connection.execute(SQL["delete_models"], removal.model_ids)
    await connection.execute(SQL["delete_jobs"], removal.job_ids)
    annotations = await _delete_annotations(connection, removal)
    await connection.execute(SQL["delete_sets"], removal.set_ids)
    await connection.execute(SQL["draw_revisions"], removal.audio_file_ids)
    await connection.execute(SQL["lock_results"], removal.audio_file_ids)
    await connection.execute(SQL["delete_files"], removal.audio_file_ids)
    await connection.execute(SQL["delete_datasets"], removal.dataset_ids)
    await orphans.add_deleted(connection, "audio_file", tenant_id, removal.audio_file_ids)
    await orphans.add_deleted(connection, "training_job", tenant_id, removal.job_ids)
    counts = Counter(
        dataset=len(removal.dataset_ids),
        audio_file=len(removal.audio_file_ids),
        annotation_set=len(removal.set_ids),
        annotation=annotations,
        training_job=len(removal.job_ids),
        model=len(removal.model_ids),
        model_alias=len(removal.aliases),
    )
    return dict(+counts)


async def _delete_annotations(connection: Connection, removal: Removal) -> int:
    row = await connection.fetchrow(SQL["delete_annotations"], removal.set_ids, removal.audio_file_ids)
    await connection.execute(SQL["recount_sets"], list(set(row["set_ids"]) - set(removal.set_ids)))
    number: int = row["number"]
    return number


async def _aliases(connection: Connection, model_ids: Sequence[UUID]) -> list[str]:
    return [row["alias"] for row in await connection.fetch(SQL["aliases"], model_ids)]


async def _ids(connection: Connection, query: str, *arguments: object) -> list[UUID]:
    return [row["id"] for row in await connection.fetch(query, *arguments)]
