"""Tenants and their API keys. The connections must see all tenants' rows."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from uuid import UUID

from earmark.storage import sql
from earmark.storage.database import Connection
from earmark.storage.records import ApiKey, Tenant

SQL = sql.load("api_keys")
# The topic of the bus: keys were made, revoked or rotated.
TOPIC = "api-keys"


@dataclass(frozen=True, slots=True)
class ValidKey:
    """What is needed to check a call's key. `seconds_left` is None if it does not expire."""

    id: UUID
    tenant_id: str
    name: str
    lookup: str
    sha256: bytes
    scopes: Sequence[str]
    seconds_left: float | None


async def create_tenant(connection: Connection, tenant_id: str, display_name: str) -> Tenant | None:
    """Returns None if there is a tenant with this id."""
    row = await connection.fetchrow(SQL["create_tenant"], tenant_id, display_name)
    return row and Tenant(**row)


async def tenant_exists(connection: Connection, tenant_id: str) -> bool:
    return await connection.fetchval(SQL["tenant_exists"], tenant_id) is not None


async def tenants(connection: Connection, after: str | None, limit: int) -> list[Tenant]:
    return [Tenant(**row) for row in await connection.fetch(SQL["tenants"], after, limit)]


async def any_key(connection: Connection) -> bool:
    """Whether there ever was a key: from then on, each call needs one."""
    found: bool = await connection.fetchval(SQL["any_key"])
    return found


async def lock(connection: Connection) -> None:
    """Until the transaction ends, nobody else makes a key."""
    await connection.execute(SQL["lock"])


async def create(
    connection: Connection,
    key: tuple[UUID, str, bytes],
    tenant_id: str,
    name: str,
    scopes: Collection[str],
    valid_seconds: float | None,
) -> ApiKey:
    """Adds a key. `key`: its id, its lookup and its hash. Without `valid_seconds` it does not expire."""
    key_id, lookup, sha256 = key
    row = await connection.fetchrow(
        SQL["create"], key_id, tenant_id, name, lookup, sha256, sorted(scopes), valid_seconds
    )
    return _record(row)


async def get(connection: Connection, key_id: UUID) -> ApiKey | None:
    row = await connection.fetchrow(SQL["get"], key_id)
    return row and _record(row)


async def lock_for_update(connection: Connection, key_id: UUID) -> bool | None:
    """Until the transaction ends, nobody else changes the key. Whether it is valid; None if there is none."""
    is_valid: bool | None = await connection.fetchval(SQL["lock_for_update"], key_id)
    return is_valid


async def page(connection: Connection, tenant_id: str, after: UUID | None, limit: int) -> list[ApiKey]:
    """A page of the keys, newest first. `tenant_id`: empty for those of all tenants."""
    return [_record(row) for row in await connection.fetch(SQL["page"], tenant_id, after, limit)]


async def expire(connection: Connection, key_id: UUID, seconds: float) -> ApiKey:
    """Lets the existing key expire in so many seconds, unless it does so before."""
    return _record(await connection.fetchrow(SQL["expire"], key_id, seconds))


async def revoke(connection: Connection, key_id: UUID) -> ApiKey | None:
    """Returns the key, revoked now or before; None if there is none."""
    row = await connection.fetchrow(SQL["revoke"], key_id)
    return row and _record(row)


async def valid(connection: Connection, lookups: Collection[str]) -> dict[str, ValidKey]:
    """The valid keys among these, by lookup."""
    return {row["lookup"]: ValidKey(**row) for row in await connection.fetch(SQL["valid"], lookups)}


async def mark_used(connection: Connection, key_ids: Sequence[UUID], seconds: Sequence[float]) -> None:
    """Records that each key was used last so many seconds ago."""
    await connection.execute(SQL["mark_used"], key_ids, seconds)


def _record(row: object) -> ApiKey:
    columns = dict(row)  # type: ignore[call-overload]  # asyncpg has no types
    del columns["sha256"]
    return ApiKey(**columns)
