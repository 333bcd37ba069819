"""Replies by idempotency key.

A caller sends the same `request_id` with each retry of a mutation. The mutation runs once, and every retry
gets the stored reply.
"""

from uuid import UUID

from earmark.storage import sql
from earmark.storage.database import Connection

SQL = sql.load("idempotency")


class RequestIdReusedError(Exception):
    """The request_id was used before with another body."""


async def claim(connection: Connection, tenant_id: str, request_id: UUID, body_sha256: bytes) -> bytes | None:
    """Claims a new request_id and returns None, or returns the first reply to the same request.

    Call it inside the mutation's transaction: a second caller with the same id waits here until that
    transaction ends. Raises RequestIdReusedError.
    """
    if await connection.fetchval(SQL["claim"], tenant_id, request_id, body_sha256):
        return None
    return await reply(connection, tenant_id, request_id, body_sha256)


async def reply(connection: Connection, tenant_id: str, request_id: UUID, body_sha256: bytes) -> bytes | None:
    """The first reply, or None if the id is unused. Raises RequestIdReusedError."""
    row = await connection.fetchrow(SQL["reply"], tenant_id, request_id)
    if row is None:
        return None
    if row["body_sha256"] != body_sha256:
        raise RequestIdReusedError
    first: bytes = row["reply"]
    return first


async def store_reply(connection: Connection, tenant_id: str, request_id: UUID, serialized: bytes) -> None:
    """Stores the serialized reply under the claimed id, in the mutation's transaction."""
    await connection.execute(SQL["store_reply"], tenant_id, request_id, serialized)


async def delete_old(connection: Connection) -> None:
    """Deletes replies older than 24 hours."""
    await connection.execute(SQL["delete_old"])
