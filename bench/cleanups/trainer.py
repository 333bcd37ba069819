"""A trainer that stores what a trainer stores, without decoding or training anything."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any

from grpc import aio
from grpc_status import rpc_status

from earmark.gateway.server import SERVER_OPTIONS
from earmark.internal.v1 import trainer_service_pb2 as pb
from earmark.internal.v1 import trainer_service_pb2_grpc
from earmark.storage.objects import ObjectNotFoundError, ObjectStore
from earmark.trainer.service.errors import CallError
from earmark.trainer.service.messages import to_status

TRAINING_SLOTS, AUDIO_SLOTS = 16, 8
FILE_MS = 61_000
EPOCHS = 2
# The shares of the files and attempts that fail for their data, that are lost, and that leave an unfinished
# write as a killed process does; and of those of which something is stored once more some seconds later.
FAILING, LOST, KILLED, LATE = 0.02, 0.02, 0.02, 0.05
LATE_SECONDS = 5.0
EPOCH_SECONDS = 0.2


class StoringTrainer(trainer_service_pb2_grpc.TrainerServiceServicer):
    """Writes each object that a real trainer writes, a few bytes long, under the key that it would have."""

    def __init__(self, objects: ObjectStore, seed: int) -> None:
        self._objects = objects
        self._random = Random(seed)
        self._free = pb.Capacity(
            device="none",
            training_slots=TRAINING_SLOTS,
            free_training_slots=TRAINING_SLOTS,
            audio_slots=AUDIO_SLOTS,
            free_audio_slots=AUDIO_SLOTS,
            store_id=objects.store_id,
        )
        self.late: set[asyncio.Task[None]] = set()

    async def ProcessAudio(self, request: Any, context: Any) -> AsyncIterator[Any]:  # noqa: N802
        """Reads the uploaded bytes, and stores the two other objects of the file."""
        yield pb.ProcessAudioResponse(normalizing=pb.ProcessAudioResponse.Normalizing())
        try:
            source = await self._objects.get_async(request.source)
        except ObjectNotFoundError:
            yield pb.ProcessAudioResponse(failed=pb.ProcessAudioResponse.Failed(error_message="no bytes"))
            return
        await self._put(request.audio, source)
        await self._perhaps_lose(context, request.features)
        yield pb.ProcessAudioResponse(
            embedding=pb.ProcessAudioResponse.Embedding(duration_ms=FILE_MS, sample_rate_hz=8_000, channels=1)
        )
        if self._random.random() < FAILING:
            yield pb.ProcessAudioResponse(failed=pb.ProcessAudioResponse.Failed(error_message="by chance"))
            return
        await self._put(request.features, source)
        yield pb.ProcessAudioResponse(ready=pb.ProcessAudioResponse.Ready())

    async def Train(self, requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:  # noqa: N802
        """Stores the checkpoint of each epoch, and then a model."""
        job = (await anext(requests)).job
        yield pb.TrainResponse(accepted=pb.TrainResponse.Accepted(device="none"))
        async for _file in requests:
            pass
        for epoch in range(1, EPOCHS + 1):
            key = f"{job.prefix}/checkpoint-{epoch:04d}-000000.safetensors"
            await self._put(key, b"checkpoint")
            yield pb.TrainResponse(checkpoint=pb.TrainResponse.Checkpoint(epoch=epoch, key=key))
            yield pb.TrainResponse(epoch_completed={"epoch": epoch, "best_epoch": epoch})
            await asyncio.sleep(self._random.uniform(0, EPOCH_SECONDS))
            await self._perhaps_lose(context, f"{job.prefix}/model.safetensors")
        if self._random.random() < FAILING:
            await _end(context, CallError("LOSS_NOT_FINITE", "by chance"))
        weights, config = f"{job.prefix}/model.safetensors", f"{job.prefix}/model.json"
        await self._put(weights, b"weights")
        await self._put(config, b"{}")
        yield pb.TrainResponse(completed=_completed(weights, config))

    async def WatchCapacity(self, _request: Any, _context: Any) -> AsyncIterator[Any]:  # noqa: N802
        while True:
            yield pb.WatchCapacityResponse(capacity=self._free)
            await asyncio.sleep(1)

    async def _put(self, key: str, data: bytes) -> None:
        await self._objects.put_async(key, data)
        if self._random.random() < LATE:
            task = asyncio.create_task(self._put_late(key, data, self._random.uniform(0, LATE_SECONDS)))
            self.late.add(task)
            task.add_done_callback(self.late.discard)

    async def _put_late(self, key: str, data: bytes, seconds: float) -> None:
        """What a trainer does whose call was given up, and perhaps its file or job deleted."""
        await asyncio.sleep(seconds)
        await self._objects.put_async(key, data)

    async def _perhaps_lose(self, context: Any, key: str) -> None:
        """Ends some calls as if the process had crashed, or had been killed while it wrote this object."""
        drawn = self._random.random()
        if drawn < KILLED:
            assert self._objects.folder is not None
            # The name under which the library that writes into folders begins an object.
            path = self._objects.folder / f"{key}#1"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"unfinished")
        if drawn < KILLED + LOST:
            await _end(context, CallError("TRAINER_LOST", "by chance"))


def _completed(weights: str, config: str) -> pb.TrainResponse.Completed:
    sha256 = hashlib.sha256(b"weights").hexdigest()
    return pb.TrainResponse.Completed(
        weights=weights, model_config=config, size_bytes=7, sha256=sha256, best_epoch=EPOCHS
    )


async def _end(context: Any, error: CallError) -> None:
    await context.abort_with_status(rpc_status.to_status(to_status(error)))


@asynccontextmanager
async def serving(trainer: StoringTrainer) -> AsyncIterator[str]:
    """Serves the trainer and yields its address."""
    server = aio.server(options=SERVER_OPTIONS)
    trainer_service_pb2_grpc.add_TrainerServiceServicer_to_server(trainer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)
