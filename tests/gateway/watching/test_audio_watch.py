"""WatchAudioFiles: changes come in order, without gaps or duplicates, until all files are finished."""

from grpc import aio

from earmark.v1 import audio_service_pb2 as pb
from earmark.v1 import dataset_service_pb2
from tests.gateway import rows
from tests.gateway.calls import dataset, finish_processing, opened, refused, upload

READY = pb.AUDIO_PROCESSING_STATUS_READY


def watch(gateway, dataset_id: str, after: int = 0):
    return gateway.audio.WatchAudioFiles(
        pb.WatchAudioFilesRequest(dataset_id=dataset_id, after_revision=after)
    )


async def revisions(gateway, dataset_id: str, after: int = 0) -> list[int]:
    """The revisions that a watch yields until it ends."""
    return [r.audio_file.revision async for r in watch(gateway, dataset_id, after)]


async def test_a_watch_yields_each_file_then_its_changes_and_ends_when_all_are_finished(gateway) -> None:
    dataset_id = await dataset(gateway)
    files = [await upload(gateway, dataset_id) for _ in range(2)]
    call = watch(gateway, dataset_id)
    assert [(await call.read()).audio_file for _ in files] == files
    await finish_processing(gateway, "embedding", duration_ms=1000, sample_rate_hz=8000, channels=2)
    # The change was not published, so the upload wakes the watch.
    late = await upload(gateway, dataset_id)
    seen = [(await call.read()).audio_file for _ in range(3)]
    assert [file.revision for file in seen] == [3, 4, 5]
    assert (seen[0].duration_ms, seen[0].sample_rate_hz, seen[0].channels) == (1000, 8000, 2)
    assert seen[2] == late
    for file in (late, *files):
        await gateway.audio.DeleteAudioFile(pb.DeleteAudioFileRequest(audio_file_id=file.id))
    assert await call.read() == aio.EOF


async def test_a_watch_resumes_after_its_cursor_without_gaps_or_duplicates(gateway) -> None:
    dataset_id = await dataset(gateway)
    for _ in range(5):
        await upload(gateway, dataset_id)
    await finish_processing(gateway)
    assert await revisions(gateway, dataset_id) == [6, 7, 8, 9, 10]
    assert await revisions(gateway, dataset_id, after=8) == [9, 10]
    assert await revisions(gateway, dataset_id, after=10) == []


async def test_a_watch_of_many_files_yields_all_of_them(gateway) -> None:
    async with gateway.database.transaction() as connection:
        built = await rows.dataset(connection, files=450, annotated=())
        await connection.execute("UPDATE datasets SET audio_revision = 450")
    assert await revisions(gateway, str(built.dataset_id)) == list(range(1, 451))


async def test_a_watch_of_an_empty_dataset_ends_at_once(gateway) -> None:
    assert await revisions(gateway, await dataset(gateway)) == []


async def test_a_cursor_from_the_future_is_out_of_range(gateway) -> None:
    dataset_id = await dataset(gateway)
    await upload(gateway, dataset_id)
    refusal = await refused(watch(gateway, dataset_id, 2).read(), "OUT_OF_RANGE", "CURSOR_OUT_OF_RANGE")
    assert dict(refusal.info.metadata) == {"oldest_revision": "1", "latest_revision": "1"}


async def test_an_idle_watch_sends_heartbeats_with_the_number_of_files_in_progress(
    database_url, tmp_path
) -> None:
    async with opened(database_url, tmp_path, heartbeat_seconds=0.01) as gateway:
        dataset_id = await dataset(gateway)
        await upload(gateway, dataset_id)
        call = watch(gateway, dataset_id)
        assert (await call.read()).HasField("audio_file")
        assert (await call.read()).heartbeat.in_progress_count == 1
        await finish_processing(gateway)
        while (response := await call.read()).HasField("heartbeat"):
            pass
        assert response.audio_file.processing_status == READY
        assert await call.read() == aio.EOF


async def test_a_watch_ends_when_its_dataset_is_deleted(gateway) -> None:
    dataset_id = await dataset(gateway)
    await upload(gateway, dataset_id)
    call = watch(gateway, dataset_id)
    await call.read()
    await gateway.datasets.DeleteDataset(dataset_service_pb2.DeleteDatasetRequest(dataset_id=dataset_id))
    assert await call.read() == aio.EOF


async def test_a_watch_receives_the_changes_of_another_gateway(gateway, database_url, tmp_path) -> None:
    dataset_id = await dataset(gateway)
    await upload(gateway, dataset_id)
    call = watch(gateway, dataset_id)
    await call.read()
    async with opened(database_url, tmp_path) as other:
        late = await upload(other, dataset_id)
        assert (await call.read()).audio_file == late
    call.cancel()
