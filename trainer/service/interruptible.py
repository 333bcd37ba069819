"""Waiting that an event interrupts.

The gRPC handlers use this instead of cancellation: a handler that is cancelled in the middle of a write can
no longer send its status.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

from earmark.trainer.service.errors import CallError, StoppingError

Result = TypeVar("Result")


async def interruptible(event: asyncio.Event, work: Awaitable[Result]) -> Result:
    """Returns the result of `work`. Once `event` is set, cancels `work` and raises StoppingError."""
    task = asyncio.ensure_future(work)
    try:
        if await _done_before(event, task):
            return task.result()
        raise StoppingError
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait({task})


async def read_request(
    event: asyncio.Event,
    requests: AsyncIterator[Result],
    longest_wait: float,
    busy: Callable[[], bool] = lambda: False,
) -> Result | None:
    """Returns the next request of a stream, None after the last. Raises StoppingError once `event` is set.

    Raises CallError if none comes within `longest_wait` seconds, because an idle stream keeps a slot from
    others; a call that is `busy` with earlier requests is not idle. Raises a request that is a CallError,
    which stands for bytes that are no message. The pending read then ends with its call: gRPC leaks a read
    that is cancelled.
    """
    read = asyncio.ensure_future(anext(requests, None))
    # Retrieves the exception, which asyncio would otherwise report if this coroutine has stopped waiting.
    read.add_done_callback(lambda done: done.cancelled() or done.exception())
    while not await _done_before(event, read, longest_wait):
        if event.is_set():
            raise StoppingError
        if not busy():
            raise CallError(
                "STREAM_IDLE", f"the stream brought no message for {longest_wait:g} s: send it without pauses"
            )
    request = read.result()
    if isinstance(request, CallError):
        raise request
    return request


async def to_its_end(work: Awaitable[Result]) -> Result:
    """Returns the result of `work`, such as a write. A cancellation takes effect once `work` has ended.

    What a caller does not read keeps its write until the call or the server ends.
    """
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.gather(task, return_exceptions=True)
        raise


async def _done_before(
    event: asyncio.Event, work: asyncio.Future[Result], seconds: float | None = None
) -> bool:
    event_set = asyncio.ensure_future(event.wait())
    either: set[asyncio.Future[Any]] = {work, event_set}
    try:
        await asyncio.wait(either, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        event_set.cancel()
    return work.done()
