"""The neighbour: one caller who does each thing at a steady, low rate, and how long each takes."""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from uuid import UUID

import numpy as np
from grpc import aio

from bench.faults.dataset import wav
from bench.load.rows import Dataset, insert_job, record_event
from bench.neighbour.data import Data, short_recording
from bench.neighbour.system import System
from earmark.client.aio import Client
from earmark.v1 import audio_service_pb2 as audio_pb
from earmark.v1 import detection_service_pb2 as detection_pb
from earmark.v1 import training_service_pb2 as training_pb

GET, WATCH, DISPATCH, UPLOAD, DETECT = (
    "GetTrainingJob",
    "watch",
    "dispatch",
    "upload to ready",
    "Detect of 1 s",
)
# The time between the beginnings of two of a kind. The next begins when the last has ended.
SECONDS = {GET: 0.03, WATCH: 0.1, DISPATCH: 1.0, UPLOAD: 1.0, DETECT: 0.4}
FIGURES = tuple(SECONDS)
# Longer ones are given up, and count as this long.
PATIENCE_SECONDS = 15.0


# Does it once. Returns the seconds.
Work = Callable[[], Awaitable[float]]


@dataclass(slots=True)
class Times:
    """The seconds of everything that was done, and the statuses of what failed, by figure."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in FIGURES})
    failures: Counter[str] = field(default_factory=Counter)


class Neighbour:
    """`client` has a channel of its own."""

    def __init__(self, system: System, client: Client, data: Data) -> None:
        self._system = system
        self._client = client
        self._data = data
        self._number = 0
        # When they arrived or will arrive, by the file's id.
        self._ready: defaultdict[str, asyncio.Future[float]] = defaultdict(asyncio.Future)
        # By revision.
        self._received: defaultdict[int, asyncio.Future[float]] = defaultdict(asyncio.Future)

    async def measure(self, seconds: float) -> Times:
        """Does everything for so long."""
        times = Times()
        self._received.clear()
        async with self._system.database.transaction() as connection:
            ids = self._data.neighbour
            watched = await insert_job(connection, Dataset(UUID(ids.dataset_id), UUID(ids.set_id)))
        revision = await record_event(self._system.database, self._system.bus, watched)
        watches = [
            asyncio.create_task(self._follow_job(str(watched), revision)),
            asyncio.create_task(self._follow_files()),
        ]
        doing: dict[str, Work] = {
            GET: lambda: self._get(str(watched)),
            WATCH: lambda: self._event(watched),
            DISPATCH: self._dispatch,
            UPLOAD: self._upload,
            DETECT: self._detect,
        }
        until = time.monotonic() + seconds
        async with asyncio.TaskGroup() as tasks:
            for name, work in doing.items():
                tasks.create_task(_repeat(name, work, until, times))
        for watch in watches:
            watch.cancel()
        await asyncio.wait(watches)
        async with self._system.database.connection() as connection:
            await connection.execute("DELETE FROM training_jobs WHERE id = $1", watched)
        return times

    async def _get(self, job_id: str) -> float:
        began = time.monotonic()
        request = training_pb.GetTrainingJobRequest(training_job_id=job_id)
        await self._client.training.GetTrainingJob(request)
        return time.monotonic() - began

    async def _event(self, job_id: UUID) -> float:
        """From the commit of an event by another gateway to its arrival."""
        revision = await record_event(self._system.database, self._system.bus, job_id)
        committed = time.monotonic()
        # It may have arrived before this connection was free again.
        return max(await self._received[revision] - committed, 0.0)

    async def _follow_job(self, job_id: str, revision: int) -> None:
        request = training_pb.WatchTrainingJobRequest(training_job_id=job_id, after_revision=revision)
        async for response in self._client.training.WatchTrainingJob(request):
            if response.HasField("event"):
                self._received[response.event.revision].set_result(time.monotonic())

    async def _dispatch(self) -> float:
        """From the call that creates a job to its trainer's ACCEPTED. Then the job is cancelled."""
        began = accepted = time.monotonic()
        ids = self._data.neighbour
        request = training_pb.CreateTrainingJobRequest(
            dataset_id=ids.dataset_id,
            annotation_set_id=ids.set_id,
            config={"artifact_types": ids.types, "epochs": 1, "seed": 1},
        )
        job = (await self._client.training.CreateTrainingJob(request)).training_job
        watch = training_pb.WatchTrainingJobRequest(training_job_id=job.id)
        # Read to its end, so that the trainer is free again.
        async for response in self._client.training.WatchTrainingJob(watch):
            if response.event.notice.code == training_pb.NOTICE_CODE_ACCEPTED:
                accepted = time.monotonic()
                cancel = training_pb.CancelTrainingJobRequest(training_job_id=job.id)
                await self._client.training.CancelTrainingJob(cancel)
        return accepted - began

    async def _upload(self) -> float:
        began = time.monotonic()
        self._number += 1
        data = wav(np.random.default_rng(self._number).normal(0, 0.1, 8_000))
        requests = [
            audio_pb.UploadAudioRequest(
                metadata={
                    "dataset_id": self._data.uploads_id,
                    "filename": f"{self._number}.wav",
                    "size_bytes": len(data),
                }
            ),
            audio_pb.UploadAudioRequest(part={"data": data}),
        ]
        response = await self._client.audio.UploadAudio(iter(requests))
        return await self._ready[response.audio_file.id] - began

    async def _follow_files(self) -> None:
        request = audio_pb.WatchAudioFilesRequest(
            dataset_ids=[self._data.uploads_id],
            processing_statuses=[audio_pb.AUDIO_PROCESSING_STATUS_READY],
        )
        async for response in self._client.audio.WatchAudioFiles(request):
            if response.HasField("event"):
                self._ready[response.event.audio_file_id].set_result(time.monotonic())

    async def _detect(self) -> float:
        began = time.monotonic()
        requests = [
            detection_pb.DetectRequest(start={"model_id": self._data.model_id}),
            detection_pb.DetectRequest(data=short_recording(seed=2)),
        ]
        async for _ in self._client.detection.Detect(iter(requests)):
            pass
        return time.monotonic() - began


async def _repeat(name: str, work: Work, until: float, times: Times) -> None:
    while (began := time.monotonic()) < until:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                times.seconds[name].append(await work())
        except aio.AioRpcError as error:
            times.failures[f"{name}: {error.code().name}"] += 1
        except TimeoutError:
            times.seconds[name].append(PATIENCE_SECONDS)
        await asyncio.sleep(max(0.0, began + SECONDS[name] - time.monotonic()))
