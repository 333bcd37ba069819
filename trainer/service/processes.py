"""The front's child processes, which it starts, watches and talks to without blocking its event loop."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any, BinaryIO, Self

import structlog

from earmark.trainer.workers.packets import PacketConnection

EXIT_SECONDS = 0.8  # from the end of the pipe to the exit of the process, before it is killed
DRAIN_SECONDS = 0.2  # from the exit of the process to the end of the pipe, which another may keep open
SOCKET_BYTES = 1 << 20
UNREAD_MESSAGES = 4  # of an untrusted process; it waits before it can send more
STDERR_BYTES = 1 << 16  # what is read of an untrusted process's stderr
LOGGED_CHARACTERS = 2_000
# What a child gets of the front's environment besides the variables that are meant for it: nothing secret.
INHERITED = frozenset({"LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "LD_LIBRARY_PATH", "PATH", "TZ"})

log = structlog.get_logger()


class ProcessLostError(Exception):
    """The process has exited. The message says how: "was killed by SIGSEGV", "exited with status 1".

    `signal` is the number of the signal that killed it, None if it exited by itself or was killed here.
    """

    def __init__(self, how: str, signal_number: int | None = None) -> None:
        super().__init__(how)
        self.signal = signal_number

    @classmethod
    def with_status(cls, status: int) -> Self:
        """The error of a process that ended with this status, the negative number of a signal if by one."""
        if status >= 0:
            return cls(f"exited with status {status}")
        memory = ", perhaps because memory ran out" if -status == signal.SIGKILL else ""
        return cls(f"was killed by {signal.Signals(-status).name}{memory}", -status)


class Child:
    """A new Python process that runs `module`'s serve(connection, settings).

    It is not forked, because this process has threads. A thread reads its messages, so that a long message or
    one that stops half-way blocks nothing else, and another waits for its exit.

    Messages are pickled if the process is trusted, since both ends are this program. What an untrusted
    process sends is never unpickled (trainer.workers.packets), few of its messages wait to be read, and its
    output is read up to a limit.
    """

    def __init__(
        self, module: str, settings: object, environment: Mapping[str, str], *, trusted: bool = True
    ) -> None:
        """Starts the process. Needs a running event loop, to which messages are delivered."""
        self._socket, child_end = socket.socketpair()
        for end in (self._socket, child_end):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BYTES)
        kind: type[Connection | PacketConnection] = Connection if trusted else PacketConnection
        with child_end:
            self._process = subprocess.Popen(  # noqa: S603
                [
                    sys.executable,
                    "-P",
                    "-m",
                    "earmark.trainer.workers.child",
                    module,
                    kind.__name__,
                    str(child_end.fileno()),
                    str(os.getpid()),
                ],
                pass_fds=[child_end.fileno()],
                stdin=subprocess.DEVNULL,
                # Our stdout carries the line with the address and nothing else.
                stdout=sys.__stderr__ if trusted else subprocess.PIPE,
                stderr=None if trusted else subprocess.STDOUT,
                env=inherited() | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **environment},
            )
        self.name = module
        self.too_loud = False
        self._connection: Any = kind(os.dup(self._socket.fileno()))
        self._send_lock = threading.Lock()
        self._received: asyncio.Queue[Any] = asyncio.Queue()
        self._may_read = None if trusted else threading.Semaphore(UNREAD_MESSAGES)
        self._loop = asyncio.get_running_loop()
        self._killed = False
        self.exited = asyncio.Event()
        self._start_threads()
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

    async def send(self, message: object, descriptors: Sequence[int] = ()) -> None:
        """Sends a message, to an untrusted process with descriptors of open files.

        If the process has exited, this does not raise, but the next receive() does.
        """
        await self._loop.run_in_executor(None, self._send, message, *([descriptors] if descriptors else []))

    async def receive(self) -> Any:
        """Returns the next message. Raises ProcessLostError after the last."""
        message = await self._received.get()
        if isinstance(message, ProcessLostError):
            self._received.put_nowait(message)
            raise message
        if self._may_read is not None:
            self._may_read.release()
        return message

    def kill(self) -> None:
        """Kills the process; `exited` is set soon after."""
        self._killed = True
        self._process.kill()

    async def close(self) -> None:
        """Kills the process and waits until it has exited."""
        self.kill()
        await self.exited.wait()

    def _send(self, *message: object) -> None:
        with self._send_lock, suppress(OSError):
            self._connection.send(*message)

    def _start_threads(self) -> None:
        reader = threading.Thread(target=self._read, name=f"{self.name} {self.pid}", daemon=True)
        reader.start()
        threading.Thread(target=self._wait, args=[reader], name=f"exit of {self.pid}", daemon=True).start()
        if self._process.stdout is not None:
            threading.Thread(target=self._listen, args=[self._process.stdout], daemon=True).start()

    def _read(self) -> None:
        """Delivers messages. The process ends soon after its last."""
        try:
            while not self._killed:
                if self._may_read is not None:
                    self._may_read.acquire()
                self._deliver(self._connection.recv())
        except (EOFError, OSError):
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(EXIT_SECONDS)
        except Exception as error:  # noqa: BLE001 whatever it sent, it can no longer be understood
            log.warning("a process sent what is no message", module=self.name, error=repr(error))
        self.kill()

    def _wait(self, reader: threading.Thread) -> None:
        """Reports the exit, after the messages that were sent before it."""
        status = self._process.wait()
        reader.join(DRAIN_SECONDS)
        self._killed = True
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # ends a read that waits
        if self._may_read is not None:
            self._may_read.release()  # ends a reader that waits
        self._deliver(ProcessLostError.with_status(status))
        with self._send_lock:
            self._connection.close()
            self._socket.close()

    def _listen(self, output: BinaryIO) -> None:
        """Reads what the process writes. Beyond the limit the pipe is closed: writing to it fails."""
        with output:
            text = output.read(STDERR_BYTES)
        self.too_loud = len(text) == STDERR_BYTES
        if text:
            shown = text.decode(errors="replace")[:LOGGED_CHARACTERS]
            log.warning("an untrusted process wrote", module=self.name, child=self.pid, text=shown)

    def _deliver(self, message: object) -> None:
        with suppress(RuntimeError):  # the loop is closed, so nobody waits for the message
            self._loop.call_soon_threadsafe(self._enqueue, message)

    def _enqueue(self, message: object) -> None:
        self._received.put_nowait(message)
        if isinstance(message, ProcessLostError):
            self.exited.set()


def inherited() -> dict[str, str]:
    """The variables of this process that every child gets."""
    return {name: value for name, value in os.environ.items() if name in INHERITED}
