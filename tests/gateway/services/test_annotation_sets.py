"""AnnotationService: annotation sets from draft to publication, and the errors of refused calls."""

import asyncio
from uuid import UUID

import grpc
from grpc import aio

from earmark.storage.queries import annotations
from earmark.v1 import annotation_service_pb2 as pb
from earmark.v1 import audio_service_pb2 as audio_pb
from tests.gateway.annotation_calls import delete, delete_set, draft_of_two, get_set, listed, update, versions
from tests.gateway.calls import (
    NOWHERE,
    annotate,
    dataset,
    decoded,
    draft,
    finish_processing,
    new_annotation,
    publish,
    refused,
    together,
    upload,
)

DRAFT = pb.ANNOTATION_SET_STATUS_DRAFT
PUBLISHED = pb.ANNOTATION_SET_STATUS_PUBLISHED


async def test_drafts_get_the_next_version_and_are_listed_newest_first(gateway) -> None:
    dataset_id, other = await dataset(gateway), await dataset(gateway)
    sets = await together(*(draft(gateway, dataset_id) for _ in range(5)))
    assert sorted(s.version for s in sets) == [1, 2, 3, 4, 5]
    assert all(s.status == DRAFT and s.dataset_id == dataset_id for s in sets)
    assert await versions(gateway, dataset_id) == [5, 4, 3, 2, 1]
    assert (await draft(gateway, other)).version == 1


async def test_a_set_has_totals_of_its_annotations(gateway) -> None:
    _, set_id, _ = await draft_of_two(gateway)
    read = await get_set(gateway, set_id)
    assert (read.total_annotations, read.total_positive_duration_ms) == (2, 950)
    assert dict(read.annotations_by_type) == {"glitch": 1, "dropout": 1}
    assert not read.HasField("published_at")


async def test_a_copy_has_the_same_annotations_with_new_ids(gateway) -> None:
    _, set_id, ids = await draft_of_two(gateway)
    await publish(gateway, set_id)
    source = await get_set(gateway, set_id)
    copy = await draft(gateway, source.dataset_id, copy_of=set_id)
    assert (copy.version, copy.status, copy.total_annotations) == (2, DRAFT, 2)
    before, after = await listed(gateway, set_id), await listed(gateway, copy.id)
    assert not set(ids) & {a.id for a in after}
    for annotation in before + after:
        annotation.id = annotation.annotation_set_id = ""
    assert before == after
    await update(gateway, (await listed(gateway, copy.id))[0].id)
    assert await get_set(gateway, set_id) == source


async def test_a_copy_of_many_annotations_keeps_their_order(gateway) -> None:
    dataset_id = await dataset(gateway, "glitch")
    file_id = await decoded(gateway, dataset_id)
    set_id = (await draft(gateway, dataset_id)).id
    await annotate(gateway, set_id, *(new_annotation(file_id, start_ms=0, end_ms=i + 1) for i in range(2500)))
    copy = await draft(gateway, dataset_id, copy_of=set_id)
    assert copy.total_annotations == 2500
    request = pb.ListAnnotationsRequest(annotation_set_id=copy.id, page_size=1000)
    ends: list[int] = []
    while not ends or request.page_token:
        page = await gateway.annotations.ListAnnotations(request)
        ends += [a.end_ms for a in page.annotations]
        request.page_token = page.next_page_token
    assert ends == list(range(1, 2501))


async def test_a_draft_that_is_deleted_while_it_is_copied_is_copied_whole_or_not_found(gateway) -> None:
    dataset_id = await dataset(gateway, "glitch")
    file_id = await decoded(gateway, dataset_id)
    for _ in range(3):
        source = (await draft(gateway, dataset_id)).id
        await annotate(gateway, source, *([new_annotation(file_id)] * 5000))
        copied, deleted = await together(
            draft(gateway, dataset_id, copy_of=source), delete_set(gateway, source)
        )
        assert not isinstance(deleted, BaseException)
        if isinstance(copied, aio.AioRpcError):
            assert copied.code() is grpc.StatusCode.NOT_FOUND
        else:
            assert copied.total_annotations == 5000


async def test_a_draft_cannot_be_edited_while_it_is_copied(gateway) -> None:
    _, set_id, ids = await draft_of_two(gateway)
    async with gateway.database.transaction() as connection:
        assert await annotations.share_set(connection, "default", UUID(set_id))
        # Another copy of it does not wait.
        source = await get_set(gateway, set_id)
        assert (await draft(gateway, source.dataset_id, copy_of=set_id)).total_annotations == 2
        edit = asyncio.ensure_future(_done(delete(gateway, ids[0])))
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        while not edit.done() and not await connection.fetchval(waiting):
            pass
        assert not edit.done()
    await edit


async def _done(call) -> None:
    await call


async def test_an_error_of_publishing_names_only_as_many_obstacles_as_it_has_room_for(gateway) -> None:
    dataset_id = await dataset(gateway, "glitch")
    set_id = (await draft(gateway, dataset_id)).id
    file_id = (await upload(gateway, dataset_id)).id
    await annotate(gateway, set_id, *([new_annotation(file_id, end_ms=5000)] * 300))
    await finish_processing(gateway, duration_ms=1000)
    async with gateway.database.connection() as connection:
        locked = await annotations.share_set(connection, "default", UUID(set_id))
        files, past_end = await annotations.obstacles(connection, locked)
    assert (len(files), len(past_end)) == (0, annotations.OBSTACLES)
    await refused(publish(gateway, set_id), "FAILED_PRECONDITION", "WRONG_STATE")


async def test_only_a_set_of_the_same_dataset_can_be_copied(gateway) -> None:
    dataset_id, other_id = await dataset(gateway), await dataset(gateway)
    other = await draft(gateway, other_id)
    call = draft(gateway, dataset_id, copy_of=other.id)
    refusal = await refused(call, "FAILED_PRECONDITION", "WRONG_STATE")
    assert refusal.violations[0][:2] == ("SAME_DATASET", f"annotation_set/{other.id}")
    assert other_id in refusal.message
    assert dataset_id in refusal.message
    await refused(draft(gateway, dataset_id, copy_of=NOWHERE), "NOT_FOUND", "NOT_FOUND")
    assert await versions(gateway, dataset_id) == []


async def test_publishing_freezes_the_set_and_publishing_again_has_no_effect(gateway) -> None:
    _, set_id, _ = await draft_of_two(gateway)
    published = await publish(gateway, set_id)
    assert published.status == PUBLISHED
    assert published.HasField("published_at")
    assert (published.total_annotations, published.total_positive_duration_ms) == (2, 950)
    assert await publish(gateway, set_id) == published
    assert await get_set(gateway, set_id) == published


async def test_an_empty_draft_may_be_published(gateway) -> None:
    published = await publish(gateway, (await draft(gateway, await dataset(gateway))).id)
    assert (published.status, published.total_annotations) == (PUBLISHED, 0)


async def test_no_call_changes_a_published_set(gateway) -> None:
    file_id, set_id, ids = await draft_of_two(gateway)
    before = await publish(gateway, set_id), await listed(gateway, set_id)
    for call in (
        annotate(gateway, set_id, new_annotation(file_id)),
        update(gateway, ids[0]),
        delete(gateway, ids[0]),
    ):
        refusal = await refused(call, "FAILED_PRECONDITION", "WRONG_STATE")
        assert refusal.violations[0][:2] == ("WRONG_STATE", f"annotation_set/{set_id}")
        assert f"annotation set {set_id} (version 1) is published" in refusal.message
        assert refusal.info.metadata["state"] == "published"
    await refused(delete_set(gateway, set_id), "FAILED_PRECONDITION", "IN_USE")
    assert (await get_set(gateway, set_id), await listed(gateway, set_id)) == before


async def test_every_edit_of_a_draft_changes_its_etag(gateway) -> None:
    file_id, set_id, ids = await draft_of_two(gateway)
    etags = [(await get_set(gateway, set_id)).etag]
    delete_file = audio_pb.DeleteAudioFileRequest(audio_file_id=file_id)
    for edit in (
        lambda: annotate(gateway, set_id, new_annotation(file_id)),
        lambda: update(gateway, ids[0]),
        lambda: delete(gateway, ids[0]),
        lambda: gateway.audio.DeleteAudioFile(delete_file),
    ):
        await edit()
        etags.append((await get_set(gateway, set_id)).etag)
    assert len(set(etags)) == 5


async def test_a_draft_that_changed_after_it_was_read_is_neither_published_nor_deleted(gateway) -> None:
    _, set_id, ids = await draft_of_two(gateway)
    stale = (await get_set(gateway, set_id)).etag
    await update(gateway, ids[0])
    current = (await get_set(gateway, set_id)).etag
    for call in (publish(gateway, set_id, etag=stale), delete_set(gateway, set_id, etag=stale)):
        refusal = await refused(call, "ABORTED", "STALE_ETAG")
        assert dict(refusal.info.metadata) == {"current_etag": current}
    assert (await get_set(gateway, set_id)).status == DRAFT
    assert (await publish(gateway, set_id, etag=current)).etag != current


async def test_concurrent_edits_and_a_publish_leave_correct_totals(gateway) -> None:
    file_id, set_id, ids = await draft_of_two(gateway)
    results = await together(
        *(annotate(gateway, set_id, new_annotation(file_id)) for _ in range(4)),
        publish(gateway, set_id),
        *(annotate(gateway, set_id, new_annotation(file_id)) for _ in range(4)),
        delete(gateway, ids[0]),
    )
    errors = {result.code() for result in results if isinstance(result, aio.AioRpcError)}
    assert errors <= {grpc.StatusCode.FAILED_PRECONDITION}
    published = await get_set(gateway, set_id)
    assert published.status == PUBLISHED
    assert published.total_annotations == len(await listed(gateway, set_id))


async def test_annotations_of_files_not_decoded_yet_are_checked_when_the_set_is_published(gateway) -> None:
    dataset_id = await dataset(gateway, "glitch")
    set_id = (await draft(gateway, dataset_id)).id
    short, failing = (await upload(gateway, dataset_id)).id, (await upload(gateway, dataset_id)).id
    inside, beyond, rounded_up, outside, _ = await annotate(
        gateway,
        set_id,
        new_annotation(short),
        new_annotation(short, end_ms=5000),
        new_annotation(short, start_ms=999, end_ms=1001),
        new_annotation(short, start_ms=1000, end_ms=1001),
        new_annotation(failing),
    )
    refusal = await refused(publish(gateway, set_id), "FAILED_PRECONDITION", "WRONG_STATE")
    subjects = [f"audio_file/{short}", f"audio_file/{failing}"]
    assert [v[:2] for v in refusal.violations] == [("AUDIO_DECODED", subject) for subject in subjects]
    await finish_processing(gateway, "embedding", duration_ms=1000)
    await gateway.execute(
        "UPDATE audio_files SET processing_status = 'failed', error_message = 'no audio in it' WHERE id = $1",
        failing,
    )
    refusal = await refused(publish(gateway, set_id), "FAILED_PRECONDITION", "WRONG_STATE")
    assert [v[:2] for v in refusal.violations] == [
        ("AUDIO_FAILED", f"audio_file/{failing}"),
        ("WITHIN_AUDIO", f"annotation/{beyond}"),
        ("WITHIN_AUDIO", f"annotation/{outside}"),
    ]
    assert "no audio in it" in refusal.violations[0][2]
    assert "ends at 5000 ms" in refusal.violations[1][2]
    assert "lasts 1000 ms" in refusal.violations[1][2]
    assert (await get_set(gateway, set_id)).status == DRAFT
    await update(gateway, beyond, start_ms=1, end_ms=1000)
    await update(gateway, outside, start_ms=990, end_ms=1000)
    await gateway.execute("DELETE FROM annotations WHERE audio_file_id = $1", failing)
    assert (await publish(gateway, set_id)).total_annotations == 4
    ends = {a.id: (a.start_ms, a.end_ms) for a in await listed(gateway, set_id)}
    assert ends[rounded_up] == (999, 1000)
    assert inside in ends
