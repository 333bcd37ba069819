"""Users who upload, train and delete, at both gateways, until enough was done."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from random import Random
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import numpy as np
from google.protobuf.message import Message
from grpc import aio

from bench.cleanups.trainer import FILE_MS
from bench.faults.api import DISCONNECTED, OPTIONS, STUBS
from bench.faults.dataset import RATE, wav
from earmark.v1 import annotation_service_pb2 as annotations
from earmark.v1 import audio_service_pb2 as audio
from earmark.v1 import dataset_service_pb2 as datasets
from earmark.v1 import model_service_pb2 as models
from earmark.v1 import training_service_pb2 as training

KIND = "burst"
DEADLINE_SECONDS = 20.0
POLL_SECONDS = 0.3
UPLOADS_AT_ONCE = 4
# A dataset to train on has more than the five minutes of audio that a job needs.
TRAINING_FILES, OTHER_FILES = 6, 20
JOBS = 3
# The shares of the uploads that are cut, of the jobs that are cancelled, and of what is left undeleted.
CUT, CANCELLED, KEPT = 0.1, 0.2, 0.03
# An upload is cut within this time: before its object, between object and row, or before its reply.
CUT_SECONDS = 0.03
ENDED = frozenset({"COMPLETED", "FAILED", "CANCELLED"})


class Users:
    """Their connections to the gateways, and what they have done: `done` counts it by kind."""

    def __init__(self, addresses: Sequence[str], seed: int) -> None:
        self._addresses = addresses
        self.random = Random(seed)
        self.done: Counter[str] = Counter()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            channels = [
                await stack.enter_async_context(aio.insecure_channel(address, options=OPTIONS))
                for address in self._addresses
            ]
            self._methods = [
                {name: method for stub in STUBS for name, method in vars(stub(channel)).items()}
                for channel in channels
            ]
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    @property
    def total(self) -> int:
        """The number of uploads, jobs and deletions."""
        return sum(number for kind, number in self.done.items() if not kind.startswith("cut"))

    def chance(self, share: float) -> bool:
        return self.random.random() < share

    async def run(self, count: int, until: float) -> None:
        """One user: repeats a cycle until all have done `count` things, or until this monotonic time."""
        while self.total < count and time.monotonic() < until:
            await (self.train_and_delete() if self.chance(0.5) else self.upload_and_delete())

    async def upload_and_delete(self) -> None:
        """Many files, some of which are deleted one by one, also while they are processed."""
        dataset_id = await self._dataset()
        file_ids = await self._upload(dataset_id, OTHER_FILES, cut=CUT)
        await asyncio.gather(
            *(self._delete("AudioFile", audio_file_id=file_id) for file_id in file_ids if self.chance(0.4))
        )
        if not self.chance(KEPT):
            await self._delete("Dataset", dataset_id=dataset_id)

    async def train_and_delete(self) -> None:
        """A dataset with jobs, whose models, jobs and sets are deleted one by one or all together."""
        dataset_id = await self._dataset()
        file_ids = await self._ready_files(dataset_id)
        set_id = await self._published(dataset_id, file_ids[0])
        job_ids = await asyncio.gather(*(self._job(dataset_id, set_id) for _ in range(JOBS)))
        for job in await asyncio.gather(*map(self._ended, job_ids)):
            if job.model_id and self.chance(0.4):
                await self._delete("Model", model_id=job.model_id)
            if self.chance(0.3):
                await self._delete("TrainingJob", training_job_id=job.id)
        if self.chance(0.3):
            await self._delete("AudioFile", audio_file_id=file_ids[-1])
        if self.chance(0.3):
            await self._delete("AnnotationSet", annotation_set_id=set_id)
        if not self.chance(KEPT):
            await self._delete("Dataset", dataset_id=dataset_id)

    async def _answer(self, method: str, request: Message, messages: Sequence[Message] = ()) -> Any:
        """Repeats the call, at either gateway, until it is answered."""
        while True:
            called = self.random.choice(self._methods)[method]
            try:
                return await called(iter(messages) if messages else request, timeout=DEADLINE_SECONDS)
            except aio.AioRpcError as error:
                if error.code().name not in DISCONNECTED:
                    raise
            await asyncio.sleep(POLL_SECONDS)

    async def _dataset(self) -> str:
        request = datasets.CreateDatasetRequest(
            name="week", artifact_types=[{"name": KIND}], request_id=str(uuid4())
        )
        return str((await self._answer("CreateDataset", request)).dataset.id)

    async def _upload(self, dataset_id: str, number: int, *, cut: float = 0) -> list[str]:
        """Uploads so many files and returns their ids. The share `cut` is cut, and half of it abandoned."""
        at_once = asyncio.Semaphore(UPLOADS_AT_ONCE)

        async def upload() -> str | None:
            async with at_once:
                return await self._upload_one(dataset_id, cut)

        return [file_id for file_id in await asyncio.gather(*(upload() for _ in range(number))) if file_id]

    async def _upload_one(self, dataset_id: str, cut: float) -> str | None:
        data = _sound(self.random)
        metadata = audio.UploadAudioRequest.Metadata(
            dataset_id=dataset_id, filename="a.wav", size_bytes=len(data), request_id=str(uuid4())
        )
        half = len(data) // 2
        messages = [
            audio.UploadAudioRequest(metadata=metadata),
            audio.UploadAudioRequest(part={"data": data[:half]}),
            audio.UploadAudioRequest(part={"offset": half, "data": data[half:]}),
        ]
        if self.chance(cut):
            self.done["cut uploads"] += 1
            # grpc.aio says of some of these calls that they were cancelled, which would end the user's task
            # without a word.
            with suppress(aio.AioRpcError, asyncio.CancelledError):
                called = self.random.choice(self._methods)["UploadAudio"]
                await called(iter(messages), timeout=self.random.uniform(0, CUT_SECONDS))
            if self.chance(0.5):
                return None
        reply = await self._answer("UploadAudio", metadata, messages)
        self.done["uploads"] += 1
        return str(reply.audio_file.id)

    async def _ready_files(self, dataset_id: str) -> list[str]:
        """The ids of enough files for a job. Files that fail are deleted and replaced."""
        while True:
            files = await self._processed(dataset_id)
            ready = [
                file.id for file in files if file.processing_status == audio.AUDIO_PROCESSING_STATUS_READY
            ]
            if len(ready) == len(files) >= TRAINING_FILES:
                return ready
            failed = [
                file.id for file in files if file.processing_status == audio.AUDIO_PROCESSING_STATUS_FAILED
            ]
            for file_id in failed:
                await self._delete("AudioFile", audio_file_id=file_id)
            await self._upload(dataset_id, max(0, TRAINING_FILES - len(ready)))

    async def _processed(self, dataset_id: str) -> Sequence[Any]:
        ended = (audio.AUDIO_PROCESSING_STATUS_READY, audio.AUDIO_PROCESSING_STATUS_FAILED)
        request = audio.ListAudioFilesRequest(dataset_id=dataset_id, page_size=100)
        while True:
            files = (await self._answer("ListAudioFiles", request)).audio_files
            if all(file.processing_status in ended for file in files):
                return list(files)
            await asyncio.sleep(POLL_SECONDS)

    async def _published(self, dataset_id: str, file_id: str) -> str:
        new_set = annotations.CreateAnnotationSetRequest(dataset_id=dataset_id, request_id=str(uuid4()))
        set_id = str((await self._answer("CreateAnnotationSet", new_set)).annotation_set.id)
        annotation = {
            "audio_file_id": file_id,
            "artifact_type": KIND,
            "start_ms": 100,
            "end_ms": FILE_MS // 2,
        }
        await self._answer(
            "BatchCreateAnnotations",
            annotations.BatchCreateAnnotationsRequest(
                annotation_set_id=set_id, annotations=[annotation], request_id=str(uuid4())
            ),
        )
        await self._answer(
            "PublishAnnotationSet",
            annotations.PublishAnnotationSetRequest(annotation_set_id=set_id, request_id=str(uuid4())),
        )
        return set_id

    async def _job(self, dataset_id: str, set_id: str) -> str:
        request = training.CreateTrainingJobRequest(
            dataset_id=dataset_id,
            annotation_set_id=set_id,
            config={"artifact_types": [KIND], "epochs": 2},
            request_id=str(uuid4()),
        )
        job = (await self._answer("CreateTrainingJob", request)).training_job
        self.done["jobs"] += 1
        if self.chance(CANCELLED):
            await asyncio.sleep(self.random.uniform(0, 2 * POLL_SECONDS))
            with suppress(aio.AioRpcError):
                await self._answer(
                    "CancelTrainingJob", training.CancelTrainingJobRequest(training_job_id=job.id)
                )
        return str(job.id)

    async def _ended(self, job_id: str) -> Any:
        request = training.GetTrainingJobRequest(training_job_id=job_id)
        while True:
            job = (await self._answer("GetTrainingJob", request)).training_job
            if training.TrainingJobStatus.Name(job.status).rpartition("_")[2] in ENDED:
                return job
            await asyncio.sleep(POLL_SECONDS)

    async def _delete(self, kind: str, **ids: str) -> None:
        """Deletes for good, with everything that depends on it."""
        request = DELETIONS[kind](**ids, force=True, request_id=str(uuid4()))
        reply = await self._answer(f"Delete{kind}", request)
        for resource, number in reply.deleted_counts.items():
            if resource != "annotation":
                self.done[f"deletions of {resource}"] += number


DELETIONS: dict[str, Any] = {
    "AnnotationSet": annotations.DeleteAnnotationSetRequest,
    "AudioFile": audio.DeleteAudioFileRequest,
    "Dataset": datasets.DeleteDatasetRequest,
    "Model": models.DeleteModelRequest,
    "TrainingJob": training.DeleteTrainingJobRequest,
}


def _sound(random: Random) -> bytes:
    """A WAV of 50 ms, unlike all others."""
    return wav(np.random.default_rng(random.getrandbits(63)).normal(0, 0.1, RATE // 20))
