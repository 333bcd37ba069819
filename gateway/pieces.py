"""Long work on the event loop, in pieces between which other tasks run.

A call passes through the loop about ten times. So however many calls have long work, each pass has a piece of
one.
"""

import asyncio
import time
from collections import deque
from weakref import WeakKeyDictionary

# Work that takes longer is divided.
PIECE_SECONDS = 0.005
_waiting: WeakKeyDictionary[asyncio.AbstractEventLoop, deque[asyncio.Future[None]]] = WeakKeyDictionary()


async def pause() -> None:
    """Lets other tasks run. In one pass of the loop, one of those that wait here goes on, in order."""
    loop = asyncio.get_running_loop()
    waiting = _waiting.setdefault(loop, deque())
    if not waiting:
        loop.call_soon(_end_one, loop)
    end: asyncio.Future[None] = loop.create_future()
    waiting.append(end)
    await end


def _end_one(loop: asyncio.AbstractEventLoop) -> None:
    waiting = _waiting[loop]
    while waiting:
        end = waiting.popleft()
        if not end.done():
            end.set_result(None)
            break
    if waiting:
        loop.call_soon(_end_one, loop)


class Pieces:
    """The pieces of one work."""

    def __init__(self) -> None:
        self._began = time.perf_counter()

    async def next(self) -> None:
        """Pauses if the piece has taken PIECE_SECONDS. Call it often."""
        if time.perf_counter() - self._began > PIECE_SECONDS:
            await pause()
            self._began = time.perf_counter()
