"""The embedded PostgreSQL, with real servers that are started and killed."""

import asyncio
import os
import pwd
import re
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import asyncpg
import psutil
import pytest

from earmark.storage.database import CONNECT_ERRORS
from earmark.storage.embedded import DataDirectoryInUseError, EmbeddedPostgres, EmbeddedPostgresError, cluster

FAST = {"fsync": "off", "full_page_writes": "off"}
OWNER = """
import asyncio, sys
from pathlib import Path
import asyncpg
from earmark.storage.embedded import EmbeddedPostgres

async def main():
    async with EmbeddedPostgres(Path(sys.argv[1]), settings={"fsync": "off"}) as server:
        connection = await asyncpg.connect(server.dsn)
        await connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        print(server.pid, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture(scope="module")
def cluster_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a cluster that is created once for this module."""

    async def make() -> None:
        async with EmbeddedPostgres(folder, settings=FAST):
            pass

    folder = tmp_path_factory.mktemp("embedded")
    asyncio.run(make())
    return folder


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every account can reach."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture(params=["alive", "zombie"])
def unrelated_pid(request: pytest.FixtureRequest) -> Iterator[int]:
    """The pid of a process that is not a server."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        if request.param == "zombie":
            process.kill()
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        yield process.pid
        process.kill()


@asynccontextmanager
async def connected(server: EmbeddedPostgres) -> "AsyncIterator[asyncpg.Connection[asyncpg.Record]]":
    connection = await asyncpg.connect(server.dsn)
    try:
        yield connection
    finally:
        await connection.close()


def is_private(folder: Path) -> bool:
    return folder.stat().st_mode & 0o077 == 0


def private(folder: Path) -> Path:
    folder.mkdir(mode=0o700)
    return folder


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def owners(folder: Path, pattern: str = "**/*") -> set[int]:
    return {path.lstat().st_uid for path in folder.glob(pattern)}


def has_exited(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


async def test_committed_data_survives_a_restart(tmp_path: Path) -> None:
    async with EmbeddedPostgres(tmp_path / "postgres", settings=FAST) as server:
        async with connected(server) as connection:
            await connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        first = server.pid
    assert has_exited(first)
    async with (
        EmbeddedPostgres(tmp_path / "postgres", settings=FAST) as server,
        connected(server) as connection,
    ):
        assert await connection.fetchval("SELECT answer FROM kept") == 42
        assert await connection.fetchval("SHOW data_checksums") == "on"
        assert await connection.fetchval("SHOW server_encoding") == "UTF8"


async def test_the_server_listens_only_on_a_private_socket(cluster_folder: Path) -> None:
    async with EmbeddedPostgres(cluster_folder, settings=FAST) as server:
        assert psutil.Process(server.pid).net_connections("inet") == []
        for folder in ("data", "run"):
            assert is_private(cluster_folder / folder)


async def test_a_killed_server_is_restarted(cluster_folder: Path) -> None:
    async with EmbeddedPostgres(cluster_folder, settings=FAST) as server:
        killed = server.pid
        # The end of a connection whose server was killed may fail in several ways.
        with suppress(*CONNECT_ERRORS):
            async with connected(server) as connection:
                # Busy children outlive their server for a moment and keep its shared memory.
                query = asyncio.create_task(
                    connection.execute("SELECT count(*) FROM generate_series(1, 3000000)")
                )
                await asyncio.sleep(0)
                os.kill(killed, signal.SIGKILL)
                await server.wait_exited()
                assert not server.ready.is_set()
                await query
        await server.ready.wait()
        assert server.pid != killed
        async with connected(server) as connection:
            assert await connection.fetchval("SELECT 1") == 1


async def test_a_killed_owner_leaves_its_data_and_no_server(tmp_path: Path) -> None:
    owner = await asyncio.create_subprocess_exec(
        sys.executable, "-c", OWNER, str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    assert owner.stdout is not None
    server_pid = int(await owner.stdout.readline())
    server_ended = os.pidfd_open(server_pid) if sys.platform == "linux" else None
    owner.kill()
    await owner.wait()
    if server_ended is not None:
        # On Linux the kernel stops the server; on other systems the next owner does.
        assert select.select([server_ended], [], [], 30)[0]
        os.close(server_ended)
    async with EmbeddedPostgres(tmp_path, settings=FAST) as server, connected(server) as connection:
        assert has_exited(server_pid)
        assert await connection.fetchval("SELECT answer FROM kept") == 42


async def test_a_server_that_outlived_its_owner_is_replaced(cluster_folder: Path) -> None:
    survivor = EmbeddedPostgres(cluster_folder, settings=FAST)
    survivor._cluster = await cluster.Cluster.open(cluster_folder, sync=False)
    await survivor._start()
    async with EmbeddedPostgres(cluster_folder, settings=FAST) as server:
        assert server.pid != survivor.pid
        assert has_exited(survivor.pid)


async def test_a_reused_pid_is_not_mistaken_for_a_server(cluster_folder: Path, unrelated_pid: int) -> None:
    (cluster_folder / "data" / "postmaster.pid").write_text(
        f"{unrelated_pid}\n{cluster_folder / 'data'}\n0\n5432\n\n\n"
    )
    async with EmbeddedPostgres(cluster_folder, settings=FAST) as server:
        assert server.pid != unrelated_pid
        assert psutil.pid_exists(unrelated_pid)


async def test_a_second_owner_gets_an_error_that_names_the_first(cluster_folder: Path) -> None:
    async with EmbeddedPostgres(cluster_folder, settings=FAST) as server:
        with pytest.raises(
            DataDirectoryInUseError, match=rf"in use by process {os.getpid()}\b.*EARMARK_DATA_DIR"
        ):
            await EmbeddedPostgres(cluster_folder, settings=FAST).__aenter__()
        async with connected(server) as connection:
            assert await connection.fetchval("SELECT 1") == 1


async def test_a_long_path_has_its_socket_in_the_temporary_directory(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 30) / "and it's ä name?"
    async with EmbeddedPostgres(folder, settings=FAST) as server:
        async with connected(server) as connection:
            sockets = Path(await connection.fetchval("SHOW unix_socket_directories"))
        assert sockets.parent == Path(tempfile.gettempdir())
        assert is_private(sockets)
    assert sockets.name not in names(Path(tempfile.gettempdir()))


async def test_an_interrupted_first_start_is_repeated(tmp_path: Path) -> None:
    unfinished = tmp_path / "data.unfinished.0badcafe"
    unfinished.mkdir()
    (unfinished / "PG_VERSION").write_text("18\n")
    async with EmbeddedPostgres(tmp_path, settings=FAST) as server, connected(server) as connection:
        assert await connection.fetchval("SELECT 1") == 1
    assert names(tmp_path) == {"data", "lock", "run", "server.log"}


async def test_the_data_of_another_version_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "PG_VERSION").write_text("16\n")
    with pytest.raises(EmbeddedPostgresError, match=r"made by PostgreSQL 16.*has 18.*EARMARK_DATABASE_URL"):
        await EmbeddedPostgres(tmp_path).__aenter__()


async def test_the_error_quotes_the_log_of_a_server_that_does_not_start(cluster_folder: Path) -> None:
    with pytest.raises(EmbeddedPostgresError, match=r"does not start.*(?s:.*)\"fsync\" requires a Boolean"):
        await EmbeddedPostgres(cluster_folder, settings={"fsync": "perhaps"}).__aenter__()


async def test_the_error_names_a_file_that_blocks_the_folder(tmp_path: Path) -> None:
    (tmp_path / "postgres").write_text("")
    with pytest.raises(EmbeddedPostgresError, match=re.escape(str(tmp_path / "postgres"))):
        await EmbeddedPostgres(tmp_path / "postgres").__aenter__()


@as_root
async def test_root_serves_another_users_folder_as_that_user(open_folder: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    os.chown(open_folder, nobody.pw_uid, nobody.pw_gid)
    async with EmbeddedPostgres(open_folder, settings=FAST) as server:
        assert psutil.Process(server.pid).uids().effective == nobody.pw_uid
    assert owners(open_folder) == {nobody.pw_uid}


@as_root
async def test_root_without_user_namespaces_is_nobody(
    open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "_namespace_refusal", _refused)
    async with EmbeddedPostgres(open_folder / "postgres", settings=FAST) as server:
        assert psutil.Process(server.pid).uids().effective == pwd.getpwnam("nobody").pw_uid
    assert owners(open_folder.parent, open_folder.name) == {0}


@as_root
async def test_root_does_not_become_nobody_for_good_because_a_machine_is_short_for_a_moment(
    open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, ask = [], cluster._namespace_refusal
    if refusal := await ask(cluster._binaries()):
        pytest.skip(f"this machine refuses namespaces: {refusal}")

    async def refused_once(binaries: Path) -> str:
        asked.append(binaries)
        return await (_refused(binaries) if len(asked) == 1 else ask(binaries))

    monkeypatch.setattr(cluster, "_namespace_refusal", refused_once)
    async with EmbeddedPostgres(private(open_folder / "private") / "postgres", settings=FAST) as server:
        assert psutil.Process(server.pid).uids().effective == 0


@as_root
async def test_the_error_for_root_names_a_folder_that_nobody_cannot_reach(
    open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "_namespace_refusal", _refused)
    folder = private(open_folder / "private")
    with pytest.raises(
        EmbeddedPostgresError,
        match=r"(?s)refuses to run as root.*no namespaces are left.*reachable.*Permission denied",
    ):
        await EmbeddedPostgres(folder / "postgres", settings=FAST).__aenter__()


async def _refused(_: Path) -> str:
    return "no namespaces are left"
