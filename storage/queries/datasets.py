"""Datasets and their artifact types."""

from collections.abc import Collection, Sequence
from uuid import UUID

import asyncpg

from earmark.storage import sql
from earmark.storage.database import Connection
from earmark.storage.records import ArtifactType, Dataset

SQL = sql.load("datasets")


async def create(
    connection: Connection,
    tenant_id: str,
    dataset_id: UUID,
    name: str,
    description: str,
    artifact_types: Sequence[ArtifactType],
) -> None:
    await connection.execute(SQL["create"], dataset_id, tenant_id, name, description)
    await put_types(connection, tenant_id, dataset_id, artifact_types)


async def get(connection: Connection, tenant_id: str, dataset_id: UUID) -> Dataset | None:
    row = await connection.fetchrow(SQL["get"], tenant_id, dataset_id)
    return row and _record(row)


async def exists(connection: Connection, tenant_id: str, dataset_id: UUID) -> bool:
    return await connection.fetchval(SQL["exists"], tenant_id, dataset_id) is not None


async def missing(connection: Connection, tenant_id: str, dataset_ids: Collection[UUID]) -> UUID | None:
    """One of the datasets that the tenant does not have; None if it has all."""
    dataset_id: UUID | None = await connection.fetchval(SQL["missing"], tenant_id, dataset_ids)
    return dataset_id


async def page(connection: Connection, tenant_id: str, after: UUID | None, limit: int) -> list[Dataset]:
    return [_record(row) for row in await connection.fetch(SQL["list"], tenant_id, after, limit)]


async def lock_for_update(connection: Connection, tenant_id: str, dataset_id: UUID) -> bool:
    """Locks the dataset until the transaction ends. Returns False if no such dataset exists."""
    return await connection.fetchval(SQL["lock_for_update"], tenant_id, dataset_id) is not None


async def lock_for_key_share(connection: Connection, tenant_id: str, dataset_id: UUID) -> bool:
    """Prevents the deletion of the dataset, its types and its files until the transaction ends.

    Returns False if no such dataset exists.
    """
    return await connection.fetchval(SQL["lock_for_key_share"], tenant_id, dataset_id) is not None


async def update(
    connection: Connection, tenant_id: str, dataset_id: UUID, name: str, description: str
) -> None:
    await connection.execute(SQL["update"], tenant_id, dataset_id, name, description)


async def put_types(
    connection: Connection, tenant_id: str, dataset_id: UUID, artifact_types: Sequence[ArtifactType]
) -> None:
    """Replaces the dataset's types, in this order. No removed type may be in use."""
    await connection.execute(SQL["delete_types"], dataset_id, [t.name for t in artifact_types])
    rows = [(tenant_id, dataset_id, t.name, t.description, t.color, i) for i, t in enumerate(artifact_types)]
    await connection.executemany(SQL["put_type"], rows)


async def types_in_use(connection: Connection, dataset_id: UUID, names: Sequence[str]) -> list[str]:
    rows = await connection.fetch(SQL["types_in_use"], dataset_id, names)
    return [row["name"] for row in rows]


def _record(row: asyncpg.Record) -> Dataset:
    columns = dict(row)
    columns["artifact_types"] = [ArtifactType(**t) for t in columns["artifact_types"]]
    return Dataset(**columns)
