"""Waiting for an event for a limited time."""

import asyncio
from contextlib import suppress


async def wait_for_event(event: asyncio.Event, seconds: float) -> bool:
    """Waits up to `seconds` for the event. Returns whether it is set.

    asyncio.wait_for of Python 3.11 can swallow a cancellation; asyncio.timeout does not.
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
    return event.is_set()
