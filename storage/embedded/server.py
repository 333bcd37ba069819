"""The PostgreSQL that comes with the package, for a machine that has none of its own.

`EmbeddedPostgres` owns the server's whole life: it makes the cluster on first use, starts the server as its
child, restarts it when it crashes and stops it at the end. The server listens on a unix socket in a private
folder only.

Where the owner is killed, the kernel tells the server to shut down (Linux); what still runs when the next
owner comes is stopped first. What was committed is safe either way.

PostgreSQL refuses to run as root. For root, a folder that belongs to another user is served as that user.
Root's own is served in a user namespace, where root goes by the name of nobody: the files stay root's and no
owner or mode changes. Where user namespaces are not allowed, as in most containers, the folder (nothing
above it) is given to the account nobody and served as nobody, who must be able to reach it and the installed
package. A user without a name, as in some containers, needs the user namespace to make a new cluster.
"""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Self
from urllib.parse import quote

import asyncpg
import psutil  # type: ignore[import-untyped]
import structlog

from storage.database import UNAVAILABLE
from storage.embedded.cluster import (
    INSTEAD,
    SOCKET_PORT,
    Cluster,
    EmbeddedPostgresError,
    locked,
    socket_folder,
)

_SETTINGS = {
    "listen_addresses": "",
    "port": str(SOCKET_PORT),
    "unix_socket_permissions": "0700",
    "shared_buffers": "128MB",
    "max_connections": "200",
    "fsync": "on",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # A statement's error is its caller's to report; the log is about the server.
    "log_min_messages": "log",
    "log_checkpoints": "off",
}
_STOP = ((signal.SIGINT, 60.0), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 10.0))  # seconds to wait after each
_ORPHANS_SECONDS = 30.0
_POLL_SECONDS = 0.02
_LONGEST_PAUSE = 30.0
_SETTLED_SECONDS = 60.0

_log = structlog.get_logger(__name__)


class EmbeddedPostgres:
    """A server in a folder of its own: `async with EmbeddedPostgres(folder) as server: server.dsn`.

    To be entered in the main thread, or one that stays: the server ends with the thread that started it.
    """

    def __init__(
        self, folder: Path, *, settings: Mapping[str, str] | None = None, start_timeout: float = 600.0
    ) -> None:
        """`settings`: PostgreSQL's, before our own. `start_timeout`: seconds, crash recovery included."""
        self._folder = folder.resolve()
        sockets = str(socket_folder(self._folder))
        self._settings = _SETTINGS | {"unix_socket_directories": sockets} | dict(settings or {})
        self._start_timeout = start_timeout
        self.dsn = f"postgresql://postgres@/postgres?host={quote(sockets)}&port={SOCKET_PORT}"
        self.ready = asyncio.Event()
        """Set while the server takes connections."""

    async def __aenter__(self) -> Self:
        """Raises DataDirectoryInUseError, and EmbeddedPostgresError for whatever else is in the way."""
        try:
            async with AsyncExitStack() as stack:
                stack.enter_context(locked(self._folder))
                self._cluster = await Cluster.open(self._folder, sync=self._settings["fsync"] != "off")
                stack.callback(self._cluster.close)
                await self._start()
                self._supervisor = asyncio.create_task(self._supervise(), name="embedded postgres")
                stack.push_async_callback(self._stop)
                self._stack = stack.pop_all()
        except OSError as error:
            raise EmbeddedPostgresError(
                f"cannot run PostgreSQL in {self._folder}: {error}. {INSTEAD}"
            ) from error
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    @property
    def pid(self) -> int:
        """Of the server's main process; another one after a restart."""
        return self._process.pid

    async def wait_exited(self) -> None:
        """Returns when the process of now is gone; `ready` is then clear until the next one answers."""
        await self._process.wait()

    async def _start(self) -> None:
        """Starts the server and waits until it answers."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _ORPHANS_SECONDS
        while True:
            await _clear_leftovers(self._cluster)
            since = self._cluster.log_size()
            if await self._launch():
                self.ready.set()
                return
            # The children of a server that was killed take a moment to notice and let go of its memory.
            orphans = "pre-existing shared memory block" in self._cluster.said(since)
            if not orphans or loop.time() > deadline:
                raise self._cluster.failure(f"PostgreSQL does not start in {self._folder}")
            await asyncio.sleep(_POLL_SECONDS)

    async def _launch(self) -> bool:
        """Whether it answers; it has exited when not."""
        settings = [f"--{name}={value}" for name, value in self._settings.items()]
        self._process = await self._cluster.spawn("postgres", "-D", str(self._cluster.data), *settings)
        try:
            async with asyncio.timeout(self._start_timeout):
                return await self._answers()
        except TimeoutError:
            await self._end()
            raise self._cluster.failure(f"PostgreSQL was not ready in {self._start_timeout:.0f} s") from None
        except BaseException:
            await self._end()
            raise

    async def _answers(self) -> bool:
        while self._process.returncode is None:
            try:
                connection = await asyncpg.connect(self.dsn, timeout=5)
            except UNAVAILABLE:
                await asyncio.sleep(_POLL_SECONDS)
            else:
                await connection.close()
                return True
        return False

    async def _supervise(self) -> None:
        """Restarts the server whenever it exits, after ever longer pauses while it does not last."""
        loop = asyncio.get_running_loop()
        failures = 0
        while True:
            began = loop.time()
            status = await self._process.wait()
            self.ready.clear()
            failures = 0 if loop.time() - began > _SETTLED_SECONDS else min(failures + 1, 10)
            _log.error("embedded postgres exited", status=status, server_log=self._cluster.said())
            await asyncio.sleep(min(0.05 * 2**failures, _LONGEST_PAUSE))
            try:
                await self._start()
            except Exception:  # noqa: BLE001 - nobody else would try again
                _log.exception("embedded postgres does not restart")
            else:
                _log.info("embedded postgres restarted", pid=self.pid)

    async def _stop(self) -> None:
        self._supervisor.cancel()
        await asyncio.wait([self._supervisor])
        await self._end()

    async def _end(self) -> None:
        self.ready.clear()
        await _shut_down(self._process.send_signal, self._process.wait)


async def _clear_leftovers(cluster: Cluster) -> None:
    """Stops the server of an owner that died, and removes what PostgreSQL would mistake for one."""
    pid_file = cluster.data / "postmaster.pid"
    if (pid := _first_number(pid_file)) is not None:
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            if process.status() == psutil.STATUS_ZOMBIE or process.name() != "postgres":
                # It died, and its number is taken; PostgreSQL asks only whether the number is.
                pid_file.unlink()
            elif str(cluster.data) in process.cmdline():
                _log.warning("stopping the postgres of an owner that died", pid=pid)
                await _shut_down(process.send_signal, lambda: _wait_gone(process))
    if _first_number(pid_file) is None:
        cluster.remove_sockets()


def _first_number(file: Path) -> int | None:
    try:
        return int(file.read_text().split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        return None


async def _shut_down(send: Callable[[int], None], exited: Callable[[], Awaitable[object]]) -> None:
    """Fast, then immediate, then by force."""
    for number, seconds in _STOP:
        with suppress(ProcessLookupError, psutil.NoSuchProcess):
            send(number)
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await exited()
                return


async def _wait_gone(process: psutil.Process) -> None:
    with suppress(psutil.NoSuchProcess):
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:  # noqa: ASYNC110 - not our child: no event
            await asyncio.sleep(_POLL_SECONDS)
