"""The groups of audio files: stored with an upload, shown, and filtered by."""

from uuid import uuid4

from earmark.v1 import audio_service_pb2 as pb
from earmark.v1 import training_service_pb2 as training
from earmark.v1.training_service_pb2_grpc import TrainingServiceStub
from tests.gateway import rows
from tests.gateway.calls import NOWHERE, dataset, decoded, finish_processing, refused, upload


async def listed(gateway, dataset_id: str, **fields) -> list[pb.AudioFile]:
    request = pb.ListAudioFilesRequest(dataset_id=dataset_id, **fields)
    return list((await gateway.audio.ListAudioFiles(request)).audio_files)


async def get(gateway, audio_file_id: str) -> pb.AudioFile:
    return (await gateway.audio.GetAudioFile(pb.GetAudioFileRequest(audio_file_id=audio_file_id))).audio_file


def update(gateway, audio_file_id: str, group: str = "Ana", mask: tuple[str, ...] = ("group",), **fields):
    request_id = fields.pop("request_id", "")
    request = pb.UpdateAudioFileRequest(
        audio_file={"id": audio_file_id, "group": group} | fields,
        update_mask={"paths": mask},
        request_id=request_id,
    )
    return gateway.audio.UpdateAudioFile(request)


async def test_the_group_of_an_upload_stays_with_the_file(gateway) -> None:
    dataset_id = await dataset(gateway)
    file = await upload(gateway, dataset_id, group="Ana, 3rd call")
    assert file.group == "Ana, 3rd call"
    await finish_processing(gateway, duration_ms=1000, channels=1)
    assert (await get(gateway, file.id)).group == "Ana, 3rd call"
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


async def test_an_update_changes_and_removes_the_group_and_nothing_else(gateway) -> None:
    dataset_id = await dataset(gateway)
    file_id, request_id = await decoded(gateway, dataset_id), str(uuid4())
    before = await get(gateway, file_id)
    changed = (await update(gateway, file_id, "Ana", request_id=request_id)).audio_file
    assert await get(gateway, file_id) == changed
    assert changed.etag != before.etag
    removed = (await update(gateway, file_id, "", etag=changed.etag)).audio_file
    assert (changed.group, removed.group) == ("Ana", "")
    changed.group, changed.etag, removed.etag = "", before.etag, before.etag
    assert changed == removed == before
    # The first reply again, and no second change.
    assert (await update(gateway, file_id, "Ana", request_id=request_id)).audio_file.group == "Ana"
    assert (await get(gateway, file_id)).group == ""


async def test_an_update_with_a_stale_etag_changes_nothing(gateway) -> None:
    file = await upload(gateway, await dataset(gateway))
    await finish_processing(gateway, duration_ms=1000, channels=1)
    refusal = await refused(update(gateway, file.id, etag=file.etag), "ABORTED", "STALE_ETAG")
    current = await get(gateway, file.id)
    assert refusal.info.metadata["current_etag"] == current.etag
    assert current.group == ""


async def test_an_update_is_checked(gateway) -> None:
    file = await upload(gateway, await dataset(gateway))
    for mask in ((), ("sha256",), ("group", "content_type")):
        await refused(update(gateway, file.id, mask=mask), "INVALID_ARGUMENT", "INVALID_UPDATE_MASK")
    for field, call in (
        ("audio_file.id", update(gateway, "x")),
        ("audio_file.group", update(gateway, file.id, "a" * 101)),
        ("request_id", update(gateway, file.id, request_id="x")),
    ):
        assert list((await refused(call, "INVALID_ARGUMENT", "INVALID_FIELD")).fields) == [field]
    refusal = await refused(update(gateway, NOWHERE), "NOT_FOUND", "NOT_FOUND")
    assert refusal.resource == ("audio_file", NOWHERE)
    async with gateway.database.transaction() as connection:
        other = await rows.dataset(connection, tenant="other")
    await refused(update(gateway, str(other.audio_file_ids[0])), "NOT_FOUND", "NOT_FOUND")


async def test_an_unfinished_job_keeps_the_groups_that_it_began_with(gateway) -> None:
    async with gateway.database.transaction() as connection:
        built = await rows.dataset(connection)
    file_id = str(built.audio_file_ids[0])
    stub = TrainingServiceStub(gateway.channel)
    request = training.CreateTrainingJobRequest(
        dataset_id=str(built.dataset_id),
        annotation_set_id=str(built.annotation_set_id),
        config={"artifact_types": ["glitch"]},
    )
    job = (await stub.CreateTrainingJob(request)).training_job
    refusal = await refused(update(gateway, file_id), "FAILED_PRECONDITION", "IN_USE")
    assert [v[:2] for v in refusal.violations] == [("IN_USE", f"training_job/{job.id}")]
    assert (await get(gateway, file_id)).group == ""
    await stub.CancelTrainingJob(training.CancelTrainingJobRequest(training_job_id=job.id))
    assert (await update(gateway, file_id)).audio_file.group == "Ana"
