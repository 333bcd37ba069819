"""The abuses. Each works until it is cancelled, and counts the statuses that it gets."""

import asyncio
import io
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeAlias

import grpc
import numpy as np
import soundfile  # type: ignore[import-untyped]  # has no stubs
from grpc import aio

from bench.faults.dataset import KIND
from bench.neighbour.data import Target, short_recording
from earmark.v1 import annotation_service_pb2 as annotations_pb
from earmark.v1 import annotation_service_pb2_grpc as annotations_grpc
from earmark.v1 import audio_service_pb2 as audio_pb
from earmark.v1 import audio_service_pb2_grpc as audio_grpc
from earmark.v1 import detection_service_pb2 as detection_pb
from earmark.v1 import detection_service_pb2_grpc as detection_grpc
from earmark.v1 import training_service_pb2 as training_pb
from earmark.v1 import training_service_pb2_grpc as training_grpc

BATCHES_AT_ONCE, COPIES, DOWNLOADS, DETECTIONS, BOMBS, FLOODS = 4, 12, 1_000, 500, 2, 2
SMALL_BATCH, LARGE_BATCH = 10_000, 4_000_000
# As much as the default limits of a file allow: 8 channels at 48 kHz.
BOMB_CHANNELS, BOMB_HZ, BOMB_SECONDS = 8, 48_000, 600
FLOOD_BYTES = 1 << 20
PART_BYTES = 1 << 20
# After a refusal, as its RetryInfo says.
RETRY_SECONDS = 1.0
BATCH = "/earmark.v1.AnnotationService/BatchCreateAnnotations"

Channels: TypeAlias = Sequence[aio.Channel]
Abuse: TypeAlias = Callable[[Channels, Target, Counter[str]], Coroutine[Any, Any, None]]


async def _repeat(call: Callable[[], Awaitable[Any]], statuses: Counter[str]) -> None:
    while True:
        if not await _counted(call(), statuses):
            await asyncio.sleep(RETRY_SECONDS)


async def _counted(call: Awaitable[Any], statuses: Counter[str]) -> bool:
    """Whether the call succeeded."""
    try:
        await call
    except aio.AioRpcError as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():  # gRPC can make a status of a cancellation
            raise asyncio.CancelledError from error
        statuses[error.code().name] += 1
        return False
    statuses["OK"] += 1
    return True


async def _many(number: int, work: Callable[[int], Coroutine[Any, Any, None]]) -> None:
    async with asyncio.TaskGroup() as tasks:
        for index in range(number):
            tasks.create_task(work(index))


def _batches(count: int, compression: grpc.Compression = grpc.Compression.NoCompression) -> Abuse:
    """Batches of so many annotations without any field."""

    async def abuse(channels: Channels, target: Target, statuses: Counter[str]) -> None:
        head = annotations_pb.BatchCreateAnnotationsRequest(annotation_set_id=target.draft_id)
        message = head.SerializeToString() + b"\x12\x00" * count

        async def work(index: int) -> None:
            call: Any = channels[index % len(channels)].unary_unary(BATCH)
            await _repeat(lambda: call(message, compression=compression), statuses)

        await _many(BATCHES_AT_ONCE, work)

    return abuse


async def _copies(channels: Channels, target: Target, statuses: Counter[str]) -> None:
    request = annotations_pb.CreateAnnotationSetRequest(
        dataset_id=target.dataset_id, copy_of=target.copied_id
    )

    async def work(index: int) -> None:
        stub = annotations_grpc.AnnotationServiceStub(channels[index % len(channels)])
        await _repeat(lambda: stub.CreateAnnotationSet(request), statuses)

    await _many(COPIES, work)


async def _unread_downloads(channels: Channels, target: Target, statuses: Counter[str]) -> None:
    async def work(index: int) -> None:
        stub = audio_grpc.AudioServiceStub(channels[index % len(channels)])
        call = stub.DownloadAudio(audio_pb.DownloadAudioRequest(audio_file_id=target.file_id))

        async def read_nothing() -> None:
            await call.read()
            statuses["unread"] += 1
            await asyncio.Event().wait()

        await _counted(read_nothing(), statuses)

    await _many(DOWNLOADS, work)


async def _upload(stub: Any, target: Target, name: str, data: bytes) -> None:
    async def requests() -> AsyncIterator[audio_pb.UploadAudioRequest]:
        yield audio_pb.UploadAudioRequest(
            metadata={"dataset_id": target.bin_id, "filename": name, "size_bytes": len(data)}
        )
        for start in range(0, len(data), PART_BYTES):
            yield audio_pb.UploadAudioRequest(part={"data": data[start : start + PART_BYTES]})

    await stub.UploadAudio(requests())


async def _bombs(channels: Channels, target: Target, statuses: Counter[str]) -> None:
    bomb = await asyncio.to_thread(_bomb)

    async def work(index: int) -> None:
        stub = audio_grpc.AudioServiceStub(channels[index % len(channels)])
        await _counted(_upload(stub, target, "bomb.flac", bomb), statuses)
        await asyncio.Event().wait()

    await _many(BOMBS, work)


def _bomb() -> bytes:
    """Silence of BOMB_SECONDS as FLAC."""
    second = np.zeros((BOMB_HZ, BOMB_CHANNELS), np.int16)
    with io.BytesIO() as buffer:
        with soundfile.SoundFile(buffer, "w", BOMB_HZ, BOMB_CHANNELS, format="FLAC") as file:
            for _ in range(BOMB_SECONDS):
                file.write(second)
        return buffer.getvalue()


async def _log_flood(channels: Channels, target: Target, statuses: Counter[str]) -> None:
    """MP3 frames whose bodies are missing; the library complains about each."""
    data = b"\xff\xfb\x90\x00" * (FLOOD_BYTES // 4)

    async def work(index: int) -> None:
        stub = audio_grpc.AudioServiceStub(channels[index % len(channels)])
        while True:
            await _counted(_upload(stub, target, "flood.mp3", data), statuses)
            await asyncio.sleep(RETRY_SECONDS)

    await _many(FLOODS, work)


async def _million(channels: Channels, target: Target, statuses: Counter[str]) -> None:
    """A job with a million annotations, which is cancelled when it trains, again and again."""
    stub = training_grpc.TrainingServiceStub(channels[0])
    request = training_pb.CreateTrainingJobRequest(
        dataset_id=target.dataset_id,
        annotation_set_id=target.million_id,
        config={"artifact_types": [KIND], "epochs": 100, "seed": 1},
    )

    async def train() -> None:
        job_id = (await stub.CreateTrainingJob(request)).training_job.id
        try:
            async for response in stub.WatchTrainingJob(
                training_pb.WatchTrainingJobRequest(training_job_id=job_id)
            ):
                if response.event.HasField("progress"):
                    statuses["trains"] += 1
                    break
        finally:
            await stub.CancelTrainingJob(training_pb.CancelTrainingJobRequest(training_job_id=job_id))

    await _repeat(train, statuses)


async def _detections(channels: Channels, target: Target, statuses: Counter[str]) -> None:
    recording = short_recording(seed=1)

    async def work(index: int) -> None:
        stub = detection_grpc.DetectionServiceStub(channels[index % len(channels)])

        async def detect() -> None:
            start = {"model_id": target.model_id}
            requests = [detection_pb.DetectRequest(start=start), detection_pb.DetectRequest(data=recording)]
            async for _ in stub.Detect(iter(requests)):
                pass

        await _repeat(detect, statuses)

    await _many(DETECTIONS, work)


# Copies come last: what they leave behind in the database would be cleaned up beside the others.
ABUSES: dict[str, Abuse] = {
    "batches of 10,000 empty annotations": _batches(SMALL_BATCH),
    "batches of 4,000,000 empty annotations": _batches(LARGE_BATCH),
    "the same with gzip": _batches(LARGE_BATCH, grpc.Compression.Gzip),
    "1,000 unread downloads": _unread_downloads,
    "two decoder bombs": _bombs,
    "log flood": _log_flood,
    "500 detections at once": _detections,
    "a job of 1,000,000 annotations": _million,
    "12 copies of 400,000 annotations": _copies,
}
