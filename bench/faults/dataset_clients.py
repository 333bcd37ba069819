"""Clients that annotate, publish, upload, delete and read, and that make calls which must be refused."""

import asyncio
import hashlib
import random
from collections.abc import Iterator
from uuid import UUID

import numpy as np
from google.protobuf.message import Message

from bench.faults.api import Api
from bench.faults.dataset import TrainingData, bursts, wav
from bench.faults.log_clients import follow
from bench.faults.observations import DeletedDataset, LogWatcher, Upload
from bench.faults.other_tenant import OtherTenant
from earmark.v1 import admin_service_pb2 as admin
from earmark.v1 import annotation_service_pb2 as annotation
from earmark.v1 import audio_service_pb2 as audio
from earmark.v1 import dataset_service_pb2 as dataset
from earmark.v1 import model_service_pb2 as model
from earmark.v1 import training_service_pb2 as training

PART_BYTES = 1 << 14


async def sets(api: Api, data: TrainingData, stop: asyncio.Event) -> None:
    """Until `stop`: creates and publishes annotation sets, and tries to change those already published."""
    published: list[tuple[str, str]] = []
    while not stop.is_set():
        create = annotation.CreateAnnotationSetRequest(
            dataset_id=data.dataset_id, request_id=_request_id(api)
        )
        set_id = (await api.answer("CreateAnnotationSet", create)).annotation_set.id
        batches = [await api.answer("BatchCreateAnnotations", _batch(api, data, set_id)) for _ in range(2)]
        publish = annotation.PublishAnnotationSetRequest(
            annotation_set_id=set_id, request_id=_request_id(api)
        )
        await api.answer("PublishAnnotationSet", publish)
        published.append((set_id, batches[0].annotation_ids[0]))
        for _ in range(3):
            await _try_to_change(api, data, *api.rng.choice(published))
            await api.pause(0.2, 1.0)


def _batch(api: Api, data: TrainingData, set_id: str) -> annotation.BatchCreateAnnotationsRequest:
    starts = [api.rng.randrange(0, 60_000) for _ in range(api.rng.randint(1, 20))]
    annotations = [
        {
            "audio_file_id": api.rng.choice(data.file_ids),
            "artifact_type": data.types[0],
            "start_ms": start,
            "end_ms": start + api.rng.randint(1, 2000),
            "channel": api.rng.choice((None, 0)),
        }
        for start in starts
    ]
    return annotation.BatchCreateAnnotationsRequest(
        annotation_set_id=set_id, annotations=annotations, request_id=_request_id(api)
    )


async def _try_to_change(api: Api, data: TrainingData, set_id: str, annotation_id: str) -> None:
    update = annotation.UpdateAnnotationRequest(
        annotation={"id": annotation_id, "start_ms": 0, "end_ms": 1},
        update_mask={"paths": ["start_ms", "end_ms"]},
        request_id=_request_id(api),
    )
    delete = annotation.DeleteAnnotationRequest(annotation_id=annotation_id, request_id=_request_id(api))
    delete_set = annotation.DeleteAnnotationSetRequest(annotation_set_id=set_id, request_id=_request_id(api))
    method, request = api.rng.choice(
        (
            ("BatchCreateAnnotations", _batch(api, data, set_id)),
            ("UpdateAnnotation", update),
            ("DeleteAnnotation", delete),
            ("DeleteAnnotationSet", delete_set),
        )
    )
    await api.answer(method, request, expected=("WRONG_STATE", "IN_USE"))


async def uploads(api: Api, dataset_id: str, stop: asyncio.Event) -> None:
    """Uploads good and bad audio until `stop`. Returns when no file is in processing."""
    while not stop.is_set():
        number, good = len(api.observed.uploads), api.rng.random() < 0.5  # noqa: PLR2004 - even
        upload = Upload(f"{number}-{'good' if good else 'bad'}.wav", good)
        api.observed.uploads.append(upload)
        data = bursts(2, number)[0] if good else _bad(api.rng)
        await _upload(api, dataset_id, upload.name, data)
        await api.pause(2, 5)
    idle = LogWatcher(
        *("uploads until idle", "WatchAudioFiles"),
        dataset_ids=(dataset_id,),
        from_start=True,
        until_idle=True,
    )
    await follow(api, idle, stop)


async def _upload(api: Api, dataset_id: str, name: str, data: bytes) -> audio.AudioFile | None:
    """Uploads one file; None if it is refused."""
    metadata = audio.UploadAudioRequest.Metadata(
        dataset_id=dataset_id,
        filename=name,
        size_bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        request_id=_request_id(api),
    )
    reply = await api.answer("UploadAudio", metadata, messages=list(_messages(metadata, data)))
    return None if reply is None else reply.audio_file


async def deletions(api: Api, stop: asyncio.Event) -> None:
    """Until `stop`: creates datasets with files and a draft, and deletes them during the processing."""
    while not stop.is_set():
        create = dataset.CreateDatasetRequest(name="to delete", request_id=_request_id(api))
        dataset_id = (await api.answer("CreateDataset", create)).dataset.id
        sound = bursts(2, 0)[0]
        files = [await _upload(api, dataset_id, f"{n}.wav", sound) for n in range(api.rng.randint(1, 4))]
        draft = annotation.CreateAnnotationSetRequest(dataset_id=dataset_id, request_id=_request_id(api))
        await api.answer("CreateAnnotationSet", draft)
        await api.pause(0, 2)
        file_ids = tuple(file.id for file in files if file)
        if api.rng.random() < 0.5:  # noqa: PLR2004 - every second
            await api.answer(
                "DeleteAudioFile",
                audio.DeleteAudioFileRequest(
                    audio_file_id=api.rng.choice(file_ids), request_id=_request_id(api), force=True
                ),
            )
        delete = dataset.DeleteDatasetRequest(dataset_id=dataset_id, request_id=_request_id(api), force=True)
        if await api.answer("DeleteDataset", delete):
            api.observed.deleted.append(DeletedDataset(dataset_id, file_ids))
        await api.pause(1, 4)


def _bad(rng: random.Random) -> bytes:
    """A file that cannot be decoded, or that has no samples."""
    good = bursts(2, 0)[0]
    return rng.choice((rng.randbytes(5_000), b"RIFF" + rng.randbytes(5_000), good[:30], wav(np.zeros(0))))


def _messages(metadata: audio.UploadAudioRequest.Metadata, data: bytes) -> Iterator[Message]:
    yield audio.UploadAudioRequest(metadata=metadata)
    for start in range(0, len(data), PART_BYTES):
        yield audio.UploadAudioRequest(part={"offset": start, "data": data[start : start + PART_BYTES]})


async def reads(api: Api, data: TrainingData, other_tenant: OtherTenant, stop: asyncio.Event) -> None:
    """Until `stop`: reads resources of its own tenant, and asks for those of another tenant."""
    while not stop.is_set():
        method, request, expected = api.rng.choice(read_requests(data, other_tenant))
        await api.call(method, request, expected=expected)
        await api.pause(0.1, 0.5)


def read_requests(
    data: TrainingData, other_tenant: OtherTenant
) -> list[tuple[str, Message, tuple[str, ...]]]:
    """Rpcs that change nothing: the method, a request, and the reasons for which it must be refused."""
    ours: list[tuple[str, Message]] = [
        ("ListTrainingJobs", training.ListTrainingJobsRequest()),
        ("ListDatasets", dataset.ListDatasetsRequest()),
        ("ListModels", model.ListModelsRequest(show_deleted=True)),
        ("ListAudioFiles", audio.ListAudioFilesRequest(dataset_id=data.dataset_id)),
        ("ListAnnotationSets", annotation.ListAnnotationSetsRequest(dataset_id=data.dataset_id)),
        ("ListAnnotations", annotation.ListAnnotationsRequest(annotation_set_id=data.set_id)),
        ("GetDataset", dataset.GetDatasetRequest(dataset_id=data.dataset_id)),
        ("GetCapacity", admin.GetCapacityRequest()),
        ("ListTrainers", admin.ListTrainersRequest()),
    ]
    theirs: list[tuple[str, Message]] = [
        ("GetTrainingJob", training.GetTrainingJobRequest(training_job_id=other_tenant.job_id)),
        ("CancelTrainingJob", training.CancelTrainingJobRequest(training_job_id=other_tenant.job_id)),
        ("GetDataset", dataset.GetDatasetRequest(dataset_id=other_tenant.dataset_id)),
        ("GetModel", model.GetModelRequest(model_id=other_tenant.model_id)),
        ("GetAudioFile", audio.GetAudioFileRequest(audio_file_id=other_tenant.file_id)),
        ("ListAnnotations", annotation.ListAnnotationsRequest(annotation_set_id=other_tenant.set_id)),
    ]
    allowed: list[tuple[str, Message, tuple[str, ...]]] = [(*request, ()) for request in ours]
    return allowed + [(*request, ("NOT_FOUND",)) for request in theirs]


def _request_id(api: Api) -> str:
    return str(UUID(int=api.rng.getrandbits(128), version=4))
