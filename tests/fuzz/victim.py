"""A dataset that the fuzzers may harm."""

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from google.protobuf.message import Message
from grpc import aio

from earmark.v1 import annotation_service_pb2 as annotations
from earmark.v1 import audio_service_pb2 as audio
from earmark.v1 import dataset_service_pb2 as datasets
from earmark.v1 import model_service_pb2 as models
from earmark.v1 import training_service_pb2 as training
from earmark.v1.annotation_service_pb2_grpc import AnnotationServiceStub
from earmark.v1.audio_service_pb2_grpc import AudioServiceStub
from earmark.v1.dataset_service_pb2_grpc import DatasetServiceStub
from earmark.v1.model_service_pb2_grpc import ModelServiceStub
from earmark.v1.training_service_pb2_grpc import TrainingServiceStub
from tests.fuzz.messages import TYPES
from tests.sounds import encoded, speech

SECONDS, EVENT_SECONDS = 310, 10  # of the audio, and from one annotation to the next
SHORT_SECONDS = 10  # of a second file
SECONDS_TO_READY = 300
JOBS = 3
PART_BYTES = 1 << 20


@dataclass(frozen=True)
class Victim:
    """A dataset that can be trained on, and the replies that made it."""

    dataset_id: str
    annotation_set_id: str
    job_ids: list[str]
    short_file_id: str
    replies: list[Message]


async def make_victim(channel: aio.Channel, jobs: int = JOBS) -> Victim:
    """Makes a dataset with two files, a published set, jobs of it, and a draft."""
    created = await new_dataset(channel)
    dataset_id = created.dataset.id
    long = await upload(channel, dataset_id, "a.flac", recording(SECONDS))
    short = await upload(channel, dataset_id, "b.flac", recording(SHORT_SECONDS))
    await until_idle(channel, dataset_id)
    published, annotated = await _annotated(channel, dataset_id, long.audio_file.id)
    publish = annotations.PublishAnnotationSetRequest(annotation_set_id=published)
    replies = [created, long, short, await AnnotationServiceStub(channel).PublishAnnotationSet(publish)]
    request = training.CreateTrainingJobRequest(
        dataset_id=dataset_id, annotation_set_id=published, config={"artifact_types": TYPES, "epochs": 1}
    )
    stub = TrainingServiceStub(channel)
    queued = [await stub.CreateTrainingJob(request) for _ in range(jobs)]
    # What was learned last is named most often, and only a draft can be edited.
    _, drafted = await _annotated(channel, dataset_id, long.audio_file.id)
    job_ids = [job.training_job.id for job in queued]
    learned = [*replies, *queued, *annotated, *drafted]
    return Victim(dataset_id, published, job_ids, short.audio_file.id, learned)


async def _annotated(channel: aio.Channel, dataset_id: str, audio_file_id: str) -> tuple[str, list[Message]]:
    """The id of a new draft with annotations, and the replies that have its ids."""
    stub = AnnotationServiceStub(channel)
    request = annotations.CreateAnnotationSetRequest(dataset_id=dataset_id)
    set_id = (await stub.CreateAnnotationSet(request)).annotation_set.id
    batch = annotations.BatchCreateAnnotationsRequest(
        annotation_set_id=set_id, annotations=_annotations(audio_file_id)
    )
    await stub.BatchCreateAnnotations(batch)
    listed = annotations.ListAnnotationsRequest(annotation_set_id=set_id, page_size=10)
    got = annotations.GetAnnotationSetRequest(annotation_set_id=set_id)
    return set_id, [await stub.GetAnnotationSet(got), await stub.ListAnnotations(listed)]


@functools.cache
def recording(seconds: int) -> bytes:
    """A FLAC file of so many seconds, a multiple of EVENT_SECONDS."""
    part = speech(EVENT_SECONDS, 1, 8_000)
    return encoded(np.tile(part, seconds // EVENT_SECONDS), "FLAC", rate=8_000)


async def trained(channel: aio.Channel, *job_ids: str) -> None:
    """Returns when the jobs have ended."""
    for job_id in job_ids:
        request = training.WatchTrainingJobRequest(training_job_id=job_id)
        async for _ in TrainingServiceStub(channel).WatchTrainingJob(request):
            pass


async def active_models(channel: aio.Channel) -> list[models.Model]:
    """The models of the first page, active."""
    stub = ModelServiceStub(channel)
    found = []
    for model in (await stub.ListModels(models.ListModelsRequest())).models:
        active = models.Model(id=model.id, is_active=True)
        request = models.UpdateModelRequest(model=active, update_mask={"paths": ["is_active"]})
        found.append((await stub.UpdateModel(request)).model)
    return found


async def new_dataset(channel: aio.Channel) -> datasets.CreateDatasetResponse:
    """An empty dataset."""
    request = datasets.CreateDatasetRequest(name="victim", artifact_types=[{"name": name} for name in TYPES])
    response: datasets.CreateDatasetResponse = await DatasetServiceStub(channel).CreateDataset(request)
    return response


async def upload(
    channel: aio.Channel, dataset_id: str, name: str, data: bytes, content_type: str = ""
) -> audio.UploadAudioResponse:
    """Uploads a file."""
    metadata = audio.UploadAudioRequest.Metadata(
        dataset_id=dataset_id, filename=name, size_bytes=len(data), content_type=content_type
    )
    parts = [data[start : start + PART_BYTES] for start in range(0, len(data), PART_BYTES)]
    messages = [audio.UploadAudioRequest(part={"data": part}) for part in parts]
    sent = iter([audio.UploadAudioRequest(metadata=metadata), *messages])
    response: audio.UploadAudioResponse = await AudioServiceStub(channel).UploadAudio(sent)
    return response


async def until_idle(channel: aio.Channel, dataset_id: str) -> None:
    """Returns when every file of the dataset is ready or has failed. Raises DEADLINE_EXCEEDED."""
    request = audio.WatchAudioFilesRequest(dataset_ids=[dataset_id], from_start=True, until_idle=True)
    async for _ in AudioServiceStub(channel).WatchAudioFiles(request, timeout=SECONDS_TO_READY):
        pass


def _annotations(audio_file_id: str) -> Iterator[annotations.AnnotationSpec]:
    for number, start in enumerate(range(1, SECONDS - 1, EVENT_SECONDS)):
        kind = TYPES[number % len(TYPES)]
        yield annotations.AnnotationSpec(
            audio_file_id=audio_file_id,
            artifact_type=kind,
            start_ms=start * 1000,
            end_ms=start * 1000 + 300,
        )
