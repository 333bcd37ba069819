"""Replies by request_id: how a mutation that is sent twice happens once."""

from uuid import UUID

from storage import sql
from storage.database import Connection

SQL = sql.load("idempotency")


class RequestIdReusedError(Exception):
    """The id was used before, with another body."""


async def claim(connection: Connection, tenant_id: str, request_id: UUID, body_sha256: bytes) -> bytes | None:
    """None where the id is new, and now taken; the first reply where the same request was made before.

    Inside the mutation's transaction: a second caller with the same id waits here for the first one's end.
    Raises RequestIdReusedError.
    """
    if await connection.fetchval(SQL["claim"], tenant_id, request_id, body_sha256):
        return None
    return await reply(connection, tenant_id, request_id, body_sha256)


async def reply(connection: Connection, tenant_id: str, request_id: UUID, body_sha256: bytes) -> bytes | None:
    """The first reply; None where there is none under this id. Raises RequestIdReusedError."""
    row = await connection.fetchrow(SQL["reply"], tenant_id, request_id)
    if row is None:
        return None
    if row["body_sha256"] != body_sha256:
        raise RequestIdReusedError
    first: bytes = row["reply"]
    return first


async def keep_reply(connection: Connection, tenant_id: str, request_id: UUID, serialized: bytes) -> None:
    """Stores the serialized reply, in the mutation's own transaction."""
    await connection.execute(SQL["keep_reply"], tenant_id, request_id, serialized)


async def forget_old(connection: Connection) -> None:
    """Removes what is older than 24 hours."""
    await connection.execute(SQL["forget_old"])
