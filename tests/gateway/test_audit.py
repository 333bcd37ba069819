"""The audit log: which calls have an entry, what is in it, and what becomes of it."""

import asyncio
from uuid import UUID

import asyncpg
import pytest
import pytest_asyncio
from grpc_channelz.v1 import channelz_pb2, channelz_pb2_grpc
from structlog.testing import capture_logs
from uuid_utils.compat import uuid7

from earmark.background import Background
from earmark.gateway import audit as gateway_audit
from earmark.gateway import refusals
from earmark.gateway.audit import Audit
from earmark.gateway.audited_ids import ids_of, printable
from earmark.gateway.caller import Caller
from earmark.gateway.guard import is_read
from earmark.gateway.refusals import Refusals
from earmark.reflection import contract
from earmark.storage.database import Database
from earmark.storage.queries import audit_entries
from earmark.storage.queries.audit_entries import Filters, NewEntry
from earmark.v1 import admin_service_pb2 as pb
from earmark.v1 import (
    annotation_service_pb2,
    audio_service_pb2,
    dataset_service_pb2,
    detection_service_pb2,
    training_service_pb2,
)
from earmark.v1.admin_service_pb2_grpc import AdminServiceStub
from earmark.v1.scope_pb2 import Scope
from earmark.v1.training_service_pb2_grpc import TrainingServiceStub
from tests.gateway.calls import NOWHERE, messages, opened, refused
from tests.gateway.two_tenants import OTHER, OWN, bearer, installed

DELETE = "/earmark.v1.DatasetService/DeleteDataset"
# Every rpc whose successful calls have no entry each. All others have.
READS = {
    *("GetAnnotationSet", "ListAnnotationSets", "ListAnnotations", "GetAudioFile", "ListAudioFiles"),
    *("DownloadAudio", "WatchAudioFiles", "GetDataset", "ListDatasets", "GetDetectionJob"),
    *("ListDetectionJobs", "WatchDetectionJob", "ListDetectionFiles", "ListDetections"),
    *("DownloadDetections", "GetDetectionJobReport", "EvaluateDetectionJob", "ListEvaluationErrors"),
    *("CompareDetectionJobs", "ListFilesToMark", "GetModel", "ListModels", "GetModelReport"),
    *("GetModelUsage", "ListModelAliases", "ListModelAliasMoves", "ExportModel", "GetTrainingJob"),
    *("ListTrainingJobs", "WatchTrainingJob", "WatchTrainingJobs"),
}
CHANGES = {
    *("CreateAnnotationSet", "PublishAnnotationSet", "DeleteAnnotationSet", "BatchCreateAnnotations"),
    *("UpdateAnnotation", "DeleteAnnotation", "UploadAudio", "UpdateAudioFile", "RetryAudioFile"),
    *("DeleteAudioFile", "CreateDataset", "UpdateDataset", "DeleteDataset", "Detect", "UploadRecording"),
    *("CreateDetectionJob", "CancelDetectionJob", "DeleteDetectionJob", "UpdateModel", "DeleteModel"),
    *("UndeleteModel", "SetModelAlias", "DeleteModelAlias", "CreateTrainingJob", "CancelTrainingJob"),
    *("DeleteTrainingJob", "CreateTenant", "CreateApiKey", "RotateApiKey", "RevokeApiKey"),
    # Of the whole installation.
    *("GetCapacity", "ListTrainers", "ListBackgroundTasks", "GetLoad", "ListTenants", "GetApiKey"),
    *("ListApiKeys", "ListAuditEntries", "SetTenantQuota", "GetTenantUsage"),
}


def test_every_rpc_is_known_as_a_read_or_as_recorded() -> None:
    """A new rpc fails until it stands above."""
    found = {
        f"/{file.package}.{service.name}/{method.name}"
        for file in contract().file
        if file.package == "earmark.v1"
        for service in file.service
        for method in service.method
    }
    assert {path.rpartition("/")[2] for path in found if is_read(path)} == READS
    assert {path.rpartition("/")[2] for path in found if not is_read(path)} == CHANGES


@pytest_asyncio.fixture
async def here(database_url, tmp_path):
    async with installed(database_url, tmp_path) as installation:
        yield installation


async def entries(here, *, until=lambda found: found, **fields) -> list[pb.AuditEntry]:
    """The entries, newest first, once they are as awaited. The list itself is not among them."""
    # The lists have entries, too, and must not fill the page.
    request = pb.ListAuditEntriesRequest(page_size=1000, **fields)
    async with asyncio.timeout(20):
        while True:
            page = await here.admin.ListAuditEntries(request, metadata=bearer(here.operator))
            found = [entry for entry in page.entries if not entry.rpc.endswith("ListAuditEntries")]
            if until(found):
                return found


def ids(entry) -> dict[str, str]:
    return {one.name: one.value for one in entry.ids}


async def created(here, tenant: str, **fields) -> str:
    request = dataset_service_pb2.CreateDatasetRequest(
        name="secret words", artifact_types=[{"name": "glitch"}], **fields
    )
    reply = await here.gateway.datasets.CreateDataset(request, metadata=bearer(here.keys[tenant]))
    return reply.dataset.id


async def test_a_change_says_who_what_when_from_where_and_with_which_result(here) -> None:
    dataset_id = await created(here, OWN)
    delete = dataset_service_pb2.DeleteDatasetRequest(dataset_id=dataset_id)
    running = here.gateway.datasets.DeleteDataset(delete, metadata=bearer(here.keys[OWN]))
    await running
    request_id = dict(await running.trailing_metadata())["x-request-id"]
    await refused(
        here.gateway.datasets.DeleteDataset(delete, metadata=bearer(here.keys[OWN])), "NOT_FOUND", "NOT_FOUND"
    )
    again, first, creation = await entries(here, tenant_id=OWN, until=lambda found: len(found) == 3)
    keys = await here.admin.ListApiKeys(pb.ListApiKeysRequest(tenant_id=OWN), metadata=bearer(here.operator))
    assert (first.rpc, first.code, first.reason, first.request_id) == (DELETE, "OK", "", request_id)
    assert (first.tenant_id, first.caller, first.address) == (OWN, f"of {OWN}", "ipv4:127.0.0.1")
    assert first.api_key_id == keys.api_keys[0].id
    assert first.called_at.ToMilliseconds() >= keys.api_keys[0].created_at.ToMilliseconds()
    assert (again.rpc, again.code, again.reason) == (DELETE, "NOT_FOUND", "NOT_FOUND")
    assert [ids(entry) for entry in (again, first, creation)] == [{"dataset_id": dataset_id}] * 3
    everything = str(await entries(here))
    assert not any(text in everything for text in ("secret words", "glitch", "em_", *here.keys.values()))


async def test_an_upload_and_a_key_are_recorded_by_what_they_made(here) -> None:
    dataset_id = await created(here, OWN)
    parts = iter(messages(dataset_id, b"RIFF"))
    uploaded = await here.gateway.audio.UploadAudio(parts, metadata=bearer(here.keys[OWN]))
    [entry] = await entries(here, rpc="UploadAudio")
    assert ids(entry) == {"dataset_id": dataset_id, "audio_file_id": uploaded.audio_file.id}
    assert entry.code == "OK"
    made = await here.create_key(OTHER, [Scope.SCOPE_READ])
    newest, *_ = await entries(
        here, rpc="/earmark.v1.AdminService/CreateApiKey", until=lambda found: len(found) == 4
    )
    assert ids(newest) == {"tenant_id": OTHER, "api_key_id": made.api_key.id}
    assert newest.tenant_id == "default"
    first = (await entries(here, rpc="CreateApiKey", until=lambda found: len(found) == 4))[-1]
    assert (first.caller, first.api_key_id) == ("ipv4:127.0.0.1", "")


async def test_of_reads_the_first_of_a_key_is_recorded_and_every_one_of_the_operator(here) -> None:
    metadata = bearer(here.keys[OWN])
    for _ in range(3):
        await here.gateway.datasets.ListDatasets(dataset_service_pb2.ListDatasetsRequest(), metadata=metadata)
    for _ in range(2):
        await here.admin.ListTrainers(pb.ListTrainersRequest(), metadata=bearer(here.operator))
    await entries(here, rpc="ListTrainers", until=lambda found: len(found) == 2)
    [use] = await entries(here, rpc="ListDatasets")
    assert (use.caller, use.code, list(use.ids)) == (f"of {OWN}", "OK", [])


async def test_refused_calls_are_recorded_and_a_flood_of_them_is_not(here) -> None:
    datasets = here.gateway.datasets
    listed = dataset_service_pb2.ListDatasetsRequest()
    await refused(
        here.admin.ListTenants(pb.ListTenantsRequest(), metadata=bearer(here.keys[OWN])),
        "PERMISSION_DENIED",
        "SCOPE_MISSING",
    )
    servers = channelz_pb2_grpc.ChannelzStub(here.gateway.channel).GetServers
    metadata = bearer(here.keys[OWN])
    await refused(
        servers(channelz_pb2.GetServersRequest(), metadata=metadata), "PERMISSION_DENIED", "SCOPE_MISSING"
    )
    for _ in range(2 * refusals.BURST):
        await refused(datasets.ListDatasets(listed), "UNAUTHENTICATED", "API_KEY_MISSING")
    denied = await entries(here, code="PERMISSION_DENIED", until=lambda found: len(found) == 2)
    assert [one.rpc.rpartition("/")[2] for one in denied] == ["GetServers", "ListTenants"]
    assert {(one.tenant_id, one.caller, one.reason) for one in denied} == {
        (OWN, f"of {OWN}", "SCOPE_MISSING")
    }
    unknown = await entries(here, code="UNAUTHENTICATED")
    assert len(unknown) <= refusals.BURST
    assert {(one.tenant_id, one.caller, one.address) for one in unknown} == {("", "", "ipv4:127.0.0.1")}
    load = await here.admin.GetLoad(pb.GetLoadRequest(), metadata=bearer(here.operator))
    assert load.refusals_left_out >= refusals.BURST
    assert load.audit_entries_lost == 0


async def test_a_watch_that_ends_with_its_key_is_recorded_when_it_begins_and_as_refused(here) -> None:
    made = await here.create_key(OWN, [Scope.SCOPE_READ])
    watch = TrainingServiceStub(here.gateway.channel).WatchTrainingJobs(
        training_service_pb2.WatchTrainingJobsRequest(), metadata=bearer(made.secret)
    )
    await watch.read()
    [begun] = await entries(here, api_key_id=made.api_key.id)
    request = pb.RevokeApiKeyRequest(api_key_id=made.api_key.id)
    await here.admin.RevokeApiKey(request, metadata=bearer(here.operator))
    await refused(watch.read(), "UNAUTHENTICATED", "API_KEY_INVALID")
    # Both are of the same call and time.
    both = await entries(here, api_key_id=made.api_key.id, until=lambda found: len(found) == 2)
    assert {one.code for one in both} == {begun.code, "UNAUTHENTICATED"} == {"OK", "UNAUTHENTICATED"}
    assert {one.request_id for one in both} == {begun.request_id}


async def test_the_list_is_filtered_and_paged_newest_first(here) -> None:
    made = [await created(here, tenant) for tenant in (OWN, OTHER, OWN, OWN)]
    found = await entries(here, rpc="CreateDataset", until=lambda found: len(found) == len(made))
    assert [ids(entry)["dataset_id"] for entry in found] == made[::-1]
    operator = bearer(here.operator)
    request = pb.ListAuditEntriesRequest(
        rpc="CreateDataset", code="OK", since=found[2].called_at, until=found[0].called_at, page_size=1
    )
    pages = []
    while not pages or request.page_token:
        page = await here.admin.ListAuditEntries(request, metadata=operator)
        pages.append(list(page.entries))
        request.page_token = page.next_page_token
    assert pages == [[found[1]], [found[2]]]
    by_key = await entries(here, api_key_id=found[2].api_key_id)
    assert [entry.rpc.rpartition("/")[2] for entry in by_key] == ["CreateDataset"]
    request.page_token = "no token"
    await refused(
        here.admin.ListAuditEntries(request, metadata=operator), "INVALID_ARGUMENT", "INVALID_PAGE_TOKEN"
    )


async def test_what_the_calls_before_a_stop_have_changed_is_recorded(
    database_url, tmp_path, monkeypatch
) -> None:
    """Also of a call that the stop cuts off. No entry is written before."""
    monkeypatch.setattr(gateway_audit, "LINGER_SECONDS", 3600)
    async with installed(database_url, tmp_path / "one", stop_grace_seconds=0) as here:
        dataset_id = await created(here, OWN)
        upload = here.gateway.audio.UploadAudio(metadata=bearer(here.keys[OWN]))
        await upload.write(messages(dataset_id, b"R" * 1000)[0])
        load = pb.GetLoadResponse()
        while not load.uploads:
            load = await here.admin.GetLoad(pb.GetLoadRequest(), metadata=bearer(here.operator))
        assert await here.gateway.count("audit_entries") == 0
        assert load.audit_entries_waiting > 0
    async with Database(database_url) as database, database.connection() as connection:
        newest, *others = await audit_entries.page(connection, Filters(tenant=OWN), None, 10)
    assert (newest.rpc, newest.code) == ("/earmark.v1.AudioService/UploadAudio", "CANCELLED")
    assert [(one.rpc.rpartition("/")[2], one.code) for one in others] == [("CreateDataset", "OK")]


async def test_entries_wait_for_the_database_and_are_added_once(database_url, monkeypatch) -> None:
    monkeypatch.setattr(gateway_audit, "QUEUE", 3)
    audit = Audit()
    for _ in range(5):
        with audit.call(DELETE, str(uuid7()), "ipv4:127.0.0.1", is_read=False) as call:
            call.caller = Caller("default", "ipv4:127.0.0.1", "x")
            call.let_in()
    assert (audit.waiting, audit.lost) == (3, 2)
    add = audit_entries.add

    async def lost_reply(connection, new) -> None:
        await add(connection, new)
        raise ConnectionError

    async with Database(database_url) as database:
        monkeypatch.setattr(audit_entries, "add", lost_reply)
        with pytest.raises(Exception, match="ConnectionError"):
            await audit.write(database)
        assert audit.waiting == 3
        monkeypatch.setattr(audit_entries, "add", add)
        async with audit.writing(database, Background()):
            pass
        assert audit.waiting == 0
        async with database.connection() as connection:
            assert await connection.fetchval("SELECT count(*) FROM audit_entries") == 3


async def test_what_the_database_does_not_take_at_the_end_is_in_the_gateways_log(
    database_url, monkeypatch
) -> None:
    async def unavailable(_connection, _new) -> None:
        raise ConnectionError

    monkeypatch.setattr(audit_entries, "add", unavailable)
    audit = Audit()
    with capture_logs() as lines:
        async with Database(database_url) as database, audit.writing(database, Background()):
            with audit.call(DELETE, str(uuid7()), "ipv4:127.0.0.1", is_read=False) as call:
                call.let_in()
                call.asks(dataset_service_pb2.DeleteDatasetRequest(dataset_id=NOWHERE))
        with audit.call(DELETE, str(uuid7()), "ipv4:127.0.0.1", is_read=False) as late:
            late.let_in()
    found = [line["entry"] for line in lines if "in no table" in line["event"]]
    assert len(found) == 2
    assert NOWHERE in found[0]
    assert audit.waiting == 0


def deletion(entry_id: UUID, seconds: float) -> NewEntry:
    return NewEntry(
        id=entry_id,
        request_id=uuid7(),
        seconds=seconds,
        tenant=OWN,
        api_key_id=None,
        caller="",
        address="",
        rpc=DELETE,
        ids=[],
        code="OK",
        reason="",
    )


async def test_entries_are_neither_changed_nor_seen_by_tenants_and_only_old_ones_are_removed(
    database_url,
) -> None:
    async with Database(database_url) as database:
        ages = {uuid7(): days * 86_400.0 for days in (0, 2, 40)}
        async with database.connection() as connection:
            new = [deletion(id_, age) for id_, age in ages.items()]
            await audit_entries.add(connection, new)
            for change in ("UPDATE audit_entries SET code = ''", "TRUNCATE audit_entries"):
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await connection.execute(change)
            assert await audit_entries.delete_old(connection, 30, 100) == 1
            # Whatever the setting says.
            assert await audit_entries.delete_old(connection, 0, 100) == 1
            assert await connection.execute("DELETE FROM audit_entries") == "DELETE 0"
            assert [one.id for one in await audit_entries.page(connection, Filters(), None, 9)] == [*ages][:1]
        async with database.seen_by(lambda: OWN).connection() as connection:
            assert await audit_entries.page(connection, Filters(), None, 9) == []
            with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
                await audit_entries.add(connection, new)


async def test_the_gateway_removes_what_is_older_than_its_setting(database_url, tmp_path) -> None:
    async with Database(database_url) as database:
        new = [deletion(uuid7(), days * 86_400.0) for days in (4, 2)]
        async with database.connection() as connection:
            await audit_entries.add(connection, new)
        async with opened(database_url, tmp_path, audit_days=3) as gateway, asyncio.timeout(20):
            while await gateway.count("audit_entries WHERE called_at < now() - interval '3 days'"):
                await AdminServiceStub(gateway.channel).ListTrainers(pb.ListTrainersRequest())
            assert await gateway.count("audit_entries WHERE called_at < now() - interval '1 day'") == 1


def test_ids_are_those_of_the_message_and_of_those_in_it_and_are_printable() -> None:
    upload = audio_service_pb2.UploadAudioRequest(metadata={"dataset_id": NOWHERE, "filename": "x"})
    assert ids_of(upload) == [("dataset_id", NOWHERE)]
    job = detection_service_pb2.CreateDetectionJobRequest(model_id="a@b", request_id=NOWHERE)
    assert ids_of(job) == [("model_id", "a@b")]
    made = pb.CreateApiKeyResponse(api_key={"id": NOWHERE, "tenant_id": OWN}, secret="em_secret")
    assert ids_of(made) == [("api_key_id", NOWHERE), ("tenant_id", OWN)]
    many = annotation_service_pb2.BatchCreateAnnotationsRequest(
        annotation_set_id="x\n\x1b[2J\u202e", annotations=[{"audio_file_id": NOWHERE}]
    )
    assert ids_of(many) == [("annotation_set_id", r"x\n\x1b[2J\u202e")]
    assert printable("é " + "x" * 1000) == "é " + "x" * 98


def test_refusals_have_room_again_later_and_say_how_many_were_left_out() -> None:
    room = Refusals()
    taken = [room.take("a", 0.0) for _ in range(refusals.BURST + 5)]
    assert taken == [0] * refusals.BURST + [None] * 5
    assert room.take("b", 0.0) == 0
    assert room.take("a", 60.0) == 5
    assert room.take("a", 60.0) is None
    assert room.left_out == 6
    many = [room.take(f"{number}", 61.0) for number in range(1000)]
    assert many.count(0) == refusals.BURST_OF_ALL
