"""The aliases of models. The database records every move of an alias.

Who locks a model and an alias locks the model first.
"""

from collections.abc import Sequence
from uuid import UUID

from earmark.storage import sql
from earmark.storage.database import Connection
from earmark.storage.records import ModelAlias, ModelAliasMove

SQL = sql.load("model_aliases")


async def get(connection: Connection, tenant_id: str, alias: str) -> ModelAlias | None:
    row = await connection.fetchrow(SQL["get"], tenant_id, alias)
    return row and ModelAlias(**row)


async def lock_for_update(connection: Connection, tenant_id: str, alias: str) -> None:
    """Prevents moves of the alias, if it exists, until the transaction ends. Read it afterwards."""
    await connection.execute(SQL["lock_for_update"], tenant_id, alias)


async def set_model(connection: Connection, tenant_id: str, alias: str, model_id: UUID, caller: str) -> None:
    """Moves the alias to the model, which the caller has locked. Creates it if there is none."""
    await connection.execute(SQL["set"], tenant_id, alias, model_id, caller)


async def remove(connection: Connection, tenant_id: str, alias: str, caller: str) -> None:
    """Removes the alias, which the caller has locked."""
    await connection.execute(SQL["remove"], tenant_id, alias, caller)


async def page(
    connection: Connection,
    tenant_id: str,
    after: str | None,
    limit: int,
    *,
    model_ids: Sequence[UUID] = (),
    aliases: Sequence[str] = (),
) -> list[ModelAlias]:
    """A page of aliases, in alphabetical order. A filter that is empty matches every alias."""
    rows = await connection.fetch(SQL["list"], tenant_id, after, limit, model_ids, aliases)
    return [ModelAlias(**row) for row in rows]


async def with_prefix(connection: Connection, tenant_id: str, prefix: str, limit: int) -> list[str]:
    """The first aliases that begin with `prefix`."""
    return [row["alias"] for row in await connection.fetch(SQL["with_prefix"], tenant_id, prefix, limit)]


async def moves(
    connection: Connection, tenant_id: str, alias: str, after: int | None, limit: int
) -> list[ModelAliasMove]:
    """A page of the alias's moves, newest first."""
    rows = await connection.fetch(SQL["moves"], tenant_id, alias, after, limit)
    return [ModelAliasMove(**row) for row in rows]
