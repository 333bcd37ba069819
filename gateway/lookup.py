"""Reads and locks rows of the caller's tenant by id. Each function raises NotFoundError for a missing row."""

from uuid import UUID

from gateway.caller import tenant
from gateway.errors import NotFoundError
from storage.database import Connection
from storage.queries import annotations, audio, datasets, models, training
from storage.queries.annotations import LockedSet
from storage.records import Annotation, AnnotationSet, AudioFile, Dataset, Model, TrainingJob


async def dataset(connection: Connection, dataset_id: UUID) -> Dataset:
    """Reads a dataset."""
    row = await datasets.get(connection, tenant(), dataset_id)
    if row is None:
        raise NotFoundError("dataset", str(dataset_id))
    return row


async def lock_dataset(connection: Connection, dataset_id: UUID) -> None:
    """Locks the dataset: no other transaction can change it until this one ends."""
    if not await datasets.lock_for_update(connection, tenant(), dataset_id):
        raise NotFoundError("dataset", str(dataset_id))


async def share_dataset(connection: Connection, dataset_id: UUID) -> None:
    """Takes a key-share lock: nobody deletes the dataset, its types or files until the transaction ends."""
    if not await datasets.lock_for_key_share(connection, tenant(), dataset_id):
        raise NotFoundError("dataset", str(dataset_id))


async def audio_file(connection: Connection, audio_file_id: UUID) -> AudioFile:
    """Reads an audio file."""
    row = await audio.get(connection, tenant(), audio_file_id)
    if row is None:
        raise NotFoundError("audio file", str(audio_file_id))
    return row


async def annotation_set(connection: Connection, set_id: UUID) -> AnnotationSet:
    """Reads an annotation set with its totals."""
    row = await annotations.get_set(connection, tenant(), set_id)
    if row is None:
        raise NotFoundError("annotation set", str(set_id))
    return row


async def lock_annotation_set(connection: Connection, set_id: UUID) -> LockedSet:
    """Locks the annotation set: no other transaction can edit it until this one ends."""
    row = await annotations.lock_set(connection, tenant(), set_id)
    if row is None:
        raise NotFoundError("annotation set", str(set_id))
    return row


async def annotation(connection: Connection, annotation_id: UUID) -> Annotation:
    """Reads an annotation."""
    row = await annotations.get(connection, tenant(), annotation_id)
    if row is None:
        raise NotFoundError("annotation", str(annotation_id))
    return row


async def training_job(connection: Connection, job_id: UUID) -> TrainingJob:
    """Reads a training job."""
    row = await training.get(connection, tenant(), job_id)
    if row is None:
        raise NotFoundError("training_job", str(job_id))
    return row


async def lock_training_job(connection: Connection, job_id: UUID) -> TrainingJob:
    """Reads and locks a training job: no other transaction can change it until this one ends."""
    row = await training.lock_for_update(connection, tenant(), job_id)
    if row is None:
        raise NotFoundError("training_job", str(job_id))
    return row


async def model(connection: Connection, model_id: UUID) -> Model:
    """Reads a model, archived or not."""
    row = await models.get(connection, tenant(), model_id)
    if row is None:
        raise NotFoundError("model", str(model_id))
    return row


async def lock_model(connection: Connection, model_id: UUID) -> Model:
    """Reads and locks a model: no other transaction can change it until this one ends."""
    row = await models.get_for_update(connection, tenant(), model_id)
    if row is None:
        raise NotFoundError("model", str(model_id))
    return row
