"""Pages: together they are the whole list, and a token is valid only for its own list."""

import asyncio
import base64
import json
import string
from collections.abc import Sequence
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from uuid_utils.compat import uuid7

from earmark.gateway.errors import InvalidArgumentError
from earmark.gateway.paging import FIRST_ROWS, MAX_SIZE, PAGE_BYTES, PageRequest
from earmark.v1 import annotation_service_pb2 as annotation_pb
from earmark.v1 import audio_service_pb2 as audio_pb
from earmark.v1 import dataset_service_pb2 as pb
from tests.gateway.calls import NOWHERE, annotate, dataset, decoded, draft, new_annotation, refused, upload

IDS = [uuid7() for _ in range(1100)]


def read(request: pb.ListDatasetsRequest, ids) -> tuple[list, str]:
    """A page of a list in order of id."""

    async def rows(after, limit):
        return [i for i in ids if after is None or i > after][:limit]

    page = asyncio.run(PageRequest.of(request).page(rows, lambda i: pb.Dataset(id=str(i)), lambda i: i))
    return [UUID(dataset.id) for dataset in page.messages], page.next_page_token


def numbered(
    request: pb.ListDatasetsRequest, sizes: Sequence[int], fetched: list[int] | None = None
) -> tuple[pb.ListDatasetsResponse, int]:
    """A page of a list of datasets of these sizes, and its number of rows. `fetched` gets what is read."""

    async def rows(after, limit):
        found = list(enumerate(sizes))[0 if after is None else after + 1 :][:limit]
        if fetched is not None:
            fetched.extend(size for _, size in found)
        return found

    reading = PageRequest.by_number(request).page(
        rows, lambda row: pb.Dataset(description="x" * row[1]), lambda row: row[0]
    )
    page = asyncio.run(reading)
    response = pb.ListDatasetsResponse(datasets=page.messages, next_page_token=page.next_page_token)
    return response, len(page.messages)


@settings(max_examples=50)
@given(count=st.integers(0, 60), size=st.integers(1, 70))
def test_successive_pages_are_the_whole_list(count: int, size: int) -> None:
    ids, listed, request = IDS[:count], [], pb.ListDatasetsRequest(page_size=size)
    while True:
        rows, request.page_token = read(request, ids)
        assert len(rows) == size or not request.page_token
        listed += rows
        if not request.page_token:
            break
    assert listed == ids


@settings(max_examples=50)
@given(sizes=st.lists(st.integers(0, PAGE_BYTES), max_size=12))
def test_no_page_exceeds_its_bytes_unless_a_single_row_does(sizes: list[int]) -> None:
    request, listed = pb.ListDatasetsRequest(), []
    while True:
        response, count = numbered(request, sizes)
        assert response.ByteSize() <= PAGE_BYTES + 100 or count == 1
        assert count or not sizes
        listed += [len(row.description) for row in response.datasets]
        request.page_token = response.next_page_token
        if not request.page_token:
            break
    assert listed == sizes


def test_a_page_ends_where_the_next_row_would_exceed_its_bytes() -> None:
    row = (1 << 20) - 4096
    response, count = numbered(pb.ListDatasetsRequest(), [row] * 9)
    assert count == 3
    assert response.ByteSize() > 2 << 20
    # 1,000 small rows fit.
    assert numbered(pb.ListDatasetsRequest(page_size=1000), [3000] * 1000)[1] == 1000


@pytest.mark.parametrize("size", [100, 16 << 10, 1 << 20])
def test_few_rows_are_read_in_vain(size: int) -> None:
    fetched: list[int] = []
    _, count = numbered(pb.ListDatasetsRequest(page_size=1000), [size] * 1001, fetched)
    # One row after each reading, and the rows of a first reading whose size was not known.
    assert len(fetched) <= count + max(FIRST_ROWS, 10)


def test_the_default_is_50_and_more_than_1000_is_lowered() -> None:
    assert len(read(pb.ListDatasetsRequest(), IDS)[0]) == 50
    assert len(read(pb.ListDatasetsRequest(page_size=1_000_000), IDS)[0]) == MAX_SIZE


def test_a_token_stays_valid_if_the_page_size_changes() -> None:
    first, token = read(pb.ListDatasetsRequest(page_size=3), IDS)
    second, _ = read(pb.ListDatasetsRequest(page_size=7, page_token=token), IDS)
    assert first + second == IDS[:10]


TEXT = st.text(string.printable, min_size=1, max_size=100)
BASE64 = st.binary(min_size=1, max_size=60).map(lambda data: base64.urlsafe_b64encode(data).decode())


@settings(max_examples=50)
@given(TEXT | BASE64)
def test_an_invalid_token_is_refused(token: str) -> None:
    with pytest.raises(InvalidArgumentError) as refusal:
        PageRequest.of(pb.ListDatasetsRequest(page_token=token))
    assert refusal.value.reason == "INVALID_PAGE_TOKEN"


@pytest.mark.parametrize("position", ["2147483648", "-1", "1.5", '"7"', "null", f'"{NOWHERE}"'])
def test_a_token_whose_position_is_not_of_the_list_is_refused(position: str) -> None:
    token = numbered(pb.ListDatasetsRequest(page_size=1), [1, 2])[0].next_page_token
    fingerprint, after = json.loads(base64.urlsafe_b64decode(token))
    assert after == 0
    forged = base64.urlsafe_b64encode(f'["{fingerprint}", {position}]'.encode()).decode()
    with pytest.raises(InvalidArgumentError) as refusal:
        PageRequest.by_number(pb.ListDatasetsRequest(page_token=forged))
    assert refusal.value.reason == "INVALID_PAGE_TOKEN"


@pytest.mark.parametrize("position", ["7", "null", '"\\u0000"', '"\\ud800"', '["a@b"]'])
def test_a_token_whose_position_is_no_name_is_refused(position: str) -> None:
    async def rows(_after, _limit):
        return ["a@b", "c@d"]

    request = pb.ListDatasetsRequest(page_size=1)
    page = PageRequest.by_name(request).page(rows, lambda row: pb.Dataset(name=row), lambda row: row)
    token = asyncio.run(page).next_page_token
    assert PageRequest.by_name(pb.ListDatasetsRequest(page_token=token)).after == "a@b"
    fingerprint, _ = json.loads(base64.urlsafe_b64decode(token))
    forged = base64.urlsafe_b64encode(f'["{fingerprint}", {position}]'.encode()).decode()
    with pytest.raises(InvalidArgumentError) as refusal:
        PageRequest.by_name(pb.ListDatasetsRequest(page_token=forged))
    assert refusal.value.reason == "INVALID_PAGE_TOKEN"


def test_a_token_of_another_list_or_other_arguments_is_refused() -> None:
    _, token = read(pb.ListDatasetsRequest(page_size=3), IDS)
    status = audio_pb.AUDIO_PROCESSING_STATUS_READY
    for other in (
        audio_pb.ListAudioFilesRequest(page_token=token),
        audio_pb.ListAudioFilesRequest(page_token=token, dataset_id=NOWHERE, processing_statuses=[status]),
    ):
        with pytest.raises(InvalidArgumentError) as refusal:
            PageRequest.of(other)
        assert refusal.value.violations[0].field == "page_token"


async def pages(call, request, field: str) -> list[str]:
    """The ids of every page."""
    ids: list[str] = []
    while True:
        response = await call(request)
        rows = getattr(response, field)
        assert len(rows) <= request.page_size
        ids += [row.id for row in rows]
        if not response.next_page_token:
            return ids
        request.page_token = response.next_page_token


async def test_every_list_gives_each_row_once_for_any_page_size(gateway) -> None:
    dataset_id = await dataset(gateway, "glitch")
    files = [await decoded(gateway, dataset_id) for _ in range(5)]
    sets = [(await draft(gateway, dataset_id)).id for _ in range(5)]
    new_annotations = await annotate(gateway, sets[0], *(new_annotation(file_id) for file_id in files))
    datasets = [dataset_id, *[await dataset(gateway) for _ in range(4)]]
    for size in (1, 2, 4, 5, 6):
        arguments = {"dataset_id": dataset_id, "page_size": size}
        call = gateway.datasets.ListDatasets, pb.ListDatasetsRequest(page_size=size), "datasets"
        assert await pages(*call) == datasets[::-1]
        call = gateway.audio.ListAudioFiles, audio_pb.ListAudioFilesRequest(**arguments), "audio_files"
        assert await pages(*call) == files
        request = annotation_pb.ListAnnotationSetsRequest(**arguments)
        call = gateway.annotations.ListAnnotationSets, request, "annotation_sets"
        assert await pages(*call) == sets[::-1]
        request = annotation_pb.ListAnnotationsRequest(annotation_set_id=sets[0], page_size=size)
        assert await pages(gateway.annotations.ListAnnotations, request, "annotations") == new_annotations


async def test_pages_and_uploads_count_neither_annotations_nor_files(gateway) -> None:
    dataset_id = await dataset(gateway, "glitch")
    file_id = await decoded(gateway, dataset_id)
    set_id = (await draft(gateway, dataset_id)).id
    await annotate(gateway, set_id, new_annotation(file_id))
    # The counts are columns of these views.
    await gateway.execute("DROP VIEW annotation_set_details, dataset_details")
    await upload(gateway, dataset_id)
    request = annotation_pb.ListAnnotationsRequest(annotation_set_id=set_id)
    assert len((await gateway.annotations.ListAnnotations(request)).annotations) == 1
    files = await gateway.audio.ListAudioFiles(audio_pb.ListAudioFilesRequest(dataset_id=dataset_id))
    assert len(files.audio_files) == 2


async def test_a_token_of_another_call_is_refused_by_the_service(gateway) -> None:
    first, second = await dataset(gateway), await dataset(gateway)
    token = (await gateway.datasets.ListDatasets(pb.ListDatasetsRequest(page_size=1))).next_page_token
    call = gateway.audio.ListAudioFiles(audio_pb.ListAudioFilesRequest(dataset_id=first, page_token=token))
    refusal = await refused(call, "INVALID_ARGUMENT", "INVALID_PAGE_TOKEN")
    assert list(refusal.fields) == ["page_token"]
    for _ in range(2):
        await draft(gateway, first)
    request = annotation_pb.ListAnnotationSetsRequest(dataset_id=first, page_size=1)
    request.page_token = (await gateway.annotations.ListAnnotationSets(request)).next_page_token
    request.dataset_id = second
    call = gateway.annotations.ListAnnotationSets(request)
    await refused(call, "INVALID_ARGUMENT", "INVALID_PAGE_TOKEN")


async def test_a_page_of_large_annotations_ends_in_time_and_its_rows_are_read_as_needed(gateway) -> None:
    dataset_id = await dataset(gateway, "glitch")
    file_id, set_id = await decoded(gateway, dataset_id), (await draft(gateway, dataset_id)).id
    large = new_annotation(file_id, extra_data={"values": [1.5] * 1450})
    for _ in range(6):
        await annotate(gateway, set_id, *[large] * 50)
    request = annotation_pb.ListAnnotationsRequest(annotation_set_id=set_id, page_size=1000)
    ids: set[str] = set()
    while True:
        page = await gateway.annotations.ListAnnotations(request)
        assert page.ByteSize() <= PAGE_BYTES + 100
        ids |= {annotation.id for annotation in page.annotations}
        request.page_token = page.next_page_token
        if not request.page_token:
            break
    assert len(ids) == 300


async def test_a_page_can_follow_a_set_that_was_deleted(gateway) -> None:
    dataset_id = await dataset(gateway)
    sets = [(await draft(gateway, dataset_id)).id for _ in range(4)]
    request = annotation_pb.ListAnnotationSetsRequest(dataset_id=dataset_id, page_size=2)
    first = await gateway.annotations.ListAnnotationSets(request)
    await gateway.annotations.DeleteAnnotationSet(
        annotation_pb.DeleteAnnotationSetRequest(annotation_set_id=sets[2])
    )
    request.page_token = first.next_page_token
    second = await gateway.annotations.ListAnnotationSets(request)
    assert [s.version for s in (*first.annotation_sets, *second.annotation_sets)] == [4, 3, 2, 1]
