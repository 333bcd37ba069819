"""AudioService: uploads, reads, deletes and watches, with a real database and folder."""

import asyncio
import hashlib
import os
from typing import Any
from uuid import UUID, uuid4

import grpc
import pytest
from grpc import aio

from earmark.storage.queries import audio
from earmark.v1 import audio_service_pb2 as pb
from tests.gateway import rows
from tests.gateway.calls import (
    NOWHERE,
    annotate,
    dataset,
    decoded,
    draft,
    finish_processing,
    keys,
    messages,
    new_annotation,
    opened,
    publish,
    refused,
    sweep,
    together,
    upload,
)

S = pb.AudioProcessingStatus
PENDING = S.AUDIO_PROCESSING_STATUS_PENDING


def meta(**fields: Any) -> pb.UploadAudioRequest:
    return pb.UploadAudioRequest(metadata={"filename": "a.wav", "size_bytes": 4} | fields)


def part(data: bytes, offset: int | None = None) -> pb.UploadAudioRequest:
    return pb.UploadAudioRequest(part={"data": data, "offset": offset})


async def get(gateway, audio_file_id: str) -> pb.AudioFile:
    return (await gateway.audio.GetAudioFile(pb.GetAudioFileRequest(audio_file_id=audio_file_id))).audio_file


async def listed(gateway, dataset_id: str, **arguments) -> list[str]:
    request = pb.ListAudioFilesRequest(dataset_id=dataset_id, **arguments)
    return [file.id for file in (await gateway.audio.ListAudioFiles(request)).audio_files]


def delete(gateway, audio_file_id: str, **fields):
    return gateway.audio.DeleteAudioFile(pb.DeleteAudioFileRequest(audio_file_id=audio_file_id, **fields))


def download(gateway, audio_file_id: str):
    return gateway.audio.DownloadAudio(pb.DownloadAudioRequest(audio_file_id=audio_file_id))


def watch(gateway, dataset_id: str, **fields):
    return gateway.audio.WatchAudioFiles(pb.WatchAudioFilesRequest(dataset_ids=[dataset_id], **fields))


async def test_an_upload_in_parts_becomes_a_pending_file_that_downloads_unchanged(gateway) -> None:
    data = os.urandom(11 * (1 << 20) + 17)
    digest = hashlib.sha256(data).hexdigest()
    file = await upload(gateway, await dataset(gateway), data, content_type="audio/wav", sha256=digest)
    assert (file.processing_status, file.size_bytes, file.sha256) == (PENDING, len(data), digest)
    assert (file.original_filename, file.content_type) == ("call.wav", "audio/wav")
    assert (file.duration_ms, file.sample_rate_hz, file.channels) == (0, 0, 0)
    assert await get(gateway, file.id) == file
    assert gateway.objects() == [f"default/audio/{file.id}/source"]
    offset = 0
    async for response in download(gateway, file.id):
        assert response.offset == offset
        assert response.data == data[offset : offset + len(response.data)]
        assert len(response.data) <= 1 << 20
        offset += len(response.data)
    assert offset == len(data)


async def test_offsets_are_optional_and_parts_may_be_empty(gateway) -> None:
    dataset_id = await dataset(gateway)
    requests = [meta(dataset_id=dataset_id), part(b"RI"), part(b""), part(b"FF")]
    response = await gateway.audio.UploadAudio(iter(requests))
    assert response.audio_file.sha256 == hashlib.sha256(b"RIFF").hexdigest()


WRONG = {
    "nothing": ([], "metadata", "the stream ended before its first message"),
    "no metadata": ([part(b"RIFF")], "metadata", "the first message must carry metadata"),
    "metadata twice": ([meta, meta], "metadata", "sent twice"),
    "metadata at the end": ([meta, part(b"RIFF"), meta], "metadata", "sent twice"),
    "empty": ([meta], "metadata.size_bytes", "announced 4 bytes, but the stream ended after 0"),
    "cut off": (
        [meta, part(b"RIF")],
        "metadata.size_bytes",
        "announced 4 bytes, but the stream ended after 3",
    ),
    "too long": ([meta, part(b"RIFF"), part(b"!", 4)], "part.data", "more than the 4 bytes"),
    "a first part that is not the first": ([meta, part(b"RIFF", 4)], "part.offset", "is 4, but 0 bytes"),
    "a later part that says that it is the first": (
        [meta, part(b"RI", 0), part(b"FF", 0)],
        "part.offset",
        "is 0, but 2 bytes came before",
    ),
    "out of order": ([meta, part(b"RI"), part(b"FF", 3)], "part.offset", "is 3, but 2 bytes came before"),
    "another hash": (
        [lambda **ids: meta(sha256="0" * 64, **ids), part(b"RIFF")],
        "metadata.sha256",
        hashlib.sha256(b"RIFF").hexdigest(),
    ),
}


async def test_an_upload_that_does_not_match_its_metadata_leaves_nothing(gateway) -> None:
    dataset_id = await dataset(gateway)
    for name, (requests, field, description) in WRONG.items():
        sent = [request(dataset_id=dataset_id) if callable(request) else request for request in requests]
        call = gateway.audio.UploadAudio(iter(sent))
        refusal = await refused(call, "INVALID_ARGUMENT", "INVALID_UPLOAD")
        assert list(refusal.fields) == [field], name
        assert description in refusal.fields[field], name
    assert gateway.objects() == []
    assert await gateway.count("audio_files") == 0


async def test_metadata_is_checked_by_its_field_rules(gateway) -> None:
    wrong = [
        ("dataset_id", "calls"),
        ("filename", ""),
        ("filename", "a" * 501),
        ("content_type", "a" * 201),
        ("size_bytes", 0),
        ("size_bytes", 524_288_001),
        ("sha256", "xyz"),
        ("request_id", "1"),
    ]
    for field, value in wrong:
        requests = [meta(**({"dataset_id": NOWHERE} | {field: value})), part(b"RIFF")]
        call = gateway.audio.UploadAudio(iter(requests))
        refusal = await refused(call, "INVALID_ARGUMENT", "INVALID_FIELD")
        assert list(refusal.fields) == [f"metadata.{field}"]


async def test_a_message_without_content_and_a_negative_offset_are_refused(gateway) -> None:
    dataset_id = await dataset(gateway)
    for wrong in (pb.UploadAudioRequest(), part(b"RIFF", -1)):
        call = gateway.audio.UploadAudio(iter([meta(dataset_id=dataset_id), wrong]))
        await refused(call, "INVALID_ARGUMENT", "INVALID_FIELD")
    assert gateway.objects() == []


async def test_a_name_that_postgres_cannot_store_is_refused_and_leaves_no_object(gateway) -> None:
    call = upload(gateway, await dataset(gateway), filename="a\0b")
    await refused(call, "INVALID_ARGUMENT", "INVALID_FIELD")
    assert gateway.objects() == []


async def test_an_upload_to_no_dataset_is_refused_before_its_bytes(gateway) -> None:
    call = gateway.audio.UploadAudio()
    await call.write(meta(dataset_id=NOWHERE))
    refusal = await refused(call, "NOT_FOUND", "NOT_FOUND")
    assert refusal.resource == ("dataset", NOWHERE)


async def test_a_cancelled_upload_leaves_nothing(database_url, tmp_path) -> None:
    async with opened(database_url, tmp_path) as gateway:
        call = gateway.audio.UploadAudio()
        await call.write(meta(dataset_id=await dataset(gateway)))
        await call.write(part(b"RI"))
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    async with opened(database_url, tmp_path) as gateway:
        assert await gateway.count("audio_files") == 0
    assert keys(tmp_path) == []


async def test_uploads_cancelled_at_any_point_leave_no_orphans(database_url, tmp_path) -> None:
    async with opened(database_url, tmp_path) as gateway:
        dataset_id = await dataset(gateway)
        for turns in range(0, 120, 3):
            call = asyncio.ensure_future(upload(gateway, dataset_id, b"RIFF" * 4000, part=4000))
            for _ in range(turns):
                await asyncio.sleep(0)
            call.cancel()
            await together(call)
    async with opened(database_url, tmp_path) as gateway:
        file_ids = await listed(gateway, dataset_id, page_size=1000)
    assert keys(tmp_path) == [f"default/audio/{audio_file_id}/source" for audio_file_id in file_ids]


async def test_the_same_upload_again_is_answered_without_its_bytes(gateway) -> None:
    dataset_id, request_id = await dataset(gateway), str(uuid4())
    first = await upload(gateway, dataset_id, request_id=request_id)
    call = gateway.audio.UploadAudio()
    await call.write(messages(dataset_id, b"RIFF", request_id=request_id)[0])
    assert (await call).audio_file == first
    assert await upload(gateway, dataset_id, request_id=request_id) == first
    assert gateway.objects() == [f"default/audio/{first.id}/source"]
    other = upload(gateway, dataset_id, filename="other.wav", request_id=request_id)
    refusal = await refused(other, "ALREADY_EXISTS", "REQUEST_ID_REUSED")
    assert refusal.info.metadata["request_id"] == request_id


async def test_concurrent_repeated_uploads_create_one_file(gateway) -> None:
    dataset_id, request_id = await dataset(gateway), str(uuid4())
    files = await together(*(upload(gateway, dataset_id, request_id=request_id) for _ in range(8)))
    assert all(file == files[0] for file in files)
    assert gateway.objects() == [f"default/audio/{files[0].id}/source"]
    assert await gateway.count("audio_files") == 1


async def test_concurrent_uploads_have_distinct_revisions(gateway) -> None:
    dataset_id = await dataset(gateway)
    files = await together(*(upload(gateway, dataset_id) for _ in range(20)))
    file_ids = [UUID(file.id) for file in files]
    async with gateway.database.connection() as connection:
        stored = [await audio.get(connection, rows.TENANT, file_id) for file_id in file_ids]
    assert sorted(file.revision for file in stored) == list(range(1, 21))


async def test_a_list_is_oldest_first_and_can_be_filtered_by_status(gateway) -> None:
    dataset_id = await dataset(gateway)
    ready = await decoded(gateway, dataset_id)
    pending = (await upload(gateway, dataset_id)).id
    assert await listed(gateway, dataset_id) == [ready, pending]
    assert await listed(gateway, dataset_id, processing_statuses=[PENDING]) == [pending]
    assert await listed(gateway, dataset_id, processing_statuses=[S.AUDIO_PROCESSING_STATUS_FAILED]) == []


async def test_missing_resources_are_not_found(gateway) -> None:
    calls = [
        ("audio_file", get(gateway, NOWHERE)),
        ("audio_file", delete(gateway, NOWHERE)),
        ("audio_file", download(gateway, NOWHERE).read()),
        ("dataset", listed(gateway, NOWHERE)),
        ("dataset", watch(gateway, NOWHERE).read()),
    ]
    for kind, call in calls:
        refusal = await refused(call, "NOT_FOUND", "NOT_FOUND")
        assert refusal.resource == (kind, NOWHERE)


async def test_another_tenants_file_is_not_found(gateway) -> None:
    async with gateway.database.transaction() as connection:
        other = await rows.dataset(connection, tenant="other")
    file_id, dataset_id = str(other.audio_file_ids[0]), str(other.dataset_id)
    for call in (get(gateway, file_id), delete(gateway, file_id), listed(gateway, dataset_id)):
        await refused(call, "NOT_FOUND", "NOT_FOUND")
    await refused(upload(gateway, dataset_id), "NOT_FOUND", "NOT_FOUND")
    await refused(watch(gateway, dataset_id).read(), "NOT_FOUND", "NOT_FOUND")


async def test_fields_are_checked(gateway) -> None:
    calls = [
        ("audio_file_id", get(gateway, "x")),
        ("audio_file_id", delete(gateway, "")),
        ("request_id", delete(gateway, NOWHERE, request_id="1")),
        ("audio_file_id", download(gateway, "x").read()),
        ("dataset_id", listed(gateway, "x")),
        ("processing_statuses[0]", listed(gateway, NOWHERE, processing_statuses=[99])),
        ("page_size", listed(gateway, NOWHERE, page_size=-1)),
        ("dataset_ids[0]", watch(gateway, "x").read()),
        ("processing_statuses[0]", watch(gateway, NOWHERE, processing_statuses=[0]).read()),
        ("kinds[0]", watch(gateway, NOWHERE, kinds=[99]).read()),
        ("after_cursor", watch(gateway, NOWHERE, after_cursor="x").read()),
    ]
    for field, call in calls:
        refusal = await refused(call, "INVALID_ARGUMENT", "INVALID_FIELD")
        assert list(refusal.fields) == [field]


async def test_deleting_removes_the_annotations_in_drafts_and_the_objects_later(gateway) -> None:
    dataset_id = await dataset(gateway, "glitch")
    file_id, other_id = await decoded(gateway, dataset_id), await decoded(gateway, dataset_id)
    set_id = (await draft(gateway, dataset_id)).id
    await annotate(gateway, set_id, new_annotation(file_id), new_annotation(other_id))
    request_id = str(uuid4())
    await delete(gateway, file_id, request_id=request_id)
    await delete(gateway, file_id, request_id=request_id)
    assert await listed(gateway, dataset_id) == [other_id]
    await sweep(gateway)
    assert gateway.objects() == [f"default/audio/{other_id}/source"]
    assert await gateway.count("annotations") == 1
    await refused(delete(gateway, file_id), "NOT_FOUND", "NOT_FOUND")


async def test_a_file_with_annotations_in_a_published_set_cannot_be_deleted(gateway) -> None:
    dataset_id = await dataset(gateway, "glitch")
    file_id = await decoded(gateway, dataset_id)
    set_id = (await draft(gateway, dataset_id)).id
    await annotate(gateway, set_id, new_annotation(file_id))
    await publish(gateway, set_id)
    refusal = await refused(delete(gateway, file_id), "FAILED_PRECONDITION", "IN_USE")
    assert [violation[:2] for violation in refusal.violations] == [("IN_USE", f"annotation_set/{set_id}")]
    await sweep(gateway)
    assert gateway.objects() == [f"default/audio/{file_id}/source"]


async def test_a_file_cannot_be_deleted_while_a_job_runs_on_its_dataset(gateway) -> None:
    async with gateway.database.transaction() as connection:
        built = await rows.dataset(connection, annotated=())
        await connection.execute(
            "INSERT INTO training_jobs (id, tenant_id, dataset_id, annotation_set_id, config, metadata,"
            " total_epochs) VALUES ($1, 'default', $2, $3, '{}', '{}', 1)",
            *(uuid4(), built.dataset_id, built.annotation_set_id),
        )
    file_id = str(built.audio_file_ids[0])
    refusal = await refused(delete(gateway, file_id), "FAILED_PRECONDITION", "IN_USE")
    assert "is not finished: cancel it" in refusal.message
    await refused(delete(gateway, file_id, force=True), "FAILED_PRECONDITION", "IN_USE")
    await gateway.execute("UPDATE training_jobs SET status = 'cancelled', finished_at = now()")
    await delete(gateway, file_id)


async def test_deleting_a_file_while_it_is_annotated_leaves_no_annotations(gateway) -> None:
    dataset_id = await dataset(gateway, "glitch")
    set_id = (await draft(gateway, dataset_id)).id
    for _ in range(5):
        file_id = await decoded(gateway, dataset_id)
        deleted, *annotated = await together(
            delete(gateway, file_id), *(annotate(gateway, set_id, new_annotation(file_id)) for _ in range(4))
        )
        assert not isinstance(deleted, BaseException)
        errors = [error.code() for error in annotated if isinstance(error, aio.AioRpcError)]
        assert set(errors) <= {grpc.StatusCode.INVALID_ARGUMENT}
    assert await gateway.count("annotations") == 0


async def test_a_download_of_what_was_not_uploaded_is_data_loss(gateway) -> None:
    file = await upload(gateway, await dataset(gateway), b"RIFF")
    stored = gateway.data_dir / "objects" / "default/audio" / file.id / "source"
    stored.write_bytes(b"RIFG")

    async def read_all() -> None:
        async for _ in download(gateway, file.id):
            pass

    refusal = await refused(read_all(), "DATA_LOSS", "STORED_OBJECT_DAMAGED")
    assert file.id in refusal.message
    stored.unlink()
    await refused(read_all(), "DATA_LOSS", "STORED_OBJECT_DAMAGED")


async def test_a_store_that_is_away_is_unavailable_and_not_data_loss(gateway) -> None:
    file = await upload(gateway, await dataset(gateway), b"RIFF")
    store, away = gateway.data_dir / "objects", gateway.data_dir / "away"
    store.rename(away)
    await refused(download(gateway, file.id).read(), "UNAVAILABLE", "OBJECT_STORE_UNAVAILABLE")
    away.rename(store)
    assert (await download(gateway, file.id).read()).data == b"RIFF"


async def test_a_claim_is_not_visible_until_the_trainer_replies(gateway) -> None:
    file = await upload(gateway, await dataset(gateway))
    async with gateway.database.connection() as connection:
        await audio.claim(connection, 1, 60)
    assert await get(gateway, file.id) == file


async def test_a_file_that_failed_is_processed_again_on_request(gateway) -> None:
    file = await upload(gateway, await dataset(gateway))
    retry = pb.RetryAudioFileRequest(audio_file_id=file.id, request_id=str(uuid4()))
    refusal = await refused(gateway.audio.RetryAudioFile(retry), "FAILED_PRECONDITION", "WRONG_STATE")
    assert "is pending; only one that failed" in refusal.message
    await finish_processing(gateway, "failed", error_message="its trainer was lost")
    events = gateway.audio.WatchAudioFiles(pb.WatchAudioFilesRequest(dataset_ids=[file.dataset_id]))
    await events.read()
    retried = (await gateway.audio.RetryAudioFile(retry)).audio_file
    assert (retried.id, retried.processing_status, retried.error_message) == (file.id, PENDING, "")
    assert (await gateway.audio.RetryAudioFile(retry)).audio_file == retried
    assert (await events.read()).event.status_changed.to == PENDING
    events.cancel()
