"""Waiting for the database: what a trainer has done is worth it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from storage.database import UNAVAILABLE

RETRY_SECONDS = 0.5

log = structlog.get_logger("dispatcher")
T = TypeVar("T")


async def retry_until_available(work: Callable[[], Awaitable[T]]) -> T:
    """Runs `work` until the database answers."""
    while True:
        try:
            return await work()
        except UNAVAILABLE as error:
            log.warning("database unavailable; trying again", error=repr(error))
            await asyncio.sleep(RETRY_SECONDS)
