"""WatchAudioFiles: events of the same log as those of jobs, and the end once no file is in progress."""

import asyncio
from uuid import uuid4

import pytest
from grpc import aio

from earmark.gateway.watching import tenant_log
from earmark.storage.queries import audio, events
from earmark.v1 import audio_service_pb2 as pb
from earmark.v1 import dataset_service_pb2
from tests.gateway import rows
from tests.gateway.calls import NOWHERE, dataset, finish_processing, opened, refused, upload
from tests.gateway.driven_jobs import driving
from tests.storage import jobs as stored_jobs

S = pb.AudioProcessingStatus
K = pb.AudioFileEventKind
# Only a hang lasts this long.
TIMEOUT_SECONDS = 20
READY, FAILED = S.AUDIO_PROCESSING_STATUS_READY, S.AUDIO_PROCESSING_STATUS_FAILED


def watch(gateway, after_cursor: str = "", **fields):
    """A watch after the cursor; without one, from the start unless `from_start` is false."""
    fields = {"from_start": not after_cursor} | fields
    return gateway.audio.WatchAudioFiles(pb.WatchAudioFilesRequest(after_cursor=after_cursor, **fields))


async def take(call, count: int) -> list[pb.WatchAudioFilesResponse]:
    """Reads this many events and cancels the call."""
    responses = []
    while len(responses) < count:
        response = await call.read()
        if response.HasField("event"):
            responses.append(response)
    call.cancel()
    return responses


async def to_end(call) -> list[pb.WatchAudioFilesResponse]:
    """The events up to the end of the stream."""
    responses = []
    while (response := await call.read()) != aio.EOF:
        responses.append(response)
    return [response for response in responses if response.HasField("event")]


def summaries(responses) -> list[tuple[str, str]]:
    """Each event's file and the new status of a status change, otherwise its kind."""
    return [(r.event.audio_file_id, summary(r.event)) for r in responses]


def summary(event: pb.AudioFileEvent) -> str:
    if event.HasField("status_changed"):
        return S.Name(event.status_changed.to).removeprefix("AUDIO_PROCESSING_STATUS_").lower()
    return event.WhichOneof("kind")


async def delete(gateway, file: pb.AudioFile) -> None:
    await gateway.audio.DeleteAudioFile(pb.DeleteAudioFileRequest(audio_file_id=file.id))


async def delete_dataset(gateway, dataset_id: str) -> None:
    request = dataset_service_pb2.DeleteDatasetRequest(dataset_id=dataset_id, force=True)
    await gateway.datasets.DeleteDataset(request)


async def test_every_cursor_resumes_right_after_its_event(gateway) -> None:
    dataset_id = await dataset(gateway)
    whole = watch(gateway)
    one, other = [await upload(gateway, dataset_id) for _ in range(2)]
    await finish_processing(gateway, "normalizing")
    await gateway.execute("UPDATE audio_files SET lease_until = now() - interval '1 s'")
    await finish_processing(gateway, "failed", error_message="no audio")
    await delete(gateway, other)
    await delete_dataset(gateway, dataset_id)
    responses = await take(whole, 9)
    assert summaries(responses) == [
        *((one.id, "created"), (other.id, "created")),
        *((one.id, "normalizing"), (other.id, "normalizing")),
        *((one.id, "failed"), (other.id, "failed")),
        *((other.id, "deleted"), (one.id, "deleted")),
        ("", "dataset_deleted"),
    ]
    assert {response.event.dataset_id for response in responses} == {dataset_id}
    changed = responses[4].event.status_changed
    assert (getattr(changed, "from"), changed.to) == (S.AUDIO_PROCESSING_STATUS_NORMALIZING, FAILED)
    assert changed.error_message == "no audio"
    for number, response in enumerate(responses[:-1], start=1):
        rest = await take(watch(gateway, response.cursor), 9 - number)
        assert [r.cursor for r in rest] == [r.cursor for r in responses[number:]]
        assert summaries(rest) == summaries(responses[number:])


async def test_a_stream_begins_now_unless_told_otherwise_and_stays_open(gateway) -> None:
    empty, finished = await dataset(gateway), await dataset(gateway)
    before = await upload(gateway, finished)
    await finish_processing(gateway)
    call = watch(gateway, from_start=False, dataset_ids=[empty, finished])
    start = await call.read()
    assert start.heartbeat.in_progress_count == 0
    late = [await upload(gateway, dataset_id) for dataset_id in (empty, finished)]
    await delete(gateway, before)
    responses = await take(call, 3)
    assert summaries(responses) == [*((file.id, "created") for file in late), (before.id, "deleted")]
    assert await take(watch(gateway, start.cursor), 3) == responses


async def test_filters_select_datasets_statuses_and_kinds(gateway) -> None:
    here, there, elsewhere = [await dataset(gateway) for _ in range(3)]
    files = [await upload(gateway, dataset_id) for dataset_id in (here, there, elsewhere)]
    await finish_processing(gateway)
    await delete(gateway, files[0])
    await delete_dataset(gateway, there)
    both = await take(watch(gateway, dataset_ids=[here, there]), 7)
    assert [summary(r.event) for r in both] == [
        *("created", "created", "ready", "ready"),
        *("deleted", "deleted", "dataset_deleted"),
    ]
    ready = watch(gateway, processing_statuses=[READY])
    assert summaries(await take(ready, 3)) == [(file.id, "ready") for file in files]
    kinds = [K.AUDIO_FILE_EVENT_KIND_CREATED, K.AUDIO_FILE_EVENT_KIND_DATASET_DELETED]
    assert [summary(r.event) for r in await take(watch(gateway, kinds=kinds), 4)] == [
        *("created", "created", "created", "dataset_deleted")
    ]
    deleted = watch(gateway, kinds=[K.AUDIO_FILE_EVENT_KIND_DELETED], dataset_ids=[there])
    assert summaries(await take(deleted, 1)) == [(files[1].id, "deleted")]
    changed = watch(gateway, kinds=[K.AUDIO_FILE_EVENT_KIND_STATUS_CHANGED], dataset_ids=[elsewhere])
    assert summaries(await take(changed, 1)) == [(files[2].id, "ready")]


async def test_events_of_jobs_are_left_out_and_pass_the_cursor(gateway) -> None:
    async with driving(gateway) as driver:
        call = watch(gateway, from_start=False)
        start = await call.read()
        job = await driver.job()
        await job.record("on")
        files = await take(call, 3)
        file = await upload(gateway, await dataset(gateway))
        assert summaries(await take(watch(gateway, files[-1].cursor), 1)) == [(file.id, "created")]
        assert [summary(r.event) for r in await take(watch(gateway, start.cursor), 4)] == ["created"] * 4


async def test_another_tenants_files_are_not_seen(gateway) -> None:
    async with gateway.database.transaction() as connection:
        theirs = await rows.dataset(connection, tenant="other", audio_status="pending")
    mine = await upload(gateway, await dataset(gateway))
    call = watch(gateway, dataset_ids=[str(theirs.dataset_id)], from_start=False)
    await refused(call.read(), "NOT_FOUND", "NOT_FOUND")
    assert await to_end(watch(gateway, dataset_ids=[str(theirs.dataset_id)], until_idle=True)) == []
    await finish_processing(gateway)
    responses = await to_end(watch(gateway, until_idle=True))
    assert summaries(responses) == [(mine.id, "created"), (mine.id, "ready")]


async def test_the_in_progress_files_of_another_tenant_do_not_delay_the_end(gateway) -> None:
    async with gateway.database.transaction() as connection:
        await rows.dataset(connection, tenant="other", audio_status="embedding")
    start = await watch(gateway, from_start=False, until_idle=True).read()
    assert start.heartbeat.in_progress_count == 0
    assert await to_end(watch(gateway, until_idle=True)) == []


async def test_a_watch_that_begins_now_on_a_missing_dataset_is_not_found_and_a_resumed_one_is_not(
    gateway,
) -> None:
    there, gone = await dataset(gateway), await dataset(gateway)
    call = watch(gateway, from_start=False, dataset_ids=[there, NOWHERE])
    refusal = await refused(call.read(), "NOT_FOUND", "NOT_FOUND")
    assert refusal.resource == ("dataset", NOWHERE)
    start = await watch(gateway, from_start=False, dataset_ids=[gone]).read()
    await delete_dataset(gateway, gone)
    resumed = watch(gateway, start.cursor, dataset_ids=[gone])
    assert summaries(await take(resumed, 1)) == [("", "dataset_deleted")]


async def test_a_cursor_and_from_start_are_refused_together(gateway) -> None:
    refusal = await refused(watch(gateway, "x", from_start=True).read(), "INVALID_ARGUMENT", "INVALID_FIELD")
    assert "not both" in refusal.message


async def test_a_cursor_of_another_log_is_out_of_range(gateway) -> None:
    await upload(gateway, await dataset(gateway))
    (response,) = await take(watch(gateway), 1)
    await gateway.execute("UPDATE events SET time = time - interval '1 s'")
    await refused(watch(gateway, response.cursor).read(), "OUT_OF_RANGE", "CURSOR_OUT_OF_RANGE")


async def test_an_idle_watch_sends_heartbeats_with_the_number_of_files_in_progress(
    database_url, tmp_path
) -> None:
    async with opened(database_url, tmp_path, heartbeat_seconds=0.02) as gateway:
        dataset_id = await dataset(gateway)
        file = await upload(gateway, dataset_id)
        await upload(gateway, await dataset(gateway))
        call = watch(gateway, from_start=False, dataset_ids=[dataset_id], until_idle=True)
        beats = [await call.read() for _ in range(2)]
        assert [beat.heartbeat.in_progress_count for beat in beats] == [1, 1]
        # The change is not published: the watch learns of it at the next heartbeat.
        await finish_processing(gateway)
        assert summaries(await to_end(call)) == [(file.id, "ready")]


async def test_until_idle_ends_at_once_if_nothing_is_in_progress(gateway) -> None:
    empty, finished = await dataset(gateway), await dataset(gateway)
    file = await upload(gateway, finished)
    await finish_processing(gateway)
    pending = await dataset(gateway)
    await upload(gateway, pending)
    for dataset_id in (empty, finished):
        call = watch(gateway, from_start=False, dataset_ids=[dataset_id], until_idle=True)
        assert (await call.read()).heartbeat.in_progress_count == 0
        assert await call.read() == aio.EOF
    history = await to_end(watch(gateway, dataset_ids=[finished], until_idle=True))
    assert summaries(history) == [(file.id, "created"), (file.id, "ready")]
    assert (
        await to_end(watch(gateway, history[0].cursor, dataset_ids=[finished], until_idle=True))
        == history[1:]
    )
    assert await to_end(watch(gateway, history[1].cursor, dataset_ids=[finished], until_idle=True)) == []


@pytest.mark.parametrize("end", ["ready", "deleted", "dataset deleted"])
async def test_until_idle_ends_with_the_last_file_in_progress(gateway, end) -> None:
    dataset_id = await dataset(gateway)
    one, other = [await upload(gateway, dataset_id) for _ in range(2)]
    # The filter excludes the event that ends the stream.
    call = watch(gateway, dataset_ids=[dataset_id], kinds=[K.AUDIO_FILE_EVENT_KIND_CREATED], until_idle=True)
    assert [(await call.read()).event.audio_file_id for _ in range(2)] == [one.id, other.id]
    await delete(gateway, one)
    third = await upload(gateway, dataset_id)
    assert (await call.read()).event.audio_file_id == third.id
    await delete(gateway, third)
    if end == "ready":
        await finish_processing(gateway)
        await upload(gateway, await dataset(gateway))
    elif end == "deleted":
        await delete(gateway, other)
    else:
        await delete_dataset(gateway, dataset_id)
    assert await call.read() == aio.EOF


async def test_a_file_uploaded_while_the_end_is_decided_does_not_cut_the_events_before_it(
    gateway, monkeypatch
) -> None:
    dataset_id = await dataset(gateway)
    file = await upload(gateway, dataset_id)
    await finish_processing(gateway)
    in_progress, late = audio.in_progress, []

    async def with_upload(*arguments):
        """Others act right after the snapshot."""
        now = await in_progress(*arguments)
        if not late:
            late.append(await upload(gateway, dataset_id))
        return now

    monkeypatch.setattr(audio, "in_progress", with_upload)
    history = await to_end(watch(gateway, dataset_ids=[dataset_id], until_idle=True))
    # The snapshot decides: the stream ends before the late file's first event.
    assert summaries(history) == [(file.id, "created"), (file.id, "ready")]
    again = watch(gateway, history[-1].cursor, dataset_ids=[dataset_id], until_idle=True)
    assert summaries([await again.read()]) == [(late[0].id, "created")]
    await finish_processing(gateway)
    await upload(gateway, await dataset(gateway))
    assert summaries(await to_end(again)) == [(late[0].id, "ready")]


async def test_the_end_comes_after_every_event_that_led_to_it(gateway, monkeypatch) -> None:
    dataset_id = await dataset(gateway)
    files = [await upload(gateway, dataset_id) for _ in range(3)]
    in_progress, decided = audio.in_progress, asyncio.Event()

    async def with_changes(*arguments):
        """Others finish the files right before the snapshot, and the watch has not read that yet."""
        await finish_processing(gateway)
        now = await in_progress(*arguments)
        decided.set()
        return now

    monkeypatch.setattr(audio, "in_progress", with_changes)
    call = watch(gateway, dataset_ids=[dataset_id], until_idle=True)
    reading = asyncio.ensure_future(to_end(call))
    created = [(file.id, "created") for file in files]
    await decided.wait()
    # A later event, which is published, makes the gateway read the log. It comes after the end.
    await upload(gateway, dataset_id)
    assert summaries(await reading) == [*created, *((file.id, "ready") for file in files)]


async def test_until_idle_ends_although_all_events_were_removed(gateway) -> None:
    dataset_id = await dataset(gateway)
    await upload(gateway, dataset_id)
    await delete_dataset(gateway, dataset_id)
    await remove_events(gateway, 3)
    assert await to_end(watch(gateway, until_idle=True)) == []


async def remove_events(gateway, sequence: int) -> None:
    """Removes what the events up to this number supersede, as too old."""
    async with gateway.database.connection() as connection:
        await stored_jobs.age(connection, sequence, 91)
    await events.compact(gateway.database, 90)


async def test_long_after_its_end_each_file_has_its_last_event_and_a_deleted_one_none(gateway) -> None:
    dataset_id = await dataset(gateway)
    kept, deleted = [await upload(gateway, dataset_id) for _ in range(2)]
    await finish_processing(gateway)
    await delete(gateway, deleted)
    whole = await take(watch(gateway), 5)
    await remove_events(gateway, 5)
    await upload(gateway, dataset_id)
    responses = await take(watch(gateway), 2)
    assert summaries(responses)[0] == (kept.id, "ready")
    refusal = await refused(watch(gateway, whole[0].cursor).read(), "OUT_OF_RANGE", "CURSOR_OUT_OF_RANGE")
    assert "too old" in refusal.message


async def test_every_cursor_resumes_a_replay_of_events_between_which_others_were_removed(gateway) -> None:
    dataset_id = await dataset(gateway)
    first = [await upload(gateway, dataset_id) for _ in range(2)]
    await delete(gateway, await upload(gateway, dataset_id))
    last = [await upload(gateway, dataset_id) for _ in range(2)]
    await remove_events(gateway, 6)
    whole = await take(watch(gateway), 4)
    assert summaries(whole) == [(file.id, "created") for file in first + last]
    for number, response in enumerate(whole[:-1], start=1):
        assert await take(watch(gateway, response.cursor), 4 - number) == whole[number:]


async def test_every_cursor_resumes_whether_its_event_is_in_memory_or_not(gateway, monkeypatch) -> None:
    monkeypatch.setattr(tenant_log, "KEPT", 4)
    dataset_id = await dataset(gateway)
    for _ in range(10):
        await upload(gateway, dataset_id)
    whole = await take(watch(gateway), 10)
    for number, response in enumerate(whole[:-1], start=1):
        async with asyncio.timeout(TIMEOUT_SECONDS):
            assert await take(watch(gateway, response.cursor), 10 - number) == whole[number:]


async def test_a_watch_receives_the_changes_of_another_gateway(gateway, database_url, tmp_path) -> None:
    dataset_id = await dataset(gateway)
    call = watch(gateway, from_start=False, dataset_ids=[dataset_id])
    await call.read()
    async with opened(database_url, tmp_path) as other:
        late = await upload(other, dataset_id)
        assert summaries([await call.read()]) == [(late.id, "created")]
    call.cancel()


async def test_a_slow_stream_reads_on_from_the_table(gateway, monkeypatch) -> None:
    monkeypatch.setattr(tenant_log, "KEPT", 20)
    call = watch(gateway, from_start=False)
    await call.read()
    async with gateway.database.transaction() as connection:
        built = await rows.dataset(connection, files=450, audio_status="pending", annotated=())
    await finish_processing(gateway, "failed", error_message="x" * 10_000)
    await upload(gateway, str(built.dataset_id))
    responses = await take(call, 901)
    ids = [str(file_id) for file_id in built.audio_file_ids]
    assert summaries(responses)[:900] == [*((i, "created") for i in ids), *((i, "failed") for i in ids)]


async def test_a_repeated_request_adds_no_event(gateway) -> None:
    dataset_id, request_id = await dataset(gateway), str(uuid4())
    for _ in range(2):
        file = await upload(gateway, dataset_id, request_id=request_id)
    for _ in range(2):
        request = pb.DeleteAudioFileRequest(audio_file_id=file.id, request_id=str(request_id)[:-4] + "0000")
        await gateway.audio.DeleteAudioFile(request)
    assert summaries(await to_end(watch(gateway, until_idle=True))) == [
        (file.id, "created"),
        (file.id, "deleted"),
    ]
