"""Converts datasets and their artifact types between records and messages."""

from earmark.gateway.convert.values import etag, timestamp
from earmark.storage.records import ArtifactType, Dataset
from earmark.v1 import dataset_service_pb2 as pb

DEFAULT_COLOR = "#FF0000"


def dataset_message(dataset: Dataset) -> pb.Dataset:
    """The dataset as the API shows it."""
    return pb.Dataset(
        id=str(dataset.id),
        name=dataset.name,
        description=dataset.description,
        artifact_types=[
            pb.ArtifactType(name=t.name, description=t.description, color=t.color)
            for t in dataset.artifact_types
        ],
        created_at=timestamp(dataset.created_at),
        updated_at=timestamp(dataset.updated_at),
        etag=etag(dataset.version),
        audio_count=dataset.audio_count,
        annotation_set_count=dataset.annotation_set_count,
    )


def artifact_type_record(message: pb.ArtifactType) -> ArtifactType:
    """The record of an artifact type; its color is DEFAULT_COLOR if the message has none."""
    return ArtifactType(message.name, message.description, message.color or DEFAULT_COLOR)
