"""The groups of audio files: stored with an upload, shown, and filtered by."""

from uuid import uuid4

from earmark.v1 import audio_service_pb2 as pb
from tests.gateway.calls import NOWHERE, dataset, decoded, finish_processing, refused, upload


async def listed(gateway, dataset_id: str, **fields) -> list[pb.AudioFile]:
    request = pb.ListAudioFilesRequest(dataset_id=dataset_id, **fields)
    return list((await gateway.audio.ListAudioFiles(request)).audio_files)


async def test_the_group_of_an_upload_stays_with_the_file(gateway) -> None:
    dataset_id = await dataset(gateway)
    file = await upload(gateway, dataset_id, group="Ana, 3rd call")
    assert file.group == "Ana, 3rd call"
    await finish_processing(gateway, duration_ms=1000, channels=1)
    request = pb.GetAudioFileRequest(audio_file_id=file.id)
    assert (await gateway.audio.GetAudioFile(request)).audio_file.group == "Ana, 3rd call"
    assert (await upload(gateway, dataset_id)).group == ""


async def test_a_list_can_be_filtered_by_group(gateway) -> None:
    dataset_id = await dataset(gateway)
    other = await decoded(gateway, dataset_id)
    ana, alone, bo = [await upload(gateway, dataset_id, group=group) for group in ("Ana", "", "Bo")]
    assert [file.id for file in await listed(gateway, dataset_id, groups=["Ana"])] == [ana.id]
    assert [file.id for file in await listed(gateway, dataset_id, groups=["Bo", "Ana"])] == [ana.id, bo.id]
    assert [file.id for file in await listed(gateway, dataset_id, groups=[""])] == [other, alone.id]
    assert await listed(gateway, dataset_id, groups=["ana"]) == []
    ready = [pb.AUDIO_PROCESSING_STATUS_READY]
    assert await listed(gateway, dataset_id, groups=["Ana"], processing_statuses=ready) == []


async def test_a_page_token_belongs_to_its_groups(gateway) -> None:
    dataset_id = await dataset(gateway)
    for _ in range(2):
        await upload(gateway, dataset_id, group="Ana")
    request = pb.ListAudioFilesRequest(dataset_id=dataset_id, groups=["Ana"], page_size=1)
    request.page_token = (await gateway.audio.ListAudioFiles(request)).next_page_token
    assert (await gateway.audio.ListAudioFiles(request)).next_page_token == ""
    request.groups[:] = ["Bo"]
    await refused(gateway.audio.ListAudioFiles(request), "INVALID_ARGUMENT", "INVALID_PAGE_TOKEN")


async def test_another_group_is_another_request(gateway) -> None:
    dataset_id, request_id = await dataset(gateway), str(uuid4())
    first = await upload(gateway, dataset_id, group="Ana", request_id=request_id)
    assert await upload(gateway, dataset_id, group="Ana", request_id=request_id) == first
    other = upload(gateway, dataset_id, group="Bo", request_id=request_id)
    await refused(other, "ALREADY_EXISTS", "REQUEST_ID_REUSED")


async def test_a_group_is_checked(gateway) -> None:
    for field, group in (("metadata.group", "a" * 101), ("", "a\0b")):
        call = upload(gateway, await dataset(gateway), group=group)
        refusal = await refused(call, "INVALID_ARGUMENT", "INVALID_FIELD")
        assert list(refusal.fields) == [field]
    assert gateway.objects() == []
    refusal = await refused(listed(gateway, NOWHERE, groups=["a" * 101]), "INVALID_ARGUMENT", "INVALID_FIELD")
    assert list(refusal.fields) == ["groups[0]"]
