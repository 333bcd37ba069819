"""The audit log: who has called what. The connections must see all tenants' rows."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from earmark.storage import sql
from earmark.storage.database import Connection

SQL = sql.load("audit_entries")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """`ids` are pairs: the name of a field, and an id. The texts have no control characters."""

    id: UUID
    request_id: UUID
    tenant: str
    api_key_id: UUID | None
    caller: str
    address: str
    rpc: str
    ids: Sequence[tuple[str, str]]
    code: str
    reason: str
    left_out: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry(_Entry):
    """A row of audit_entries."""

    called_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEntry(_Entry):
    """An entry to add. `seconds` is how long ago the call began."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Filters:
    """Which entries a list has: of calls that began since one time and before another. Empty: of all."""

    since: datetime | None = None
    until: datetime | None = None
    tenant: str = ""
    api_key_id: UUID | None = None
    rpc: str = ""
    code: str = ""


async def add(connection: Connection, entries: Sequence[NewEntry]) -> None:
    """Adds the entries that were not added before."""
    columns = (
        [entry.id for entry in entries],
        [entry.request_id for entry in entries],
        [entry.seconds for entry in entries],
        [entry.tenant for entry in entries],
        [entry.api_key_id for entry in entries],
        [entry.caller for entry in entries],
        [entry.address for entry in entries],
        [entry.rpc for entry in entries],
        # asyncpg would take lists of pairs for an array of more dimensions.
        [json.dumps(entry.ids) for entry in entries],
        [entry.code for entry in entries],
        [entry.reason for entry in entries],
        [entry.left_out for entry in entries],
    )
    await connection.execute(SQL["add"], *columns)


async def page(
    connection: Connection, filters: Filters, after: tuple[datetime, UUID] | None, limit: int
) -> list[AuditEntry]:
    """A page of the entries, newest first. `after`: time and id of the last entry of the page before."""
    time, entry_id = after or (None, None)
    rows = await connection.fetch(
        SQL["page"],
        filters.since,
        filters.until,
        time,
        entry_id,
        filters.tenant,
        filters.api_key_id,
        filters.rpc,
        filters.code,
        limit,
    )
    return [AuditEntry(**row) for row in rows]


async def delete_old(connection: Connection, days: float, limit: int) -> int:
    """Removes at most so many entries older than `days`, and no younger than one. Returns their number."""
    deleted: int = await connection.fetchval(SQL["delete_old"], days, limit)
    return deleted
