"""What one caller uses at once is bounded, and long calls take nothing from short ones."""

import asyncio
from uuid import uuid4

import pytest

from earmark.gateway.caller import address_of, begin_call, caller, without_key
from earmark.gateway.errors import QuotaError
from earmark.gateway.lane import MOST_WAITING, FairQueue
from earmark.gateway.shares import Scratch, Shares
from earmark.v1 import admin_service_pb2, training_service_pb2
from earmark.v1 import annotation_service_pb2 as pb
from earmark.v1 import audio_service_pb2 as audio_pb
from earmark.v1.admin_service_pb2_grpc import AdminServiceStub
from earmark.v1.detection_service_pb2_grpc import DetectionServiceStub
from earmark.v1.training_service_pb2_grpc import TrainingServiceStub
from tests.gateway.calls import annotate, dataset, draft, messages, new_annotation, opened, refused, upload


async def load(gateway) -> admin_service_pb2.GetLoadResponse:
    return await AdminServiceStub(gateway.channel).GetLoad(admin_service_pb2.GetLoadRequest())


async def begun_upload(gateway, dataset_id: str, size: int):
    """An upload that has sent `size` bytes and is not finished."""
    call = gateway.audio.UploadAudio()
    announced = {"dataset_id": dataset_id, "filename": "call.wav", "size_bytes": 10 * size}
    await call.write(audio_pb.UploadAudioRequest(metadata=announced))
    await call.write(audio_pb.UploadAudioRequest(part={"data": bytes(size)}))
    return call


async def test_a_caller_has_so_many_uploads_at_once_and_gets_the_place_of_one_that_ended(
    database_url, tmp_path
) -> None:
    async with opened(database_url, tmp_path, max_caller_uploads=2) as gateway:
        dataset_id = await dataset(gateway)
        begun = [await begun_upload(gateway, dataset_id, 10) for _ in range(2)]
        while (await load(gateway)).uploads < 2:
            pass
        refusal = await refused(upload(gateway, dataset_id), "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED")
        [violation] = refusal.details["google.rpc.QuotaFailure"].violations
        assert violation.subject == "caller/uploads"
        assert refusal.details["google.rpc.RetryInfo"].retry_delay.seconds == 1
        begun[0].cancel()
        while (await load(gateway)).uploads > 1:
            pass
        await upload(gateway, dataset_id)
        begun[1].cancel()


async def test_watches_and_large_messages_are_counted_too(database_url, tmp_path) -> None:
    async with opened(database_url, tmp_path, max_caller_watches=1, max_caller_message_mb=8) as gateway:
        training = TrainingServiceStub(gateway.channel)
        first = training.WatchTrainingJobs(training_service_pb2.WatchTrainingJobsRequest())
        await first.read()
        second = training.WatchTrainingJobs(training_service_pb2.WatchTrainingJobsRequest())
        await refused(second.read(), "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED")
        first.cancel()


def test_a_caller_is_an_address_and_its_share_is_its_own() -> None:
    shares = Shares({"uploads": 1, "message_bytes": 100})
    begin_call(without_key(address_of("ipv4:10.0.0.1:5000")))
    assert caller() == "ipv4:10.0.0.1"
    with shares.taken("uploads"):
        begin_call(without_key(address_of("ipv4:10.0.0.1:5001")))
        with pytest.raises(QuotaError, match="1 uploads"), shares.taken("uploads"):
            pass
        begin_call(without_key(address_of("ipv6:%5B::1%5D:5000")))
        with shares.taken("uploads"):
            assert shares.totals["uploads"] == 2
    assert shares.totals["uploads"] == 0
    with shares.taken("message_bytes", 60), pytest.raises(QuotaError), shares.taken("message_bytes", 41):
        pass


def test_the_share_of_an_ended_call_is_given_back_to_its_caller() -> None:
    shares = Shares({"uploads": 1})
    begin_call(without_key(address_of("ipv4:10.0.0.1:5000")))
    for _ in range(2):
        with pytest.raises(KeyError), shares.taken("uploads"):
            raise KeyError


async def test_unfinished_uploads_have_so_many_bytes_together_and_are_shown(database_url, tmp_path) -> None:
    async with opened(database_url, tmp_path, max_unfinished_upload_mb=1) as gateway:
        dataset_id = await dataset(gateway)
        begun = await begun_upload(gateway, dataset_id, 600_000)
        while (await load(gateway)).unfinished_upload_bytes < 600_000:
            pass
        call = gateway.audio.UploadAudio(iter(messages(dataset_id, bytes(600_000))))
        refusal = await refused(call, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED")
        assert "google.rpc.RetryInfo" in refusal.details
        begun.cancel()
        while (await load(gateway)).unfinished_upload_bytes:
            pass
        await upload(gateway, dataset_id, bytes(600_000))
        shown = await load(gateway)
    assert (shown.unfinished_upload_bytes, shown.max_unfinished_upload_bytes) == (0, 1 << 20)


def test_bytes_that_are_refused_do_not_count() -> None:
    scratch = Scratch(10)
    scratch.add(10)
    with pytest.raises(QuotaError):
        scratch.add(1)
    assert scratch.used == 10


async def test_an_upload_and_a_detection_that_send_nothing_are_ended(database_url, tmp_path) -> None:
    async with opened(database_url, tmp_path, stream_idle_seconds=0.2) as gateway:
        begun = await begun_upload(gateway, await dataset(gateway), 10)
        refusal = await refused(begun, "DEADLINE_EXCEEDED", "STREAM_IDLE")
        assert "sent nothing for 0.2 s" in refusal.message
        await refused(gateway.audio.UploadAudio(), "DEADLINE_EXCEEDED", "STREAM_IDLE")
        detection = DetectionServiceStub(gateway.channel).Detect()
        await refused(detection.read(), "DEADLINE_EXCEEDED", "STREAM_IDLE")
        while (shown := await load(gateway)).uploads or shown.detections or shown.unfinished_upload_bytes:
            pass


async def test_callers_take_turns_and_a_cancelled_one_loses_its_turn_to_the_next() -> None:
    queue, order = FairQueue(1), []
    go_on = asyncio.Event()

    async def work(key: str, number: int) -> None:
        async with queue.slot(key):
            order.append((key, number))
            await go_on.wait()

    tasks = []
    for key, number in (("a", 0), ("a", 1), ("a", 2), ("b", 0), ("a", 3), ("c", 0)):
        tasks.append(asyncio.create_task(work(key, number)))
        await asyncio.sleep(0)
    assert (queue.running, queue.waiting) == (1, 5)
    tasks[1].cancel()
    go_on.set()
    await asyncio.wait(tasks)
    assert order == [("a", 0), ("b", 0), ("c", 0), ("a", 2), ("a", 3)]
    assert (queue.running, queue.waiting) == (0, 0)


async def test_a_slot_given_to_a_call_that_is_cancelled_at_that_moment_is_given_on() -> None:
    queue = FairQueue(1)

    async def wait() -> None:
        async with queue.slot("a"):
            pass

    async with queue.slot("a"):
        waiting = asyncio.create_task(wait())
        await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    assert queue.running == 0


async def test_so_many_wait_and_more_are_refused() -> None:
    queue = FairQueue(1)

    async def work() -> None:
        async with queue.slot("a"):
            pass

    async with queue.slot("a"):
        tasks = [asyncio.create_task(work()) for _ in range(MOST_WAITING)]
        await asyncio.sleep(0)
        with pytest.raises(QuotaError):
            await work()
    await asyncio.gather(*tasks)


async def test_short_calls_are_served_while_more_long_ones_run_than_there_are_connections(
    database_url, tmp_path
) -> None:
    async with opened(database_url, tmp_path, database_pool_size=2, long_call_connections=1) as gateway:
        dataset_id = await dataset(gateway, "glitch")
        file, source = await upload(gateway, dataset_id), (await draft(gateway, dataset_id)).id
        await annotate(gateway, source, *[new_annotation(file.id)] * 2000)
        # Whoever copies the set waits for this lock.
        async with gateway.database.transaction() as connection:
            await connection.execute("SELECT FROM annotation_sets WHERE id = $1 FOR UPDATE", source)
            copies = [
                asyncio.create_task(draft(gateway, dataset_id, copy_of=source, request_id=str(uuid4())))
                for _ in range(4)
            ]
            while (shown := await load(gateway)).long_calls_waiting < 3:
                pass
            assert shown.long_calls_running == 1
            request = pb.GetAnnotationSetRequest(annotation_set_id=source)
            for _ in range(20):
                await gateway.annotations.GetAnnotationSet(request)
        assert [copy.total_annotations for copy in await asyncio.gather(*copies)] == [2000] * 4
