"""DatasetService, with a real database."""

from uuid import uuid4

from earmark.v1 import dataset_service_pb2 as pb
from tests.gateway import rows
from tests.gateway.calls import (
    NOWHERE,
    annotate,
    decoded,
    draft,
    new_annotation,
    refused,
    sweep,
    together,
    upload,
)


async def create(gateway, **fields) -> pb.Dataset:
    request = pb.CreateDatasetRequest(**({"name": "calls"} | fields))
    return (await gateway.datasets.CreateDataset(request)).dataset


async def get(gateway, dataset_id: str) -> pb.Dataset:
    return (await gateway.datasets.GetDataset(pb.GetDatasetRequest(dataset_id=dataset_id))).dataset


async def update(gateway, dataset_id: str, *paths: str, request_id: str = "", **fields) -> pb.Dataset:
    request = pb.UpdateDatasetRequest(
        dataset={"id": dataset_id} | fields, update_mask={"paths": paths}, request_id=request_id
    )
    return (await gateway.datasets.UpdateDataset(request)).dataset


def delete(gateway, dataset_id: str, **fields):
    return gateway.datasets.DeleteDataset(pb.DeleteDatasetRequest(dataset_id=dataset_id, **fields))


def types(*names: str) -> list[dict[str, str]]:
    return [{"name": name} for name in names]


async def test_a_dataset_is_read_as_it_was_created(gateway) -> None:
    sent = [{"name": "glitch", "description": "a click", "color": "#00ff00"}, {"name": "echo"}]
    created = await create(gateway, description="from support", artifact_types=sent)
    assert (created.name, created.description) == ("calls", "from support")
    assert created.etag
    shown = [(t.name, t.description, t.color) for t in created.artifact_types]
    assert shown == [("glitch", "a click", "#00ff00"), ("echo", "", "#FF0000")]
    assert (created.audio_count, created.annotation_set_count) == (0, 0)
    assert await get(gateway, created.id) == created


async def test_a_dataset_counts_its_files_and_sets(gateway) -> None:
    created = await create(gateway)
    await together(*(upload(gateway, created.id) for _ in range(3)))
    await draft(gateway, created.id)
    read = await get(gateway, created.id)
    assert (read.audio_count, read.annotation_set_count) == (3, 1)


async def test_datasets_are_listed_newest_first(gateway) -> None:
    created = [(await create(gateway)).id for _ in range(3)]
    listed = (await gateway.datasets.ListDatasets(pb.ListDatasetsRequest())).datasets
    assert [dataset.id for dataset in listed] == created[::-1]


async def test_an_update_changes_what_its_mask_names(gateway) -> None:
    created = await create(gateway, description="old", artifact_types=types("glitch", "echo"))
    renamed = await update(gateway, created.id, "name", name="new", description="ignored")
    assert (renamed.name, renamed.description) == ("new", "old")
    assert renamed.etag != created.etag
    described = await update(gateway, created.id, "description", description="")
    assert (described.name, described.description) == ("new", "")
    ordered = await update(gateway, created.id, "artifact_types", artifact_types=types("hum", "glitch"))
    assert [t.name for t in ordered.artifact_types] == ["hum", "glitch"]


async def test_a_stale_etag_is_refused_with_the_current_one(gateway) -> None:
    created = await create(gateway)
    current = await update(gateway, created.id, "name", name="second", etag=created.etag)
    call = update(gateway, created.id, "name", name="third", etag=created.etag)
    refusal = await refused(call, "ABORTED", "STALE_ETAG")
    assert refusal.info.metadata["current_etag"] == current.etag
    assert (await get(gateway, created.id)).name == "second"


async def test_of_concurrent_updates_with_one_etag_one_succeeds(gateway) -> None:
    created = await create(gateway)
    calls = (update(gateway, created.id, "name", name=name, etag=created.etag) for name in "abcd")
    results = await together(*calls)
    assert sum(isinstance(result, pb.Dataset) for result in results) == 1


async def test_a_mask_without_fields_or_with_fixed_fields_is_refused(gateway) -> None:
    created = await create(gateway)
    for paths in ((), ("id",), ("name", "etag")):
        call = update(gateway, created.id, *paths, name="new")
        refusal = await refused(call, "INVALID_ARGUMENT", "INVALID_UPDATE_MASK")
        assert "what can be" in refusal.fields["update_mask"]


async def test_a_type_that_annotations_use_cannot_be_removed(gateway) -> None:
    created = await create(gateway, artifact_types=types("glitch", "echo"))
    file_id = await decoded(gateway, created.id)
    await annotate(gateway, (await draft(gateway, created.id)).id, new_annotation(file_id, "echo"))
    call = update(gateway, created.id, "artifact_types", artifact_types=types("glitch"))
    refusal = await refused(call, "FAILED_PRECONDITION", "IN_USE")
    assert "annotations have the types echo" in refusal.message
    await update(gateway, created.id, "artifact_types", artifact_types=types("echo"))


async def test_deleting_removes_drafts_and_audio(gateway) -> None:
    created = await create(gateway, artifact_types=types("glitch"))
    file_id = await decoded(gateway, created.id)
    await annotate(gateway, (await draft(gateway, created.id)).id, new_annotation(file_id))
    request_id = str(uuid4())
    for _ in range(2):
        await delete(gateway, created.id, request_id=request_id)
    await refused(get(gateway, created.id), "NOT_FOUND", "NOT_FOUND")
    await sweep(gateway)
    assert gateway.objects() == []
    for table in ("audio_files", "annotation_sets", "annotations", "artifact_types", "datasets"):
        assert await gateway.count(table) == 0


async def test_missing_resources_are_not_found(gateway) -> None:
    async with gateway.database.transaction() as connection:
        other = str((await rows.dataset(connection, tenant="other")).dataset_id)
    for missing in (NOWHERE, other):
        for call in (
            get(gateway, missing),
            update(gateway, missing, "name", name="x"),
            delete(gateway, missing),
        ):
            refusal = await refused(call, "NOT_FOUND", "NOT_FOUND")
            assert refusal.resource == ("dataset", missing)
    assert not (await gateway.datasets.ListDatasets(pb.ListDatasetsRequest())).datasets


async def test_fields_are_checked(gateway) -> None:
    calls = [
        ("name", create(gateway, name="")),
        ("name", create(gateway, name="x" * 201)),
        ("name", create(gateway, name="", description="")),
        ("description", create(gateway, description="x" * 10_001)),
        ("artifact_types", create(gateway, artifact_types=types("a", "a"))),
        ("artifact_types", create(gateway, artifact_types=types(*map(str, range(201))))),
        ("artifact_types[0].name", create(gateway, artifact_types=types(""))),
        ("artifact_types[0].color", create(gateway, artifact_types=[{"name": "a", "color": "red"}])),
        ("request_id", create(gateway, request_id="x")),
        ("dataset_id", get(gateway, "x")),
        ("dataset.id", update(gateway, "x", "name", name="a")),
        ("dataset.name", update(gateway, NOWHERE, "name")),
        ("dataset_id", delete(gateway, "")),
        ("page_size", gateway.datasets.ListDatasets(pb.ListDatasetsRequest(page_size=-1))),
    ]
    for field, call in calls:
        refusal = await refused(call, "INVALID_ARGUMENT", "INVALID_FIELD")
        assert list(refusal.fields) == [field]


async def test_every_invalid_field_is_named_at_once(gateway) -> None:
    call = create(gateway, name="", request_id="x", artifact_types=[{"name": "", "color": "red"}])
    refusal = await refused(call, "INVALID_ARGUMENT", "INVALID_FIELD")
    wrong = {"name", "request_id", "artifact_types[0].name", "artifact_types[0].color"}
    assert set(refusal.fields) == wrong


async def test_a_text_that_postgres_cannot_store_is_refused(gateway) -> None:
    refusal = await refused(create(gateway, name="a\0b"), "INVALID_ARGUMENT", "INVALID_FIELD")
    assert "NUL" in refusal.message
