"""Live audio in an audio process of its own: bytes go in as they come, and features come out."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from earmark.trainer.service.audio_pool import AudioPool
from earmark.trainer.service.processes import Child
from earmark.trainer.workers.wire import Decoded, Failed, LiveOpened, LiveRequest

READ_BYTES = 1 << 18  # of features, at a time: 8 s of one channel
WAITING_BYTES = 1 << 16  # of audio that the process has not read


class LiveAudio:
    """The ends of an audio process's socket. Whoever sends more than it reads waits."""

    def __init__(
        self, pool: AudioPool, child: Child, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._pool = pool
        self._child = child
        self._reader = reader
        self._writer = writer
        writer.transport.set_write_buffer_limits(WAITING_BYTES)

    async def write(self, data: bytes) -> None:
        """Takes the next bytes of the audio. Those behind its failure are lost."""
        try:
            self._writer.write(data)
            await self._writer.drain()
        except ConnectionError:
            return

    def end(self) -> None:
        """Takes note that the audio has ended."""
        self._writer.write_eof()

    async def read(self) -> bytes:
        """Returns the next bytes of features; none after the last. Raises CallError."""
        try:
            return await self._reader.read(READ_BYTES)
        except ConnectionError:
            return b""

    async def opened(self) -> LiveOpened | Failed:
        """Returns what the audio is, before the first features."""
        opened: LiveOpened | Failed = await self._pool.live_result(self._child, LiveOpened)
        return opened

    async def decoded(self) -> Decoded | Failed:
        """Returns what the audio was, after the last features."""
        decoded: Decoded | Failed = await self._pool.live_result(self._child, Decoded)
        return decoded


@asynccontextmanager
async def live_audio(pool: AudioPool, request: LiveRequest) -> AsyncIterator[LiveAudio]:
    """Yields the audio of one stream. Raises CallError, and ProcessLostError if a process cannot start."""
    async with pool.live() as child:
        ours, theirs = socket.socketpair()
        with theirs:
            await child.send(request, [theirs.fileno()])
        reader, writer = await asyncio.open_unix_connection(sock=ours, limit=READ_BYTES)
        try:
            yield LiveAudio(pool, child, reader, writer)
        finally:
            writer.transport.abort()
