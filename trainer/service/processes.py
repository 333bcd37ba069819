"""Child processes as the front sees them: started, spoken to and watched without ever blocking the loop."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

EXIT_SECONDS = 2.0
SOCKET_BYTES = 1 << 20


class ProcessLostError(Exception):
    """The process is gone. The message says how: "was killed by SIGSEGV", "exited with status 1"."""

    def __init__(self, status: int) -> None:
        self.signal = -status if status < 0 else None
        how = (
            f"was killed by {signal.Signals(-status).name}" if status < 0 else f"exited with status {status}"
        )
        super().__init__(how + (", perhaps because memory ran out" if self.signal == signal.SIGKILL else ""))


class Child:
    """A process running `module`'s serve(connection, settings), started afresh, never forked from threads.

    Messages are pickled; both ends are this program. A thread reads them, so that a long one, or one that
    stops half-way, keeps nobody else waiting.
    """

    def __init__(self, module: str, settings: object, environment: Mapping[str, str]) -> None:
        """Starts the process. Needs a running event loop, to which messages are delivered."""
        ours, theirs = socket.socketpair()
        for end in (ours, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BYTES)
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603
                [
                    sys.executable,
                    "-m",
                    "trainer.workers.child",
                    module,
                    str(theirs.fileno()),
                    str(os.getpid()),
                ],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=sys.__stderr__,  # our stdout carries the address, and nothing else
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **environment},
            )
        self.name = module
        self._connection = Connection(ours.detach())
        self._sending = threading.Lock()
        self._received: asyncio.Queue[Any] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        self.exited = asyncio.Event()
        threading.Thread(target=self._read, name=f"{module} {self.pid}", daemon=True).start()
        self._connection.send(settings)

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it was, when it was last heard of."""
        return not self.exited.is_set()

    async def send(self, message: object) -> None:
        """A process that is gone is no error here; the next receive() says so."""
        await self._loop.run_in_executor(None, self._send, message)

    async def receive(self) -> Any:
        """The next message. Raises ProcessLostError after the last."""
        message = await self._received.get()
        if isinstance(message, ProcessLostError):
            self._received.put_nowait(message)
            raise message
        return message

    def kill(self) -> None:
        """At once; `exited` is set soon after."""
        self._process.kill()

    async def close(self) -> None:
        """Ends the process and waits until it is gone."""
        self.kill()
        await self.exited.wait()

    def _send(self, message: object) -> None:
        with self._sending, suppress(OSError):
            self._connection.send(message)

    def _read(self) -> None:
        with suppress(EOFError, OSError):
            while True:
                self._deliver(self._connection.recv())
        try:
            status = self._process.wait(EXIT_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        with self._sending:
            self._connection.close()
        self._deliver(ProcessLostError(status))

    def _deliver(self, message: object) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody is left to tell
            self._loop.call_soon_threadsafe(self._take, message)

    def _take(self, message: object) -> None:
        self._received.put_nowait(message)
        if isinstance(message, ProcessLostError):
            self.exited.set()
