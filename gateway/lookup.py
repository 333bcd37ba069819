"""Rows of the caller's tenant by id: each function returns the row or raises NotFoundError."""

from uuid import UUID

from gateway.caller import tenant
from gateway.errors import NotFoundError
from storage.database import Connection
from storage.queries import annotations, audio, datasets, models, training
from storage.queries.annotations import LockedSet
from storage.records import Annotation, AnnotationSet, AudioFile, Dataset, Model, TrainingJob


async def dataset(connection: Connection, dataset_id: UUID) -> Dataset:
    """The dataset. Raises NotFoundError."""
    found = await datasets.get(connection, tenant(), dataset_id)
    if found is None:
        raise NotFoundError("dataset", str(dataset_id))
    return found


async def lock_dataset(connection: Connection, dataset_id: UUID) -> None:
    """Until the transaction ends, nobody else changes the dataset. Raises NotFoundError."""
    if not await datasets.lock_for_update(connection, tenant(), dataset_id):
        raise NotFoundError("dataset", str(dataset_id))


async def share_dataset(connection: Connection, dataset_id: UUID) -> None:
    """Until the transaction ends, nobody deletes the dataset, its types or its files.

    Raises NotFoundError.
    """
    if not await datasets.lock_for_key_share(connection, tenant(), dataset_id):
        raise NotFoundError("dataset", str(dataset_id))


async def audio_file(connection: Connection, audio_file_id: UUID) -> AudioFile:
    """The audio file. Raises NotFoundError."""
    found = await audio.get(connection, tenant(), audio_file_id)
    if found is None:
        raise NotFoundError("audio file", str(audio_file_id))
    return found


async def annotation_set(connection: Connection, set_id: UUID) -> AnnotationSet:
    """The annotation set with its totals. Raises NotFoundError."""
    found = await annotations.get_set(connection, tenant(), set_id)
    if found is None:
        raise NotFoundError("annotation set", str(set_id))
    return found


async def lock_annotation_set(connection: Connection, set_id: UUID) -> LockedSet:
    """Until the transaction ends, nobody else edits the set. Raises NotFoundError."""
    found = await annotations.lock_set(connection, tenant(), set_id)
    if found is None:
        raise NotFoundError("annotation set", str(set_id))
    return found


async def annotation(connection: Connection, annotation_id: UUID) -> Annotation:
    """The annotation. Raises NotFoundError."""
    found = await annotations.get(connection, tenant(), annotation_id)
    if found is None:
        raise NotFoundError("annotation", str(annotation_id))
    return found


async def training_job(connection: Connection, job_id: UUID) -> TrainingJob:
    """The training job. Raises NotFoundError."""
    found = await training.get(connection, tenant(), job_id)
    if found is None:
        raise NotFoundError("training_job", str(job_id))
    return found


async def lock_training_job(connection: Connection, job_id: UUID) -> TrainingJob:
    """The training job; until the transaction ends, nobody else changes it. Raises NotFoundError."""
    found = await training.lock_for_update(connection, tenant(), job_id)
    if found is None:
        raise NotFoundError("training_job", str(job_id))
    return found


async def model(connection: Connection, model_id: UUID) -> Model:
    """The model, archived or not. Raises NotFoundError."""
    found = await models.get(connection, tenant(), model_id)
    if found is None:
        raise NotFoundError("model", str(model_id))
    return found


async def lock_model(connection: Connection, model_id: UUID) -> Model:
    """The model; until the transaction ends, nobody else changes it. Raises NotFoundError."""
    found = await models.get_for_update(connection, tenant(), model_id)
    if found is None:
        raise NotFoundError("model", str(model_id))
    return found
