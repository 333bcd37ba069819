"""Waiting for an event for a limited time, and for other tasks."""

import asyncio
import time
from contextlib import suppress

# Work that takes longer lets other tasks run in between.
TURN_SECONDS = 0.005


async def wait_for_event(event: asyncio.Event, seconds: float) -> bool:
    """Waits up to `seconds` for the event. Returns whether it is set.

    asyncio.wait_for of Python 3.11 can swallow a cancellation; asyncio.timeout does not.
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
    return event.is_set()


class Turns:
    """For long work on the event loop: lets other tasks run whenever it has run for TURN_SECONDS."""

    def __init__(self) -> None:
        self._began = time.perf_counter()

    async def next(self) -> None:
        """Call it between pieces of the work."""
        if time.perf_counter() - self._began > TURN_SECONDS:
            await asyncio.sleep(0)
            self._began = time.perf_counter()
