"""API keys: who may call, for how long, and what ends with a key."""

import asyncio
import subprocess
import sys
import time

import pytest
import pytest_asyncio
from grpc import aio
from grpc_channelz.v1 import channelz_pb2, channelz_pb2_grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from earmark.gateway import failures, guard
from earmark.gateway import keys as gateway_keys
from earmark.gateway.api_key import Secret, generate
from earmark.gateway.bootstrap import BootstrapSettings, bootstrap
from earmark.hosts import is_loopback
from earmark.storage.objects import STORE_ID
from earmark.storage.store_check import PROBES
from earmark.v1 import admin_service_pb2 as pb
from earmark.v1 import audio_service_pb2, dataset_service_pb2, training_service_pb2
from earmark.v1.admin_service_pb2_grpc import AdminServiceStub
from earmark.v1.dataset_service_pb2_grpc import DatasetServiceStub
from earmark.v1.scope_pb2 import Scope
from earmark.v1.training_service_pb2_grpc import TrainingServiceStub
from tests.gateway.calls import NOWHERE, dataset, messages, opened, refused
from tests.gateway.two_tenants import OTHER, OWN, bearer, installed

SECONDS = 20


@pytest_asyncio.fixture
async def here(database_url, tmp_path):
    async with installed(database_url, tmp_path) as installation:
        yield installation


def listed(gateway, metadata=()):
    return DatasetServiceStub(gateway.channel).ListDatasets(
        dataset_service_pb2.ListDatasetsRequest(), metadata=metadata
    )


async def create_dataset(here, tenant: str) -> str:
    request = dataset_service_pb2.CreateDatasetRequest(name="calls", artifact_types=[{"name": "glitch"}])
    metadata = bearer(here.keys[tenant])
    return (await here.gateway.datasets.CreateDataset(request, metadata=metadata)).dataset.id


async def test_a_key_is_sent_in_either_metadata_and_only_its_hash_is_stored(here) -> None:
    key = here.keys[OWN]
    for metadata in (bearer(key), (("authorization", f"bearer {key}"),), (("x-api-key", key),)):
        await listed(here.gateway, metadata)
    shown = await here.admin.ListApiKeys(pb.ListApiKeysRequest(), metadata=bearer(here.operator))
    assert [k.tenant_id for k in shown.api_keys] == [OTHER, OWN, "default"]
    assert key[:11] == shown.api_keys[1].prefix
    assert key[12:] not in str(shown)
    async with here.gateway.database.connection() as connection:
        stored = str(await connection.fetch("SELECT t::text FROM api_keys t"))
        assert all(part not in stored for part in (key, key[12:]))


@pytest.mark.parametrize("damage", ["x", "", "em_", "another"])
async def test_what_is_no_key_is_refused(here, damage) -> None:
    key = here.keys[OWN]
    sent = {"x": key[:-1] + ("A" if key[-1] != "A" else "B"), "another": generate()[0]}.get(damage, damage)
    for metadata in (bearer(sent), (("x-api-key", sent),), (("authorization", f"Basic {key}"),)):
        refusal = await refused(listed(here.gateway, metadata), "UNAUTHENTICATED", "API_KEY_INVALID")
        assert "not valid" in refusal.message


async def test_a_revoked_key_ends_at_once_and_so_do_its_streams(here) -> None:
    made = await here.create_key(OWN, [Scope.SCOPE_READ, Scope.SCOPE_WRITE])
    dataset_id = await create_dataset(here, OWN)
    metadata = bearer(made.secret)
    training = TrainingServiceStub(here.gateway.channel)
    watch = training.WatchTrainingJobs(training_service_pb2.WatchTrainingJobsRequest(), metadata=metadata)
    other = training.WatchTrainingJobs(
        training_service_pb2.WatchTrainingJobsRequest(), metadata=bearer(here.keys[OWN])
    )
    upload = here.gateway.audio.UploadAudio(metadata=metadata)
    await upload.write(messages(dataset_id, b"R" * 1000)[0])
    await watch.read()
    await other.read()
    request = pb.RevokeApiKeyRequest(api_key_id=made.api_key.id)
    began = time.monotonic()
    revoked = await here.admin.RevokeApiKey(request, metadata=bearer(here.operator))
    await refused(watch.read(), "UNAUTHENTICATED", "API_KEY_INVALID")
    await refused(upload, "UNAUTHENTICATED", "API_KEY_INVALID")
    assert time.monotonic() - began < 5
    await refused(listed(here.gateway, metadata), "UNAUTHENTICATED", "API_KEY_INVALID")
    again = await here.admin.RevokeApiKey(request, metadata=bearer(here.operator))
    assert again.api_key == revoked.api_key
    assert not other.done()
    other.cancel()


async def test_a_revocation_in_another_gateway_counts_without_a_notification(
    here, database_url, tmp_path
) -> None:
    async with opened(database_url, tmp_path) as second:
        training = TrainingServiceStub(second.channel)
        watch = training.WatchTrainingJobs(
            training_service_pb2.WatchTrainingJobsRequest(), metadata=bearer(here.keys[OWN])
        )
        await watch.read()
        await here.gateway.execute("UPDATE api_keys SET revoked_at = now() WHERE tenant_id = $1", OWN)
        async with asyncio.timeout(5):
            await refused(watch.read(), "UNAUTHENTICATED", "API_KEY_INVALID")


async def test_an_expired_key_ends_with_its_streams(here) -> None:
    made = await here.create_key(OWN, [Scope.SCOPE_READ], valid_for={"seconds": 2})
    metadata = bearer(made.secret)
    watch = TrainingServiceStub(here.gateway.channel).WatchTrainingJobs(
        training_service_pb2.WatchTrainingJobsRequest(), metadata=metadata
    )
    await watch.read()
    async with asyncio.timeout(2 + 5):
        await refused(watch.read(), "UNAUTHENTICATED", "API_KEY_INVALID")
    await refused(listed(here.gateway, metadata), "UNAUTHENTICATED", "API_KEY_INVALID")


async def test_a_rotated_key_goes_on_for_the_overlap(here) -> None:
    made = await here.create_key(OWN, [Scope.SCOPE_READ])
    admin, operator = here.admin, bearer(here.operator)
    request = pb.RotateApiKeyRequest(api_key_id=made.api_key.id, overlap={"seconds": 3600})
    rotated = await admin.RotateApiKey(request, metadata=operator)
    assert (rotated.api_key.scopes, rotated.api_key.tenant_id) == ([Scope.SCOPE_READ], OWN)
    assert rotated.old_api_key.id == made.api_key.id
    assert rotated.old_api_key.expires_at.seconds > rotated.api_key.created_at.seconds + 3500
    for secret in (made.secret, rotated.secret):
        await listed(here.gateway, bearer(secret))
    request.overlap.seconds = 0
    last = await admin.RotateApiKey(request, metadata=operator)
    await refused(listed(here.gateway, bearer(made.secret)), "UNAUTHENTICATED", "API_KEY_INVALID")
    await listed(here.gateway, bearer(last.secret))
    await refused(admin.RotateApiKey(request, metadata=operator), "FAILED_PRECONDITION", "WRONG_STATE")


async def test_the_last_use_is_recorded_when_the_gateway_stops(database_url, tmp_path) -> None:
    async with installed(database_url, tmp_path / "one") as here:
        await listed(here.gateway, bearer(here.keys[OWN]))
    async with opened(database_url, tmp_path / "one") as gateway:
        keys = await AdminServiceStub(gateway.channel).ListApiKeys(
            pb.ListApiKeysRequest(), metadata=bearer(here.operator)
        )
    used = {key.tenant_id: key.HasField("last_used_at") for key in keys.api_keys}
    assert used == {OTHER: False, OWN: True, "default": True}


async def test_unknown_keys_of_an_address_are_limited_and_known_ones_are_not(here) -> None:
    await listed(here.gateway, bearer(here.keys[OWN]))
    for _ in range(failures.BURST):
        await refused(listed(here.gateway, bearer(generate()[0])), "UNAUTHENTICATED", "API_KEY_INVALID")
    refusal = await refused(
        listed(here.gateway, bearer(generate()[0])), "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED"
    )
    assert "correct the key" in refusal.message
    await listed(here.gateway, bearer(here.keys[OWN]))


async def test_the_first_key_needs_the_scope_admin_and_closes_every_gateway(database_url, tmp_path) -> None:
    async with opened(database_url, tmp_path) as gateway, opened(database_url, tmp_path) as second:
        admin = AdminServiceStub(gateway.channel)
        request = pb.CreateApiKeyRequest(tenant_id="default", name="x", scopes=[Scope.SCOPE_READ])
        assert (
            "SCOPE_ADMIN"
            in (await refused(admin.CreateApiKey(request), "INVALID_ARGUMENT", "INVALID_FIELD")).fields[
                "scopes"
            ]
        )
        await dataset(gateway, "glitch")
        watch = TrainingServiceStub(second.channel).WatchTrainingJobs(
            training_service_pb2.WatchTrainingJobsRequest()
        )
        await watch.read()
        request.scopes[:] = [Scope.SCOPE_ADMIN]
        made = await admin.CreateApiKey(request)
        await refused(listed(gateway), "UNAUTHENTICATED", "API_KEY_MISSING")
        async with asyncio.timeout(5):
            await refused(watch.read(), "UNAUTHENTICATED", "API_KEY_INVALID")
        await refused(listed(second), "UNAUTHENTICATED", "API_KEY_MISSING")
        # Also after all keys are revoked.
        await admin.RevokeApiKey(
            pb.RevokeApiKeyRequest(api_key_id=made.api_key.id), metadata=bearer(made.secret)
        )
        await refused(listed(gateway), "UNAUTHENTICATED", "API_KEY_MISSING")


async def test_beyond_loopback_a_key_is_needed_and_bootstrap_makes_it(
    database_url, tmp_path, monkeypatch
) -> None:
    # The test listens on loopback all the same.
    monkeypatch.setattr(gateway_keys, "is_loopback", lambda _host: False)
    async with opened(database_url, tmp_path) as gateway:
        refusal = await refused(listed(gateway), "UNAUTHENTICATED", "API_KEY_MISSING")
        assert "earmark keys bootstrap" in refusal.message
        settings = BootstrapSettings(database_url=database_url, data_dir=tmp_path, if_none=True)
        key = await bootstrap(settings)
        shown = await AdminServiceStub(gateway.channel).ListApiKeys(
            pb.ListApiKeysRequest(), metadata=bearer(key)
        )
        assert [list(k.scopes) for k in shown.api_keys] == [[Scope.SCOPE_ADMIN]]
        recorded = await AdminServiceStub(gateway.channel).ListAuditEntries(
            pb.ListAuditEntriesRequest(rpc="earmark keys bootstrap"), metadata=bearer(key)
        )
        assert [one.value for entry in recorded.entries for one in entry.ids] == [shown.api_keys[0].id]
        assert await bootstrap(settings) is None
        await refused(listed(gateway, bearer(key)), "PERMISSION_DENIED", "SCOPE_MISSING")


def test_bootstrap_makes_a_key_once_and_says_what_is_wrong(database_url, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("EARMARK_DATABASE_URL", database_url)
    command = [sys.executable, "-m", "earmark.gateway.bootstrap", "--if-none", "--data-dir", str(tmp_path)]
    first, second = (
        subprocess.run(command, capture_output=True, text=True, check=True, timeout=SECONDS) for _ in range(2)
    )
    assert Secret.parse(first.stdout.strip())
    assert "earmark keys create" in first.stderr
    assert second.stdout == ""
    monkeypatch.setenv("EARMARK_DATABASE_URL", database_url.replace("earmark_test_", "no_"))
    failed = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)
    assert (failed.returncode, failed.stdout) == (1, "")
    assert "Create the database" in failed.stderr


def test_hosts_that_only_this_machine_reaches() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.8.0.1", "localhost", "::1", "[::1]")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "[::]", "10.0.0.1", "earmark.example", "")))


async def test_standard_services_are_as_open_as_set(here) -> None:
    channel, user, operator = here.gateway.channel, bearer(here.keys[OWN]), bearer(here.operator)
    await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
    reflection = reflection_pb2_grpc.ServerReflectionStub(channel)
    asked = [reflection_pb2.ServerReflectionRequest(list_services="")]
    unanswered = reflection.ServerReflectionInfo(iter(asked))
    await refused(unanswered.read(), "UNAUTHENTICATED", "API_KEY_MISSING")
    assert await reflection.ServerReflectionInfo(iter(asked), metadata=user).read() != aio.EOF
    channelz = channelz_pb2_grpc.ChannelzStub(channel)
    request = channelz_pb2.GetServersRequest()
    await refused(channelz.GetServers(request, metadata=user), "PERMISSION_DENIED", "SCOPE_MISSING")
    assert (await channelz.GetServers(request, metadata=operator)).server


async def test_tenants_are_made_once_and_no_name_of_the_object_store_is_one(here) -> None:
    admin, operator = here.admin, bearer(here.operator)
    again = admin.CreateTenant(pb.CreateTenantRequest(tenant_id=OWN), metadata=operator)
    await refused(again, "ALREADY_EXISTS", "ALREADY_EXISTS")
    for name in (PROBES, STORE_ID, "Sales", "a/b", "", "-a", "a" * 41):
        call = admin.CreateTenant(pb.CreateTenantRequest(tenant_id=name), metadata=operator)
        await refused(call, "INVALID_ARGUMENT", "INVALID_FIELD")
    tenants = (await admin.ListTenants(pb.ListTenantsRequest(page_size=2), metadata=operator)).tenants
    assert [tenant.id for tenant in tenants] == ["default", OTHER]
    missing = pb.CreateApiKeyRequest(tenant_id="nobody", name="x", scopes=[Scope.SCOPE_READ])
    await refused(admin.CreateApiKey(missing, metadata=operator), "NOT_FOUND", "NOT_FOUND")
    for rpc, request in (("GetApiKey", pb.GetApiKeyRequest), ("RevokeApiKey", pb.RevokeApiKeyRequest)):
        call = getattr(admin, rpc)(request(api_key_id=NOWHERE), metadata=operator)
        await refused(call, "NOT_FOUND", "NOT_FOUND")


async def test_the_keys_of_a_tenant_share_its_limits(database_url, tmp_path) -> None:
    limits = {"max_caller_uploads": 1, "max_tenant_callers": 2}
    async with installed(database_url, tmp_path, **limits) as here:
        dataset_id, begun = await create_dataset(here, OWN), []
        secrets = [(await here.create_key(OWN, [Scope.SCOPE_WRITE])).secret for _ in range(3)]

        async def begin(secret: str) -> aio.StreamUnaryCall:
            call = here.gateway.audio.UploadAudio(metadata=bearer(secret))
            await call.write(messages(dataset_id, b"R" * 1000)[0])
            return call

        for secret in secrets[:2]:
            begun.append(await begin(secret))
            while (
                await here.admin.GetLoad(pb.GetLoadRequest(), metadata=bearer(here.operator))
            ).uploads < len(begun):
                pass
        for secret, subject in ((secrets[0], "caller/uploads"), (secrets[2], f"tenant/{OWN}/uploads")):
            refusal = await refused(await begin(secret), "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED")
            [violation] = refusal.details["google.rpc.QuotaFailure"].violations
            assert violation.subject == subject
        for call in begun:
            call.cancel()


async def test_objects_lie_below_the_tenant(here) -> None:
    dataset_id = await create_dataset(here, OTHER)
    requests = iter(messages(dataset_id, b"RIFF"))
    await here.gateway.audio.UploadAudio(requests, metadata=bearer(here.keys[OTHER]))
    assert [key.partition("/")[0] for key in here.gateway.objects()] == [OTHER]
    watch = audio_service_pb2.ListAudioFilesRequest(dataset_id=dataset_id)
    await refused(
        here.gateway.audio.ListAudioFiles(watch, metadata=bearer(here.keys[OWN])), "NOT_FOUND", "NOT_FOUND"
    )


def test_the_form_of_a_key() -> None:
    text, secret = generate()
    assert Secret.parse(text) == secret
    assert len(text) == 3 + 8 + 1 + 43
    for wrong in (text + "A", text[:-1], text.replace("em_", "EM_"), text[:-1] + "\n", f" {text}"):
        assert Secret.parse(wrong) is None


async def test_an_rpc_without_a_scope_does_not_let_the_server_start(
    database_url, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(guard, "SCOPES", frozenset({"read"}))
    with pytest.raises(guard.UnguardedError, match="states no scope"):
        async with opened(database_url, tmp_path):
            pass
