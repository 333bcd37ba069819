"""A dataset that the fuzzers may harm."""

from collections.abc import Iterator

from google.protobuf.message import Message
from grpc import aio

from earmark.v1 import annotation_service_pb2 as annotations
from earmark.v1 import audio_service_pb2 as audio
from earmark.v1 import dataset_service_pb2 as datasets
from earmark.v1 import training_service_pb2 as training
from earmark.v1.annotation_service_pb2_grpc import AnnotationServiceStub
from earmark.v1.audio_service_pb2_grpc import AudioServiceStub
from earmark.v1.dataset_service_pb2_grpc import DatasetServiceStub
from earmark.v1.training_service_pb2_grpc import TrainingServiceStub
from tests.fuzz.messages import TYPES
from tests.sounds import encoded, speech

SECONDS, EVENT_SECONDS = 301, 10  # of the audio, and from one annotation to the next
SECONDS_TO_READY = 60
PART_BYTES = 1 << 20


async def make_victim(channel: aio.Channel) -> list[Message]:
    """The replies to the calls that make a dataset with a file, a draft, a published set and a job."""
    created = await new_dataset(channel)
    dataset_id = created.dataset.id
    sound = encoded(speech(SECONDS, 1, 8_000), "FLAC", rate=8_000)
    uploaded = await upload(channel, dataset_id, "a.flac", sound)
    await until_idle(channel, dataset_id)
    stub = AnnotationServiceStub(channel)
    request = annotations.CreateAnnotationSetRequest(dataset_id=dataset_id)
    draft, published = [await stub.CreateAnnotationSet(request) for _ in range(2)]
    replies: list[Message] = [created, uploaded, draft]
    for set_id in (draft.annotation_set.id, published.annotation_set.id):
        batch = annotations.BatchCreateAnnotationsRequest(
            annotation_set_id=set_id, annotations=_annotations(uploaded.audio_file.id)
        )
        await stub.BatchCreateAnnotations(batch)
        listed = annotations.ListAnnotationsRequest(annotation_set_id=set_id, page_size=10)
        replies.append(await stub.ListAnnotations(listed))
    set_id = published.annotation_set.id
    publish = annotations.PublishAnnotationSetRequest(annotation_set_id=set_id)
    replies.append(await stub.PublishAnnotationSet(publish))
    job = training.CreateTrainingJobRequest(
        dataset_id=dataset_id, annotation_set_id=set_id, config={"artifact_types": TYPES, "epochs": 1}
    )
    replies.append(await TrainingServiceStub(channel).CreateTrainingJob(job))
    return replies


async def new_dataset(channel: aio.Channel) -> datasets.CreateDatasetResponse:
    """An empty dataset."""
    request = datasets.CreateDatasetRequest(name="victim", artifact_types=[{"name": name} for name in TYPES])
    response: datasets.CreateDatasetResponse = await DatasetServiceStub(channel).CreateDataset(request)
    return response


async def upload(channel: aio.Channel, dataset_id: str, name: str, data: bytes) -> audio.UploadAudioResponse:
    """Uploads a file."""
    metadata = audio.UploadAudioRequest.Metadata(dataset_id=dataset_id, filename=name, size_bytes=len(data))
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
