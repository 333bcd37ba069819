"""The quotas of tenants, and what they use.

What is stored and what is searched is counted by triggers, as rows that are added up. Beside `check`, which
belongs to a tenant's call, the connections must see all tenants' rows.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields

from earmark.storage import sql
from earmark.storage.database import Connection, Database
from earmark.storage.records import Quota

SQL = sql.load("quotas")
# The topic of the bus: quotas were changed.
TOPIC = "quotas"
# From so many rows on, they are added up for good.
MOST_ROWS = 100

_LIMITS = tuple(field.name for field in fields(Quota))


@dataclass(frozen=True, slots=True)
class Stored:
    """What a tenant stores, with what the current transaction adds."""

    bytes: int
    audio_ms: int
    files: int


@dataclass(frozen=True, slots=True)
class UnfinishedJobs:
    """The numbers of a tenant's unfinished jobs."""

    waiting_training_jobs: int
    running_training_jobs: int
    waiting_detection_jobs: int
    running_detection_jobs: int


async def of_all(connection: Connection) -> dict[str, Quota]:
    """The own quotas of the tenants that have any, by tenant."""
    return {row["tenant_id"]: _quota(row) for row in await connection.fetch(SQL["all"])}


async def lock_tenant(connection: Connection, tenant_id: str) -> bool:
    """Until the transaction ends, nobody else changes the quota. False if there is no such tenant."""
    return await connection.fetchval(SQL["lock_tenant"], tenant_id) is not None


async def get(connection: Connection, tenant_id: str) -> Quota:
    """The tenant's own quota; empty if it has none."""
    row = await connection.fetchrow(SQL["get"], tenant_id)
    return Quota() if row is None else _quota(row)


async def store(connection: Connection, tenant_id: str, quota: Quota) -> None:
    await connection.execute(SQL["set"], tenant_id, *(getattr(quota, name) for name in _LIMITS))


async def stored(connection: Connection, tenant_id: str) -> Stored:
    row = await connection.fetchrow(SQL["stored"], tenant_id)
    return Stored(row["bytes"], row["audio_ms"], row["files"])


async def locked_stored(connection: Connection, tenant_id: str) -> Stored:
    """What the tenant stores. Nobody else gets an answer here until the transaction ends.

    So it comes last in a transaction: nothing that waits may come after it.
    """
    await connection.execute(SQL["lock_usage"], tenant_id)
    row = await connection.fetchrow(SQL["stored"], tenant_id)
    if row["counted_in"] > MOST_ROWS:
        await connection.execute(SQL["compact_stored"], tenant_id)
    return Stored(row["bytes"], row["audio_ms"], row["files"])


async def unfinished_jobs(connection: Connection, tenant_id: str) -> UnfinishedJobs:
    return UnfinishedJobs(**await connection.fetchrow(SQL["jobs"], tenant_id))


async def searched_today(connection: Connection) -> dict[str, int]:
    """By tenant, how many milliseconds of audio it has searched since midnight (UTC)."""
    return {row["tenant_id"]: row["audio_ms"] for row in await connection.fetch(SQL["searched_today"])}


async def add_searched(connection: Connection, audio_ms: Mapping[str, int]) -> None:
    """Adds to the milliseconds that tenants have searched today."""
    await connection.execute(SQL["add_searched"], list(audio_ms), list(audio_ms.values()))


async def compact(database: Database) -> None:
    """Makes few rows of the many that count what tenants use. A transaction for each tenant."""
    async with database.connection() as connection:
        rows = await connection.fetch(SQL["counted_often"], MOST_ROWS)
    for row in rows:
        async with database.transaction() as connection:
            await connection.execute(SQL["lock_usage"], row["tenant_id"])
            await connection.execute(SQL["compact_stored"], row["tenant_id"])
            await connection.execute(SQL["compact_searched"], row["tenant_id"])


def _quota(row: Mapping[str, int | None]) -> Quota:
    return Quota(**{name: row[name] for name in _LIMITS})
