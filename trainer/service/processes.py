"""The front's child processes, which it starts, watches and talks to without blocking its event loop."""

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

import structlog

EXIT_SECONDS = 2.0  # from the end of the pipe to the exit of the process, before it is killed
SOCKET_BYTES = 1 << 20

log = structlog.get_logger()


class ProcessLostError(Exception):
    """The process has exited. The message says how: "was killed by SIGSEGV", "exited with status 1".

    `signal` is the number of the signal that killed it, None if it exited by itself.
    """

    def __init__(self, status: int) -> None:
        self.signal = -status if status < 0 else None
        how = (
            f"was killed by {signal.Signals(-status).name}" if status < 0 else f"exited with status {status}"
        )
        super().__init__(how + (", perhaps because memory ran out" if self.signal == signal.SIGKILL else ""))


class Child:
    """A new Python process that runs `module`'s serve(connection, settings).

    It is not forked, because this process has threads. Messages are pickled, since both ends are this
    program. A thread reads them, so that a long message or one that stops half-way blocks nothing else.
    """

    def __init__(self, module: str, settings: object, environment: Mapping[str, str]) -> None:
        """Starts the process. Needs a running event loop, to which messages are delivered."""
        our_end, child_end = socket.socketpair()
        for end in (our_end, child_end):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BYTES)
        with child_end:
            self._process = subprocess.Popen(  # noqa: S603
                [
                    sys.executable,
                    "-P",
                    "-m",
                    "earmark.trainer.workers.child",
                    module,
                    str(child_end.fileno()),
                    str(os.getpid()),
                ],
                pass_fds=[child_end.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=sys.__stderr__,  # our stdout carries the line with the address and nothing else
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **environment},
            )
        self.name = module
        self._connection = Connection(our_end.detach())
        self._send_lock = threading.Lock()
        self._received: asyncio.Queue[Any] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        self._killed = False
        self.exited = asyncio.Event()
        threading.Thread(target=self._read, name=f"{module} {self.pid}", daemon=True).start()
        self._connection.send(settings)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """False once the process has been killed here, or has exited."""
        if self._killed or self.exited.is_set():
            return False
        try:
            # Unlike poll(), this needs no lock that the waiting thread may have, and leaves the status to it.
            return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
        except ChildProcessError:
            return False

    async def send(self, message: object) -> None:
        """Sends a message. If the process has exited, this does not raise, but the next receive() does."""
        await self._loop.run_in_executor(None, self._send, message)

    async def receive(self) -> Any:
        """Returns the next message. Raises ProcessLostError after the last."""
        message = await self._received.get()
        if isinstance(message, ProcessLostError):
            self._received.put_nowait(message)
            raise message
        return message

    def kill(self) -> None:
        """Kills the process; `exited` is set soon after."""
        self._killed = True
        self._process.kill()

    async def close(self) -> None:
        """Kills the process and waits until it has exited."""
        self.kill()
        await self.exited.wait()

    def _send(self, message: object) -> None:
        with self._send_lock, suppress(OSError):
            self._connection.send(message)

    def _read(self) -> None:
        try:
            while True:
                self._deliver(self._connection.recv())
        except (EOFError, OSError):
            pass
        except Exception as error:  # noqa: BLE001 whatever it sent, it can no longer be understood
            log.warning("a process sent what is no message", module=self.name, error=repr(error))
            self._process.kill()
        try:
            status = self._process.wait(EXIT_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        with self._send_lock:
            self._connection.close()
        self._deliver(ProcessLostError(status))

    def _deliver(self, message: object) -> None:
        with suppress(RuntimeError):  # the loop is closed, so nobody waits for the message
            self._loop.call_soon_threadsafe(self._enqueue, message)

    def _enqueue(self, message: object) -> None:
        self._received.put_nowait(message)
        if isinstance(message, ProcessLostError):
            self.exited.set()
