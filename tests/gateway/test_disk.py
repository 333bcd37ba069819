"""The gateway's disk has too little room, or fails: uploads are refused, and everything else goes on."""

import resource
import shutil
from contextlib import contextmanager

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from earmark.gateway.disk import Disk
from earmark.gateway.errors import UnavailableError
from earmark.health import DISK
from earmark.v1 import admin_service_pb2 as admin
from earmark.v1 import audio_service_pb2 as audio
from earmark.v1.admin_service_pb2_grpc import AdminServiceStub
from tests.gateway.calls import Gateway, dataset, opened, refused, upload

MORE_THAN_ANY_DISK_MB = 1 << 40


async def health(gateway: Gateway, service: str) -> int:
    stub = health_pb2_grpc.HealthStub(gateway.channel)
    return (await stub.Check(health_pb2.HealthCheckRequest(service=service))).status


async def problem(gateway: Gateway) -> str:
    reply = await AdminServiceStub(gateway.channel).GetCapacity(admin.GetCapacityRequest())
    return reply.upload_problem


async def test_a_disk_without_its_reserve_refuses_uploads_and_says_so(database_url, tmp_path) -> None:
    states = health_pb2.HealthCheckResponse
    async with opened(database_url, tmp_path) as gateway:
        dataset_id = await dataset(gateway)
        stored = await upload(gateway, dataset_id)
        assert await problem(gateway) == ""
        assert await health(gateway, DISK) == states.SERVING
    async with opened(database_url, tmp_path, disk_reserve_mb=MORE_THAN_ANY_DISK_MB) as gateway:
        refusal = await refused(upload(gateway, dataset_id), "UNAVAILABLE", "DISK_FULL")
        assert refusal.details["google.rpc.RetryInfo"].retry_delay.seconds == 10
        assert str(tmp_path) not in refusal.message
        found = await problem(gateway)
        assert found.startswith(f"the disk of {tmp_path} has ")
        assert "EARMARK_DISK_RESERVE_MB" in found
        assert await health(gateway, DISK) == states.NOT_SERVING
        assert await health(gateway, "") == states.SERVING
        assert len(gateway.objects()) == await gateway.count("audio_files") == 1
        # Room is made by deletions.
        await gateway.audio.DeleteAudioFile(audio.DeleteAudioFileRequest(audio_file_id=stored.id))


async def test_an_upload_needs_room_for_two_copies_beside_the_others(tmp_path) -> None:
    data, objects = tmp_path, tmp_path / "objects"
    objects.mkdir()
    free = shutil.disk_usage(tmp_path).free
    disk = Disk([data, objects], 0)
    async with disk.room_for(free // 4):
        with pytest.raises(UnavailableError):
            async with disk.room_for(free // 2):
                pytest.fail("there is no room")
        await disk.check()
        assert disk.problem == ""
    async with disk.room_for(free // 3):
        pass


async def test_a_folder_that_is_gone_is_a_problem(tmp_path) -> None:
    disk = Disk([tmp_path / "gone"], 0)
    await disk.check()
    assert "gone" in disk.problem
    (tmp_path / "gone").mkdir()
    await disk.check()
    assert disk.problem == ""


@contextmanager
def no_files_larger_than(size_bytes: int):
    """This process cannot write more into a file, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_a_disk_that_is_full_in_the_middle_of_an_upload_is_no_internal_error(gateway) -> None:
    dataset_id = await dataset(gateway)
    # The disk is full when a part is written, or only when the rest of the buffer is.
    for size in (3 << 20, (1 << 20) + 100):
        with no_files_larger_than(1 << 20):
            await refused(upload(gateway, dataset_id, bytes(size)), "UNAVAILABLE", "DISK_FULL")
    assert gateway.objects() == []
    await upload(gateway, dataset_id, bytes(100))


async def test_a_folder_that_takes_no_uploads_is_no_internal_error(gateway) -> None:
    dataset_id = await dataset(gateway)
    (gateway.data_dir / "uploads").write_bytes(b"")
    await refused(upload(gateway, dataset_id), "UNAVAILABLE", "DISK_FULL")
