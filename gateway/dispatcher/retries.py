"""Waits for the database to come back instead of discarding a trainer's work."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from earmark.storage.database import DatabaseUnavailableError

RETRY_SECONDS = 0.5

log = structlog.get_logger("dispatcher")
T = TypeVar("T")


async def retry_until_available(work: Callable[[], Awaitable[T]]) -> T:
    """Runs `work` again until the database is available; returns its result."""
    while True:
        try:
            return await work()
        except DatabaseUnavailableError as error:
            log.warning("database unavailable; trying again", error=str(error))
            await asyncio.sleep(RETRY_SECONDS)
