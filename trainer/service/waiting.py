"""Waiting that an event cuts short, so that a call ends in its own flow.

A handler that is cancelled in the middle of a write can no longer send its status.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import TypeVar

from trainer.service.errors import StoppingError

Result = TypeVar("Result")


async def unless(event: asyncio.Event, work: Awaitable[Result]) -> Result:
    """What `work` gives. Cancels it once `event` is set, and raises StoppingError."""
    working = asyncio.ensure_future(work)
    try:
        if await _done_before(event, working):
            return working.result()
        raise StoppingError
    finally:
        if not working.done():
            working.cancel()
            await asyncio.wait({working})


async def read(event: asyncio.Event, requests: AsyncIterator[Result]) -> Result | None:
    """The next of a call's requests, None after the last. Raises StoppingError once `event` is set.

    The read is then left to end with its call, for gRPC leaks one that is cancelled.
    """
    reading = asyncio.ensure_future(anext(requests, None))
    reading.add_done_callback(lambda read: read.cancelled() or read.exception())  # perhaps nobody else looks
    if await _done_before(event, reading):
        return reading.result()
    raise StoppingError


async def _done_before(event: asyncio.Event, work: asyncio.Future[Result]) -> bool:
    happening = asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait({work, happening}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        happening.cancel()
    return work.done()
