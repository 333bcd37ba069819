"""Runs a mutation in one transaction, and once for each request_id."""

import hashlib
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from uuid import UUID

from gateway.caller import tenant
from gateway.errors import RequestIdReusedError
from storage.database import Connection, Database
from storage.queries import idempotency

Reply = TypeVar("Reply", bound=Any)


async def run_once(
    database: Database,
    request: Any,
    reply_type: type[Reply],
    change: Callable[[Connection], Awaitable[Reply]],
) -> Reply:
    """`change`'s reply, or the first one where a request with this id and body was answered before.

    The change, the id and the reply are committed together. Without a request_id the change is just made.
    Raises RequestIdReusedError where the body differs, and what `change` raises.
    """
    async with database.transaction() as connection:
        if not request.request_id:
            return await change(connection)
        request_id = UUID(request.request_id)
        try:
            earlier = await idempotency.claim(connection, tenant(), request_id, _body_sha256(request))
        except idempotency.RequestIdReusedError:
            raise RequestIdReusedError(request.request_id) from None
        if earlier is not None:
            first: Reply = reply_type.FromString(earlier)
            return first
        reply = await change(connection)
        await idempotency.keep_reply(connection, tenant(), request_id, reply.SerializeToString())
        return reply


async def earlier_reply(database: Database, request: Any, reply_type: type[Reply]) -> Reply | None:
    """The first reply, where a request with this id and body was answered before.

    For requests that bytes follow: those of a second one need not be read. Raises RequestIdReusedError.
    """
    if not request.request_id:
        return None
    async with database.connection() as connection:
        try:
            earlier = await idempotency.reply(
                connection, tenant(), UUID(request.request_id), _body_sha256(request)
            )
        except idempotency.RequestIdReusedError:
            raise RequestIdReusedError(request.request_id) from None
    return None if earlier is None else reply_type.FromString(earlier)


def _body_sha256(request: Any) -> bytes:
    body = request.SerializeToString(deterministic=True)
    return hashlib.sha256(request.DESCRIPTOR.full_name.encode() + b"\0" + body).digest()
