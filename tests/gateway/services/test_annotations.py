"""AnnotationService: annotations, and the errors of refused calls."""

from uuid import uuid4

from google.protobuf import struct_pb2
from grpc import aio

from earmark.v1 import annotation_service_pb2 as pb
from earmark.v1 import dataset_service_pb2
from tests.gateway import rows
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


async def test_annotations_are_stored_unchanged_and_listed_in_order_of_creation(gateway) -> None:
    dataset_id = await dataset(gateway, "glitch")
    file_id = await decoded(gateway, dataset_id)
    set_id = (await draft(gateway, dataset_id)).id
    extra = struct_pb2.Struct()
    extra.update({"by": "Ana", "rounds": 2, "tags": ["a", {"b": None}], "sure": True})
    new_annotations = [new_annotation(file_id, start_ms=i, end_ms=i + 1) for i in range(500, 0, -1)]
    ids = await annotate(
        gateway, set_id, *new_annotations, new_annotation(file_id, confidence=0.0, extra_data=extra)
    )
    stored = await listed(gateway, set_id)
    assert [a.id for a in stored] == ids
    assert [a.start_ms for a in stored[:500]] == list(range(500, 0, -1))
    assert (stored[0].confidence, stored[-1].confidence) == (1.0, 0.0)
    assert stored[-1].extra_data == extra
    assert not stored[0].HasField("extra_data")
    assert {a.annotation_set_id for a in stored} == {set_id}


async def test_a_list_can_be_filtered_by_file_and_type(gateway) -> None:
    file_id, set_id, ids = await draft_of_two(gateway)
    assert [a.id for a in await listed(gateway, set_id, artifact_types=["dropout"])] == ids[1:]
    assert [a.id for a in await listed(gateway, set_id, audio_file_ids=[file_id, NOWHERE])] == ids
    assert await listed(gateway, set_id, audio_file_ids=[NOWHERE]) == []
    assert [a.id for a in await listed(gateway, set_id, artifact_types=["glitch", "dropout"])] == ids


async def test_a_batch_is_added_whole_or_not_at_all_with_every_violation(gateway) -> None:
    file_id, set_id, _ = await draft_of_two(gateway)
    of_other_dataset = await decoded(gateway, await dataset(gateway, "glitch"))
    failed = await upload(gateway, (await get_set(gateway, set_id)).dataset_id)
    await finish_processing(gateway, "failed", error_message="not audio")
    call = annotate(
        gateway,
        set_id,
        new_annotation(file_id),
        new_annotation(NOWHERE),
        new_annotation(of_other_dataset),
        new_annotation(file_id, "echo", end_ms=10_002),
        new_annotation(failed.id),
        new_annotation(file_id, start_ms=10_000, end_ms=10_001),
        new_annotation(file_id, end_ms=10_001),
    )
    refusal = await refused(call, "INVALID_ARGUMENT", "INVALID_FIELD")
    assert list(refusal.fields) == [
        "annotations[1].audio_file_id",
        "annotations[2].audio_file_id",
        "annotations[3].artifact_type",
        "annotations[3].end_ms",
        "annotations[4].audio_file_id",
        "annotations[5].start_ms",
    ]
    assert (
        "does not define 'echo' (it defines: glitch, dropout)"
        in refusal.fields["annotations[3].artifact_type"]
    )
    assert "lasts 10000 ms" in refusal.fields["annotations[3].end_ms"]
    assert "not audio" in refusal.fields["annotations[4].audio_file_id"]
    assert len(await listed(gateway, set_id)) == 2


async def test_the_largest_batch_is_added_and_the_largest_refusal_arrives(gateway) -> None:
    dataset_id = await dataset(gateway, "glitch")
    file_id = await decoded(gateway, dataset_id)
    set_id = (await draft(gateway, dataset_id)).id
    assert len(await annotate(gateway, set_id, *([new_annotation(file_id)] * 10_000))) == 10_000
    call = annotate(gateway, set_id, *([new_annotation(file_id, "écho" * 25, end_ms=20_000)] * 10_000))
    refusal = await refused(call, "INVALID_ARGUMENT", "INVALID_FIELD")
    shown = len(refusal.fields) - 1
    assert shown > 5
    assert refusal.fields[""] == f"and {20_000 - shown} more"
    assert (await get_set(gateway, set_id)).total_annotations == 10_000
    call = annotate(gateway, set_id, *([new_annotation(file_id)] * 10_001))
    await refused(call, "INVALID_ARGUMENT", "INVALID_FIELD")


async def test_extra_data_has_a_size_limit_and_a_page_of_the_largest_still_fits(gateway) -> None:
    file_id, set_id, ids = await draft_of_two(gateway)
    largest = struct_pb2.Struct(fields={"x": struct_pb2.Value(string_value="x" * (16 * 1024 - 16))})
    too_large = struct_pb2.Struct(fields={"x": struct_pb2.Value(string_value="x" * (16 * 1024 - 10))})
    assert largest.ByteSize() <= 16_384 < too_large.ByteSize()
    call = annotate(gateway, set_id, new_annotation(file_id), new_annotation(file_id, extra_data=too_large))
    refusal = await refused(call, "INVALID_ARGUMENT", "INVALID_FIELD")
    assert refusal.fields == {
        "annotations[1].extra_data": "has 16386 bytes as a serialized message; at most 16384 are allowed"
    }
    call = update(gateway, ids[0], extra_data=too_large)
    refusal = await refused(call, "INVALID_ARGUMENT", "INVALID_FIELD")
    assert list(refusal.fields) == ["annotation.extra_data"]
    await annotate(gateway, set_id, *([new_annotation(file_id, extra_data=largest)] * 300))
    request = pb.ListAnnotationsRequest(annotation_set_id=set_id, page_size=1000)
    pages = []
    while not pages or request.page_token:
        pages.append(await gateway.annotations.ListAnnotations(request))
        request.page_token = pages[-1].next_page_token
    assert sum(len(page.annotations) for page in pages) == 302
    assert [page.ByteSize() <= 3 << 20 for page in pages] == [True, True]
    assert pages[0].ByteSize() <= 4 << 20


async def test_extra_data_that_json_cannot_represent_is_refused(gateway) -> None:
    file_id, set_id, ids = await draft_of_two(gateway)
    for number in (float("inf"), float("nan")):
        extra = struct_pb2.Struct(fields={"x": struct_pb2.Value(number_value=number)})
        call = annotate(gateway, set_id, new_annotation(file_id), new_annotation(file_id, extra_data=extra))
        refusal = await refused(call, "INVALID_ARGUMENT", "INVALID_FIELD")
        assert list(refusal.fields) == ["annotations[1].extra_data"]
        call = update(gateway, ids[0], extra_data=extra)
        refusal = await refused(call, "INVALID_ARGUMENT", "INVALID_FIELD")
        assert list(refusal.fields) == ["annotation.extra_data"]
    nul = struct_pb2.Struct(fields={"x": struct_pb2.Value(string_value="a\0b")})
    await refused(update(gateway, ids[0], extra_data=nul), "INVALID_ARGUMENT", "INVALID_FIELD")
    call = annotate(gateway, set_id, new_annotation(file_id, extra_data=nul))
    await refused(call, "INVALID_ARGUMENT", "INVALID_FIELD")


async def test_an_update_changes_what_the_mask_names(gateway) -> None:
    file_id, set_id, ids = await draft_of_two(gateway)
    extra = struct_pb2.Struct()
    extra.update({"by": "Bo"})
    mask = ("start_ms", "end_ms", "extra_data")
    fields = {"start_ms": 5, "end_ms": 10_000, "extra_data": extra, "artifact_type": "glitch"}
    updated = (await update(gateway, ids[1], mask=mask, **fields)).annotation
    assert (updated.id, updated.audio_file_id, updated.artifact_type) == (ids[1], file_id, "dropout")
    assert (updated.start_ms, updated.end_ms, updated.confidence) == (5, 10_000, 0.5)
    assert updated.extra_data == extra
    updated = (await update(gateway, ids[1], artifact_type="glitch", confidence=0.0)).annotation
    assert (updated.artifact_type, updated.confidence, updated.extra_data) == ("glitch", 0, extra)
    updated = (await update(gateway, ids[1], mask=("confidence", "extra_data"))).annotation
    assert (updated.start_ms, updated.confidence) == (5, 1)
    assert not updated.HasField("extra_data")
    assert (await listed(gateway, set_id))[1] == updated


async def test_an_update_of_anything_else_or_of_nothing_is_refused(gateway) -> None:
    file_id, _, ids = await draft_of_two(gateway)
    for mask in (("audio_file_id",), ("end_ms", "id"), ()):
        call = update(gateway, ids[0], mask=mask, audio_file_id=file_id, end_ms=300)
        await refused(call, "INVALID_ARGUMENT", "INVALID_UPDATE_MASK")


async def test_an_annotations_stale_etag_changes_nothing(gateway) -> None:
    _, set_id, ids = await draft_of_two(gateway)
    [stale, _] = [a.etag for a in await listed(gateway, set_id)]
    current = (await update(gateway, ids[0], end_ms=300, etag=stale)).annotation
    refusal = await refused(update(gateway, ids[0], end_ms=400, etag=stale), "ABORTED", "STALE_ETAG")
    assert dict(refusal.info.metadata) == {"current_etag": current.etag}
    assert (await listed(gateway, set_id))[0] == current


async def test_an_update_is_checked_as_a_new_annotation_is(gateway) -> None:
    _, set_id, ids = await draft_of_two(gateway)
    before = await listed(gateway, set_id)
    call = update(gateway, ids[0], artifact_type="echo", end_ms=10_002)
    refusal = await refused(call, "INVALID_ARGUMENT", "INVALID_FIELD")
    assert list(refusal.fields) == ["annotation.artifact_type", "annotation.end_ms"]
    refusal = await refused(update(gateway, ids[0], start_ms=250), "INVALID_ARGUMENT", "INVALID_FIELD")
    assert refusal.fields == {"annotation.end_ms": "end_ms (250) must be after start_ms (250)"}
    assert await listed(gateway, set_id) == before


async def test_deleting_an_annotation_and_a_draft(gateway) -> None:
    _, set_id, ids = await draft_of_two(gateway)
    request_id = str(uuid4())
    for _ in range(2):
        await delete(gateway, ids[0], request_id=request_id)
    assert [a.id for a in await listed(gateway, set_id)] == ids[1:]
    await refused(delete(gateway, ids[0]), "NOT_FOUND", "NOT_FOUND")
    request_id = str(uuid4())
    for _ in range(2):
        await delete_set(gateway, set_id, request_id=request_id)
    assert await gateway.count("annotations") == 0
    await refused(get_set(gateway, set_id), "NOT_FOUND", "NOT_FOUND")


async def test_missing_resources_are_not_found(gateway) -> None:
    calls = [
        ("dataset", draft(gateway, NOWHERE)),
        ("dataset", versions(gateway, NOWHERE)),
        ("annotation_set", get_set(gateway, NOWHERE)),
        ("annotation_set", publish(gateway, NOWHERE)),
        ("annotation_set", delete_set(gateway, NOWHERE)),
        ("annotation_set", annotate(gateway, NOWHERE, new_annotation(NOWHERE))),
        ("annotation_set", listed(gateway, NOWHERE)),
        ("annotation", update(gateway, NOWHERE)),
        ("annotation", delete(gateway, NOWHERE)),
    ]
    for kind, call in calls:
        refusal = await refused(call, "NOT_FOUND", "NOT_FOUND")
        assert refusal.resource == (kind, NOWHERE)


async def test_another_tenants_sets_are_not_found(gateway) -> None:
    async with gateway.database.transaction() as connection:
        other = await rows.dataset(connection, tenant="other", set_status="draft")
        annotation_id = str(await connection.fetchval("SELECT id FROM annotations LIMIT 1"))
    set_id, file_id = str(other.annotation_set_id), str(other.audio_file_ids[0])
    for call in (
        draft(gateway, str(other.dataset_id)),
        versions(gateway, str(other.dataset_id)),
        get_set(gateway, set_id),
        publish(gateway, set_id),
        delete_set(gateway, set_id),
        annotate(gateway, set_id, new_annotation(file_id)),
        listed(gateway, set_id),
        update(gateway, annotation_id),
        delete(gateway, annotation_id),
        draft(gateway, await dataset(gateway), copy_of=set_id),
    ):
        await refused(call, "NOT_FOUND", "NOT_FOUND")


async def test_fields_are_checked(gateway) -> None:
    first = "annotations[0]"
    calls = [
        ("dataset_id", draft(gateway, "x")),
        ("copy_of", draft(gateway, NOWHERE, copy_of="x")),
        ("request_id", draft(gateway, NOWHERE, request_id="x")),
        ("annotation_set_id", get_set(gateway, "x")),
        ("page_size", versions(gateway, NOWHERE, page_size=-1)),
        ("annotation_set_id", publish(gateway, "")),
        ("annotation_set_id", delete_set(gateway, "")),
        ("annotations", annotate(gateway, NOWHERE)),
        (f"{first}.audio_file_id", annotate(gateway, NOWHERE, new_annotation("x"))),
        (f"{first}.artifact_type", annotate(gateway, NOWHERE, new_annotation(NOWHERE, ""))),
        (f"{first}.start_ms", annotate(gateway, NOWHERE, new_annotation(NOWHERE, start_ms=-1))),
        (f"{first}.confidence", annotate(gateway, NOWHERE, new_annotation(NOWHERE, confidence=1.5))),
        (f"{first}.confidence", annotate(gateway, NOWHERE, new_annotation(NOWHERE, confidence=float("nan")))),
        (first, annotate(gateway, NOWHERE, new_annotation(NOWHERE, end_ms=100))),
        ("audio_file_ids[0]", listed(gateway, NOWHERE, audio_file_ids=["x"])),
        ("artifact_types[0]", listed(gateway, NOWHERE, artifact_types=["x" * 101])),
        ("annotation.id", update(gateway, "x")),
        ("annotation.start_ms", update(gateway, NOWHERE, start_ms=-1)),
        ("annotation.confidence", update(gateway, NOWHERE, confidence=1.5)),
        ("annotation_id", delete(gateway, "x")),
    ]
    for field, call in calls:
        refusal = await refused(call, "INVALID_ARGUMENT", "INVALID_FIELD")
        assert list(refusal.fields) == [field]


async def test_removing_a_type_while_annotations_of_it_are_added_leaves_no_undefined_type(gateway) -> None:
    dataset_id = await dataset(gateway, "glitch", "dropout")
    file_id = await decoded(gateway, dataset_id)
    set_id = (await draft(gateway, dataset_id)).id
    request = dataset_service_pb2.UpdateDatasetRequest(
        dataset={"id": dataset_id, "artifact_types": [{"name": "glitch"}]},
        update_mask={"paths": ["artifact_types"]},
    )
    results = await together(
        annotate(gateway, set_id, new_annotation(file_id, "dropout")),
        gateway.datasets.UpdateDataset(request),
        annotate(gateway, set_id, new_annotation(file_id, "dropout")),
    )
    errors = {error.code().name for error in results if isinstance(error, aio.AioRpcError)}
    assert errors <= {"FAILED_PRECONDITION", "INVALID_ARGUMENT"}
    types = {a.artifact_type for a in await listed(gateway, set_id)}
    defined = await gateway.datasets.GetDataset(dataset_service_pb2.GetDatasetRequest(dataset_id=dataset_id))
    assert types <= {t.name for t in defined.dataset.artifact_types}
