"""The rpcs of earmark.v1.AdminService about tenants and API keys."""

from collections.abc import Collection
from functools import partial
from typing import Any
from uuid import UUID

from google.protobuf.duration_pb2 import Duration
from uuid_utils.compat import uuid7

from earmark.gateway.api_key import generate
from earmark.gateway.app import App
from earmark.gateway.convert.keys import api_key_message, scope_names, tenant_message
from earmark.gateway.errors import (
    AlreadyExistsError,
    FieldViolation,
    InvalidArgumentError,
    NotFoundError,
    wrong_state,
)
from earmark.gateway.paging import PageRequest
from earmark.storage.database import Connection
from earmark.storage.queries import api_keys
from earmark.storage.records import ApiKey
from earmark.v1 import admin_service_pb2 as pb
from earmark.v1 import admin_service_pb2_grpc


class KeyService(admin_service_pb2_grpc.AdminServiceServicer):
    """Makes, shows and ends the API keys of all tenants. It never stores a key, only its hash."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def CreateTenant(self, request: pb.CreateTenantRequest, _: Any) -> pb.CreateTenantResponse:
        async with self._app.system.transaction() as connection:
            created = await api_keys.create_tenant(connection, request.tenant_id, request.display_name)
        if created is None:
            message = f"there is a tenant {request.tenant_id} already: choose another id"
            raise AlreadyExistsError("tenant", request.tenant_id, message)
        return pb.CreateTenantResponse(tenant=tenant_message(created))

    async def ListTenants(self, request: pb.ListTenantsRequest, _: Any) -> pb.ListTenantsResponse:
        page_request = PageRequest.by_name(request)
        async with self._app.system.connection() as connection:
            read = partial(api_keys.tenants, connection)
            page = await page_request.page(read, tenant_message, lambda tenant: tenant.id)
        return pb.ListTenantsResponse(tenants=page.messages, next_page_token=page.next_page_token)

    async def CreateApiKey(self, request: pb.CreateApiKeyRequest, _: Any) -> pb.CreateApiKeyResponse:
        scopes = scope_names(request.scopes)
        async with self._app.system.transaction() as connection:
            await api_keys.lock(connection)
            if "admin" not in scopes and not await api_keys.any_key(connection):
                raise InvalidArgumentError([FieldViolation("scopes", _FIRST_KEY)])
            if not await api_keys.tenant_exists(connection, request.tenant_id):
                raise NotFoundError("tenant", request.tenant_id, "CreateTenant makes one")
            valid = _seconds(request.valid_for) if request.HasField("valid_for") else None
            secret, key = await _create(connection, request.tenant_id, request.name, scopes, valid)
        await self._announce()
        return pb.CreateApiKeyResponse(api_key=api_key_message(key), secret=secret)

    async def GetApiKey(self, request: pb.GetApiKeyRequest, _: Any) -> pb.GetApiKeyResponse:
        async with self._app.system.connection() as connection:
            key = await _existing(connection, UUID(request.api_key_id))
        return pb.GetApiKeyResponse(api_key=api_key_message(key))

    async def ListApiKeys(self, request: pb.ListApiKeysRequest, _: Any) -> pb.ListApiKeysResponse:
        page_request = PageRequest.of(request)
        async with self._app.system.connection() as connection:
            read = partial(api_keys.page, connection, request.tenant_id)
            page = await page_request.page(read, api_key_message, lambda key: key.id)
        return pb.ListApiKeysResponse(api_keys=page.messages, next_page_token=page.next_page_token)

    async def RotateApiKey(self, request: pb.RotateApiKeyRequest, _: Any) -> pb.RotateApiKeyResponse:
        key_id = UUID(request.api_key_id)
        async with self._app.system.transaction() as connection:
            is_valid = await api_keys.lock_for_update(connection, key_id)
            old = await _existing(connection, key_id)
            if not is_valid:
                state = "revoked" if old.revoked_at else "expired"
                message = f"API key {key_id} is {state}: make another with CreateApiKey"
                raise wrong_state("api_key", str(key_id), state, message)
            valid = _seconds(request.valid_for) if request.HasField("valid_for") else None
            secret, key = await _create(connection, old.tenant_id, old.name, old.scopes, valid)
            old = await api_keys.expire(connection, key_id, _seconds(request.overlap))
        await self._announce()
        return pb.RotateApiKeyResponse(
            api_key=api_key_message(key), secret=secret, old_api_key=api_key_message(old)
        )

    async def RevokeApiKey(self, request: pb.RevokeApiKeyRequest, _: Any) -> pb.RevokeApiKeyResponse:
        async with self._app.system.transaction() as connection:
            key = await api_keys.revoke(connection, UUID(request.api_key_id))
        if key is None:
            raise NotFoundError("api_key", request.api_key_id)
        await self._announce()
        return pb.RevokeApiKeyResponse(api_key=api_key_message(key))

    async def _announce(self) -> None:
        """Makes the change count in this gateway at once, and in the others 10 ms later."""
        self._app.bus.publish(api_keys.TOPIC)
        await self._app.keys.refresh()


_FIRST_KEY = (
    "the first key needs SCOPE_ADMIN, since from then on each call needs a key: make that key first, and this"
    " one with it"
)


async def _create(
    connection: Connection, tenant_id: str, name: str, scopes: Collection[str], valid_seconds: float | None
) -> tuple[str, ApiKey]:
    """Adds a key. Returns its text, which nobody can read again."""
    text, secret = generate()
    key = (uuid7(), secret.lookup, secret.sha256)
    return text, await api_keys.create(connection, key, tenant_id, name, scopes, valid_seconds)


async def _existing(connection: Connection, key_id: UUID) -> ApiKey:
    key = await api_keys.get(connection, key_id)
    if key is None:
        raise NotFoundError("api_key", str(key_id))
    return key


def _seconds(duration: Duration) -> float:
    return duration.seconds + duration.nanos / 1e9
