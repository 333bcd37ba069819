"""Runs the PostgreSQL server that ships with the package.

`EmbeddedPostgres` creates the cluster on first use, starts the server as a child process, restarts it after a
crash and stops it at the end. The server listens only on a unix socket in a private folder.

If the owner is killed, the kernel signals the server to shut down (Linux). The next owner stops any server
that still runs before it starts its own. Committed data is safe in both cases.

PostgreSQL refuses to run as root. If root starts it, the user depends on the folder:

- A folder that belongs to another user is served as that user.
- Root's own folder is served in a user namespace that maps root to the account nobody. The files still
  belong to root, and no owner or mode changes.
- If user namespaces are not allowed, as in most containers, the folder (but not its parents) is handed over
  to nobody and served as nobody, who must be able to reach it and the installed package.

A user without a name, as in some containers, needs the user namespace to create a new cluster.
"""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Self
from urllib.parse import quote

import asyncpg
import psutil  # type: ignore[import-untyped]  # it ships no types
import structlog

from earmark.background import Background
from earmark.storage.database import CONNECT_ERRORS
from earmark.storage.embedded.cluster import (
    SOCKET_PORT,
    USE_ANOTHER_SERVER,
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
    # Callers report the errors of their statements; the log is for the server's own messages.
    "log_min_messages": "log",
    "log_checkpoints": "off",
}
_STOP = ((signal.SIGINT, 60.0), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 10.0))  # signal, seconds to wait
_MEMORY_RELEASE_SECONDS = 30.0
_POLL_SECONDS = 0.02
_MAX_BACKOFF_SECONDS = 30.0
_STABLE_SECONDS = 60.0

_log = structlog.get_logger(__name__)


class EmbeddedPostgres:
    """A server in its own folder: `async with EmbeddedPostgres(folder) as server: server.dsn`.

    Enter it in the main thread or another long-lived one: the server ends with the thread that started it.
    """

    def __init__(
        self,
        folder: Path,
        *,
        settings: Mapping[str, str] | None = None,
        start_timeout: float = 600.0,
        background: Background | None = None,
    ) -> None:
        """`settings` override the PostgreSQL settings. `start_timeout`: seconds, with crash recovery."""
        self._folder = folder.resolve()
        sockets = str(socket_folder(self._folder))
        self._settings = _SETTINGS | {"unix_socket_directories": sockets} | dict(settings or {})
        self._start_timeout = start_timeout
        self._background = background or Background()
        self.dsn = f"postgresql://postgres@/postgres?host={quote(sockets)}&port={SOCKET_PORT}"
        self.ready = asyncio.Event()
        """Set while the server accepts connections."""

    async def __aenter__(self) -> Self:
        """Raises DataDirectoryInUseError, and EmbeddedPostgresError for any other obstacle."""
        try:
            async with AsyncExitStack() as stack:
                stack.enter_context(locked(self._folder))
                self._cluster = await Cluster.open(self._folder, sync=self._settings["fsync"] != "off")
                stack.callback(self._cluster.close)
                await self._start()
                self._supervisor = self._background.start("embedded postgres", self._supervise)
                stack.push_async_callback(self._stop)
                self._stack = stack.pop_all()
        except OSError as error:
            raise EmbeddedPostgresError(
                f"cannot run PostgreSQL in {self._folder}: {error}. {USE_ANOTHER_SERVER}"
            ) from error
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    @property
    def pid(self) -> int:
        """The pid of the server's main process, which changes with a restart."""
        return self._process.pid

    async def wait_exited(self) -> None:
        """Returns when the current process has exited; `ready` is then clear until the next one answers."""
        await self._process.wait()

    async def _start(self) -> None:
        """Starts the server and waits until it answers."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _MEMORY_RELEASE_SECONDS
        while True:
            await _clear_leftovers(self._cluster)
            log_start = self._cluster.log_size()
            if await self._launch():
                self.ready.set()
                return
            # The children of a killed server need a moment to notice and to release its shared memory.
            memory_in_use = "pre-existing shared memory block" in self._cluster.log_tail(log_start)
            if not memory_in_use or loop.time() > deadline:
                raise self._cluster.failure(f"PostgreSQL does not start in {self._folder}")
            await asyncio.sleep(_POLL_SECONDS)

    async def _launch(self) -> bool:
        """Starts one process. Returns True once it answers, False if it exited."""
        settings = [f"--{name}={value}" for name, value in self._settings.items()]
        self._process = await self._cluster.spawn("postgres", "-D", str(self._cluster.data), *settings)
        try:
            async with asyncio.timeout(self._start_timeout):
                return await self._wait_until_answering()
        except TimeoutError:
            await self._stop_process()
            raise self._cluster.failure(f"PostgreSQL was not ready in {self._start_timeout:.0f} s") from None
        except BaseException:
            await self._stop_process()
            raise

    async def _wait_until_answering(self) -> bool:
        while self._process.returncode is None:
            try:
                connection = await asyncpg.connect(self.dsn, timeout=5)
            except CONNECT_ERRORS:
                await asyncio.sleep(_POLL_SECONDS)
            else:
                await connection.close()
                return True
        return False

    async def _supervise(self) -> None:
        """Restarts the server whenever it exits, with exponential backoff while it keeps exiting early."""
        loop = asyncio.get_running_loop()
        failures = 0
        while True:
            started = loop.time()
            status = await self._process.wait()
            self.ready.clear()
            failures = 0 if loop.time() - started > _STABLE_SECONDS else min(failures + 1, 10)
            _log.error("embedded postgres exited", status=status, server_log=self._cluster.log_tail())
            await asyncio.sleep(min(0.05 * 2**failures, _MAX_BACKOFF_SECONDS))
            try:
                await self._start()
            except Exception:  # noqa: BLE001 - this loop is the only one that retries
                _log.exception("embedded postgres failed to restart")
            else:
                _log.info("embedded postgres restarted", pid=self.pid)

    async def _stop(self) -> None:
        self._supervisor.cancel()
        await asyncio.wait([self._supervisor])
        await self._stop_process()

    async def _stop_process(self) -> None:
        self.ready.clear()
        await _shut_down(self._process.send_signal, self._process.wait)


async def _clear_leftovers(cluster: Cluster) -> None:
    """Stops a dead owner's server, and removes leftovers that PostgreSQL would mistake for a running one."""
    pid_file = cluster.data / "postmaster.pid"
    if (pid := _first_number(pid_file)) is not None:
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            if process.status() == psutil.STATUS_ZOMBIE or process.name() != "postgres":
                # The server is dead, perhaps with its pid reused. PostgreSQL only checks that the pid exists.
                pid_file.unlink()
            elif str(cluster.data) in process.cmdline():
                _log.warning("stopping the postgres of a dead owner", pid=pid)
                await _shut_down(process.send_signal, lambda: _wait_exited(process))
    if _first_number(pid_file) is None:
        cluster.remove_sockets()


def _first_number(file: Path) -> int | None:
    try:
        return int(file.read_text().split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        return None


async def _shut_down(send: Callable[[int], None], exited: Callable[[], Awaitable[object]]) -> None:
    """Tries a fast shutdown, then an immediate one, then SIGKILL."""
    for number, seconds in _STOP:
        with suppress(ProcessLookupError, psutil.NoSuchProcess):
            send(number)
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await exited()
                return


async def _wait_exited(process: psutil.Process) -> None:
    with suppress(psutil.NoSuchProcess):
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:  # noqa: ASYNC110 - not a child: no event
            await asyncio.sleep(_POLL_SECONDS)
