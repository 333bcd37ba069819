"""Streams of grpc.aio: responses that are read to their end or cancelled, requests made in a thread."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any, Generic

import grpc
from grpc import aio

from earmark.client.parts import Message


def lost_its_status(error: grpc.RpcError) -> bool:
    """Return whether grpc.aio replaced the gateway's status, because a later write failed (grpc #36066).

    This happens to calls that the gateway refuses before it has read all of their requests.
    """
    return error.code() is grpc.StatusCode.INTERNAL and error.details() == "Internal error from Core"


@asynccontextmanager
async def responses_of(
    call: "aio.UnaryStreamCall[Any, Message] | aio.StreamStreamCall[Any, Message]",
) -> AsyncIterator[AsyncIterator[Message]]:
    """Give the block the responses of `call`, and cancel the call if the block does not read all of them."""
    responses = aiter(call)
    try:
        yield responses
    finally:
        call.cancel()
        # grpc.aio reads in an async generator, which would otherwise wait for the garbage collector.
        if isinstance(responses, AsyncGenerator):
            await responses.aclose()


class InThread(AsyncIterator[Message], Generic[Message]):
    """Requests that are made in a thread, because they are read from a file."""

    def __init__(self, requests: Iterator[Message]) -> None:
        self._requests = requests

    async def __anext__(self) -> Message:
        request = await asyncio.to_thread(next, self._requests, None)
        if request is None:
            raise StopAsyncIteration
        return request
