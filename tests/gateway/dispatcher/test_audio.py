"""The dispatcher's side of the processing of an audio file."""

import asyncio

import pytest

from earmark.internal.v1 import trainer_service_pb2 as pb
from earmark.storage.database import Database
from earmark.v1 import audio_service_pb2, dataset_service_pb2
from earmark.v1.audio_service_pb2_grpc import AudioServiceStub
from earmark.v1.dataset_service_pb2_grpc import DatasetServiceStub
from tests.gateway import rows
from tests.gateway.jobs import gateway
from tests.gateway.trainer_fronts import FakeTrainer, serving

# Neither a renewal of the lease nor its end may be what ends the work.
LEASE_SECONDS = 300


class EndlessDecoder(FakeTrainer):
    """Processes a file until the call is cancelled."""

    def __init__(self) -> None:
        super().__init__()
        self.began, self.ended, self.never = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def WatchCapacity(self, _request, _context):
        yield pb.WatchCapacityResponse(capacity=pb.Capacity(device="cpu", audio_slots=1, free_audio_slots=1))
        await self.never.wait()

    async def ProcessAudio(self, _request, _context):
        try:
            yield pb.ProcessAudioResponse(normalizing=pb.ProcessAudioResponse.Normalizing())
            self.began.set()
            await self.never.wait()
        finally:
            self.ended.set()


async def delete_file(channel, built: rows.Built) -> None:
    request = audio_service_pb2.DeleteAudioFileRequest(audio_file_id=str(built.audio_file_ids[0]), force=True)
    await AudioServiceStub(channel).DeleteAudioFile(request)


async def delete_dataset(channel, built: rows.Built) -> None:
    request = dataset_service_pb2.DeleteDatasetRequest(dataset_id=str(built.dataset_id), force=True)
    await DatasetServiceStub(channel).DeleteDataset(request)


@pytest.mark.parametrize("delete", [delete_file, delete_dataset])
async def test_a_deletion_ends_the_processing_of_the_file(database_url, tmp_path, delete):
    async with Database(database_url) as database, database.transaction() as connection:
        built = await rows.dataset(connection, files=1, audio_status="pending", annotated=())
    trainer = EndlessDecoder()
    async with (
        serving(trainer) as address,
        gateway(database_url, tmp_path, address, lease_seconds=LEASE_SECONDS) as channel,
        asyncio.timeout(10),
    ):
        await trainer.began.wait()
        await delete(channel, built)
        await trainer.ended.wait()
