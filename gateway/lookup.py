"""Rows of the caller's tenant by id or alias. Each function raises NotFoundError if there is no such row."""

from collections.abc import Collection
from typing import TypeVar
from uuid import UUID

from earmark.gateway.caller import tenant
from earmark.gateway.errors import NotFoundError, ResourceType
from earmark.storage.database import Connection
from earmark.storage.queries import (
    annotations,
    audio,
    datasets,
    detection_jobs,
    model_aliases,
    models,
    training,
)
from earmark.storage.queries.annotations import LockedSet
from earmark.storage.records import (
    Annotation,
    AnnotationSet,
    AudioFile,
    Dataset,
    DetectionJob,
    Model,
    ModelAlias,
    TrainingJob,
)

Row = TypeVar("Row")
# How many similar aliases an error names.
NEARBY = 3


async def dataset(connection: Connection, dataset_id: UUID) -> Dataset:
    return _existing(await datasets.get(connection, tenant(), dataset_id), "dataset", dataset_id)


async def check_dataset(connection: Connection, dataset_id: UUID) -> None:
    """Only checks that there is such a dataset: reading it would count its files."""
    if not await datasets.exists(connection, tenant(), dataset_id):
        raise NotFoundError("dataset", str(dataset_id))


async def check_datasets(connection: Connection, dataset_ids: Collection[UUID]) -> None:
    """Only checks that there are all of these datasets."""
    missing = await datasets.missing(connection, tenant(), dataset_ids)
    if missing is not None:
        raise NotFoundError("dataset", str(missing))


async def lock_dataset(connection: Connection, dataset_id: UUID) -> None:
    """Until the transaction ends, nobody else changes the dataset."""
    if not await datasets.lock_for_update(connection, tenant(), dataset_id):
        raise NotFoundError("dataset", str(dataset_id))


async def share_dataset(connection: Connection, dataset_id: UUID) -> None:
    """Until the transaction ends, nobody deletes the dataset, its artifact types or its files."""
    if not await datasets.lock_for_key_share(connection, tenant(), dataset_id):
        raise NotFoundError("dataset", str(dataset_id))


async def audio_file(connection: Connection, audio_file_id: UUID) -> AudioFile:
    return _existing(await audio.get(connection, tenant(), audio_file_id), "audio_file", audio_file_id)


async def annotation_set(connection: Connection, set_id: UUID) -> AnnotationSet:
    return _existing(await annotations.get_set(connection, tenant(), set_id), "annotation_set", set_id)


async def check_annotation_set(connection: Connection, set_id: UUID) -> None:
    """Only checks that there is such a set: reading a draft would count its annotations."""
    if not await annotations.set_exists(connection, tenant(), set_id):
        raise NotFoundError("annotation_set", str(set_id))


async def share_annotation_set(connection: Connection, set_id: UUID) -> LockedSet:
    """Until the transaction ends, nobody edits or deletes the set."""
    return _existing(await annotations.share_set(connection, tenant(), set_id), "annotation_set", set_id)


async def lock_dataset_of_set(connection: Connection, set_id: UUID) -> None:
    """Until the transaction ends, nobody else changes the set's dataset, its sets or its files."""
    await annotations.lock_dataset(connection, tenant(), set_id)


async def lock_annotation_set(connection: Connection, set_id: UUID) -> LockedSet:
    """Until the transaction ends, nobody else edits the set."""
    return _existing(await annotations.lock_set(connection, tenant(), set_id), "annotation_set", set_id)


async def annotation(connection: Connection, annotation_id: UUID) -> Annotation:
    return _existing(await annotations.get(connection, tenant(), annotation_id), "annotation", annotation_id)


async def training_job(connection: Connection, job_id: UUID) -> TrainingJob:
    return _existing(await training.get(connection, tenant(), job_id), "training_job", job_id)


async def lock_training_job(connection: Connection, job_id: UUID) -> TrainingJob:
    """Until the transaction ends, nobody else changes the job."""
    return _existing(
        await training.JOBS.lock_for_update(connection, tenant(), job_id), "training_job", job_id
    )


async def detection_job(connection: Connection, job_id: UUID) -> DetectionJob:
    return _existing(await detection_jobs.get(connection, tenant(), job_id), "detection_job", job_id)


async def lock_detection_job(connection: Connection, job_id: UUID) -> DetectionJob:
    """Until the transaction ends, nobody else changes the job."""
    job = await detection_jobs.JOBS.lock_for_update(connection, tenant(), job_id)
    return _existing(job, "detection_job", job_id)


async def model(connection: Connection, model_id: UUID) -> Model:
    """The model may be archived."""
    return _existing(await models.get(connection, tenant(), model_id), "model", model_id)


async def named_model(connection: Connection, name: str) -> Model:
    """The model that has this id, which may be archived, or this alias."""
    if "@" not in name:
        return await model(connection, UUID(name))
    found = await models.get_by_alias(connection, tenant(), name)
    if found is None:
        raise await _no_alias(connection, name)
    return found


async def share_model(connection: Connection, model_id: UUID) -> Model:
    """Until the transaction ends, nobody deletes the model, which may be archived."""
    await models.lock_for_key_share(connection, tenant(), model_id)
    return await model(connection, model_id)


async def lock_model(connection: Connection, model_id: UUID) -> Model:
    """Until the transaction ends, nobody else changes the model, which may be archived, or adds an alias."""
    await models.lock_for_update(connection, tenant(), model_id)
    # Read once it is locked: a row that was read while its lock was awaited has the aliases of before.
    return await model(connection, model_id)


async def model_alias(connection: Connection, alias: str) -> ModelAlias:
    found = await model_aliases.get(connection, tenant(), alias)
    if found is None:
        raise await _no_alias(connection, alias)
    return found


async def lock_model_alias(connection: Connection, alias: str) -> ModelAlias:
    """Until the transaction ends, nobody else moves the alias."""
    await model_aliases.lock_for_update(connection, tenant(), alias)
    return await model_alias(connection, alias)


async def _no_alias(connection: Connection, alias: str) -> NotFoundError:
    """The error for an alias that names no model, with some of the same name and another stage."""
    name, at, _ = alias.partition("@")
    nearby = await model_aliases.with_prefix(connection, tenant(), name + at, NEARBY)
    hint = f"there are {', '.join(nearby)}; ListModelAliases lists all" if nearby else "see ListModelAliases"
    return NotFoundError("model_alias", alias, hint)


def _existing(row: Row | None, kind: ResourceType, row_id: UUID) -> Row:
    if row is None:
        raise NotFoundError(kind, str(row_id))
    return row
