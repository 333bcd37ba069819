"""An installation with keys: an operator, and two tenants, each with a key of every scope but ADMIN."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import asyncpg
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor
from grpc import aio
from uuid_utils.compat import uuid7

from earmark.storage.database import Database
from earmark.storage.queries import detection_jobs, model_aliases
from earmark.storage.records import Recording
from earmark.v1 import admin_service_pb2 as pb
from earmark.v1.admin_service_pb2_grpc import AdminServiceStub
from earmark.v1.scope_pb2 import Scope
from tests.gateway import model_rows, rows
from tests.gateway.calls import Gateway, opened

SECONDS = 20
OWN, OTHER = "support", "sales"
ALIAS = "theirs@production"
USERS = [Scope.SCOPE_READ, Scope.SCOPE_WRITE, Scope.SCOPE_TRAIN, Scope.SCOPE_DETECT]


def bearer(key: str) -> tuple[tuple[str, str], ...]:
    """The metadata with this key."""
    return (("authorization", f"Bearer {key}"),)


@dataclass
class Installation:
    """A gateway that needs keys: the operator's, and those of two tenants by the tenant's id."""

    gateway: Gateway
    operator: str
    keys: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.admin = AdminServiceStub(self.gateway.channel)

    async def create_key(self, tenant: str, scopes: Sequence[int], **fields: Any) -> pb.CreateApiKeyResponse:
        request = pb.CreateApiKeyRequest(tenant_id=tenant, name=f"of {tenant}", scopes=scopes, **fields)
        return await self.admin.CreateApiKey(request, metadata=bearer(self.operator))


@asynccontextmanager
async def installed(database_url: str, data_dir: Any, **settings: Any) -> AsyncIterator[Installation]:
    """Makes the first key, and two tenants with theirs."""
    async with opened(database_url, data_dir, **settings) as gateway:
        first = pb.CreateApiKeyRequest(tenant_id="default", name="operator", scopes=[Scope.SCOPE_ADMIN])
        operator = (await AdminServiceStub(gateway.channel).CreateApiKey(first)).secret
        here = Installation(gateway, operator)
        for tenant in (OWN, OTHER):
            request = pb.CreateTenantRequest(tenant_id=tenant)
            await here.admin.CreateTenant(request, metadata=bearer(operator))
            here.keys[tenant] = (await here.create_key(tenant, USERS)).secret
        yield here


async def call(
    channel: aio.Channel, method: MethodDescriptor, messages: Sequence[Any], key: str = ""
) -> list[Any]:
    """Calls any rpc with these messages; returns its first two replies at most. Raises AioRpcError."""
    path = f"/{method.containing_service.full_name}/{method.name}"
    coders = (
        lambda message: message if isinstance(message, bytes) else message.SerializeToString(),
        message_factory.GetMessageClass(method.output_type).FromString,
    )
    kind = "_".join(
        "stream" if streams else "unary" for streams in (method.client_streaming, method.server_streaming)
    )
    request = iter(messages) if method.client_streaming else messages[0]
    running = getattr(channel, kind)(path, *coders)(request, metadata=bearer(key) if key else ())
    async with asyncio.timeout(SECONDS):
        if not method.server_streaming:
            return [await running]
        replies = []
        try:
            async for reply in running:
                replies.append(reply)
                if len(replies) == 2 or type(reply).__name__.startswith("Watch"):
                    break
        finally:
            running.cancel()
        return replies


async def stored_for(database: Database, tenant: str) -> dict[str, str]:
    """Ids of one of each resource that this stores for the tenant, by kind."""
    async with database.transaction() as connection:
        built = await rows.dataset(connection, tenant=tenant, set_status="draft")
        model_id = await model_rows.model(connection, tenant=tenant, active=True)
        await model_aliases.set_model(connection, tenant, ALIAS, model_id, "them")
        model = await connection.fetchrow("SELECT * FROM models WHERE id = $1", model_id)
        recording = Recording(uuid7(), "theirs.wav", 4, "ab" * 32)
        await detection_jobs.add_recording(connection, tenant, recording)
        new = detection_jobs.NewJob(uuid7(), model_id, model["dataset_id"], {}, [], {})
        await detection_jobs.create(connection, tenant, new, {"created": {}})
        # What waits for a trainer stays as it is; a pending job would be queued at any time.
        await connection.execute("UPDATE detection_jobs SET status = 'queued' WHERE id = $1", new.id)
        annotation = await connection.fetchval(
            "SELECT id FROM annotations WHERE annotation_set_id = $1 LIMIT 1", built.annotation_set_id
        )
    ids = {
        "dataset": built.dataset_id,
        "audio_file": built.audio_file_ids[0],
        "annotation_set": built.annotation_set_id,
        "annotation": annotation,
        "model": model_id,
        "training_job": model["training_job_id"],
        "detection_job": new.id,
        "recording": recording.id,
    }
    return {kind: str(id_) for kind, id_ in ids.items()}


async def contents(database_url: str, tenant: str) -> dict[str, list[str]]:
    """Every row of a tenant, by table, as only a superuser sees them."""
    connection = await asyncpg.connect(database_url)
    try:
        return {
            table: sorted(
                row["text"]
                for row in await connection.fetch(
                    f"SELECT t::text AS text FROM {table} t WHERE tenant_id = $1", tenant
                )
            )
            for table in await tenant_tables(connection)
        }
    finally:
        await connection.close()


async def tenant_tables(connection: asyncpg.Connection) -> list[str]:
    """The tables whose rows belong to tenants."""
    found = await connection.fetch(
        "SELECT table_name FROM information_schema.columns JOIN information_schema.tables"
        " USING (table_schema, table_name)"
        " WHERE table_schema = 'public' AND column_name = 'tenant_id' AND table_type = 'BASE TABLE'"
    )
    return sorted(row["table_name"] for row in found)
