"""A TCP proxy that injects faults into a link: to gateways, to trainers or to PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from types import TracebackType
from typing import Self

CHUNK_BYTES = 1 << 16

Connect = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


class Proxy:
    """Listens on a port of 127.0.0.1 and forwards to `connect`. `kind` and `name` are the link's."""

    def __init__(self, kind: str, name: str, connect: Connect) -> None:
        self.kind = kind
        self.name = name
        self._connect = connect
        self._ends: set[asyncio.StreamWriter] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self._requests_flow, self._replies_flow = asyncio.Event(), asyncio.Event()
        self._requests_flow.set()
        self._replies_flow.set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    @property
    def address(self) -> str:
        """The host:port it listens on."""
        return f"127.0.0.1:{self.port}"

    def cut(self) -> None:
        """Ends every connection and drops the data in transit. New connections are accepted."""
        for end in tuple(self._ends):
            end.transport.abort()

    @contextmanager
    def stalled(self) -> Iterator[None]:
        """Stops both directions for the duration of the context; nothing is lost."""
        self._requests_flow.clear()
        with self.replies_stalled():
            yield
        self._requests_flow.set()

    @contextmanager
    def replies_stalled(self) -> Iterator[None]:
        """Stops replies, but not requests. With a cut before the end of the context, the replies are lost."""
        self._replies_flow.clear()
        yield
        self._replies_flow.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serves one connection to its end."""
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        async with self._end(writer):
            with suppress(OSError):
                replies, upstream = await self._connect()
                async with self._end(upstream):
                    await self._forward(reader, upstream, replies, writer)

    @asynccontextmanager
    async def _end(self, writer: asyncio.StreamWriter) -> AsyncIterator[None]:
        """One end of a connection, which can be cut meanwhile and is closed afterwards."""
        self._ends.add(writer)
        try:
            yield
        finally:
            self._ends.discard(writer)
            writer.transport.abort()
            with suppress(OSError):
                await writer.wait_closed()

    async def _forward(
        self,
        requests: asyncio.StreamReader,
        upstream: asyncio.StreamWriter,
        replies: asyncio.StreamReader,
        downstream: asyncio.StreamWriter,
    ) -> None:
        """Forwards until either side is closed: gRPC and PostgreSQL do not use half-closed connections."""
        pumps = [
            asyncio.create_task(_pump(requests, upstream, self._requests_flow)),
            asyncio.create_task(_pump(replies, downstream, self._replies_flow)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, flow: asyncio.Event) -> None:
    with suppress(OSError):
        while data := await reader.read(CHUNK_BYTES):
            await flow.wait()
            writer.write(data)
            await writer.drain()
