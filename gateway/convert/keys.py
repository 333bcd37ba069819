"""Converts tenants and API keys to messages."""

from collections.abc import Iterable

from earmark.gateway.convert.values import enum_names, enum_number, timestamp
from earmark.storage.records import ApiKey, Tenant
from earmark.v1 import admin_service_pb2 as pb
from earmark.v1.scope_pb2 import Scope

_PREFIX = "SCOPE_"


def tenant_message(tenant: Tenant) -> pb.Tenant:
    """The tenant as the API shows it."""
    return pb.Tenant(id=tenant.id, display_name=tenant.display_name, created_at=timestamp(tenant.created_at))


def api_key_message(key: ApiKey) -> pb.ApiKey:
    """The key as the API shows it, which is without its secret."""
    return pb.ApiKey(
        id=str(key.id),
        tenant_id=key.tenant_id,
        name=key.name,
        prefix=f"em_{key.lookup}",
        scopes=sorted(enum_number(Scope, _PREFIX, name) for name in key.scopes),
        created_at=timestamp(key.created_at),
        expires_at=timestamp(key.expires_at),
        last_used_at=timestamp(key.last_used_at),
        revoked_at=timestamp(key.revoked_at),
    )


def scope_names(scopes: Iterable[int]) -> list[str]:
    """The stored names of the scopes."""
    return enum_names(Scope, _PREFIX, scopes)
