"""Runs each mutation in one transaction, and only once per idempotency key.

The idempotency key is the request's `request_id`, a UUID that the caller chooses.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from uuid import UUID

from earmark.gateway.caller import tenant
from earmark.gateway.errors import RequestIdReusedError
from earmark.gateway.wire import SMALL_BYTES
from earmark.storage.database import Connection, Database
from earmark.storage.queries import idempotency

Reply = TypeVar("Reply", bound=Any)


async def run_once(
    database: Database,
    request: Any,
    reply_type: type[Reply],
    change: Callable[[Connection], Awaitable[Reply]],
) -> Reply:
    """The reply of `change`; for a repeated request, the first reply, without running `change` again.

    A request is repeated if its idempotency key and its body were used before. The change, the key and the
    reply are committed together. Without a key, `change` always runs.
    Raises RequestIdReusedError if the key was used with another body, and what `change` raises.
    """
    if not request.request_id:
        async with database.transaction() as connection:
            return await change(connection)
    body = await _body_sha256(request)
    request_id = UUID(request.request_id)
    async with database.transaction() as connection:
        try:
            earlier = await idempotency.claim(connection, tenant(), request_id, body)
        except idempotency.RequestIdReusedError:
            raise RequestIdReusedError(request.request_id) from None
        if earlier is not None:
            first: Reply = reply_type.FromString(earlier)
            return first
        reply = await change(connection)
        await idempotency.store_reply(connection, tenant(), request_id, reply.SerializeToString())
        return reply


async def earlier_reply(database: Database, request: Any, reply_type: type[Reply]) -> Reply | None:
    """The first reply if the request's idempotency key and body were used before, otherwise None.

    For uploads: the bytes of a repeated upload need not be read. Raises RequestIdReusedError if the key was
    used with another body.
    """
    if not request.request_id:
        return None
    body = await _body_sha256(request)
    async with database.connection() as connection:
        try:
            earlier = await idempotency.reply(connection, tenant(), UUID(request.request_id), body)
        except idempotency.RequestIdReusedError:
            raise RequestIdReusedError(request.request_id) from None
    return None if earlier is None else reply_type.FromString(earlier)


async def _body_sha256(request: Any) -> bytes:
    """The hash of the request, in which an id in capitals is the same id."""
    request.request_id = str(UUID(request.request_id))
    if request.ByteSize() <= SMALL_BYTES:
        return _hash(request)
    return await asyncio.to_thread(_hash, request)


def _hash(request: Any) -> bytes:
    body = request.SerializeToString(deterministic=True)
    return hashlib.sha256(request.DESCRIPTOR.full_name.encode() + b"\0" + body).digest()
