"""PgBouncer before PostgreSQL: its session mode works, and its other modes are refused in words."""

import asyncio
import os
import shutil
import tempfile
from contextlib import asynccontextmanager, suppress
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest

from bench.faults.proxy import Proxy
from earmark.storage.bus import Bus
from earmark.storage.connecting import DatabaseSetupError
from earmark.storage.database import Database
from earmark.storage.embedded.cluster import SOCKET_NAME
from earmark.storage.migrations import migrate

PROGRAM = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
SECONDS = 20

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="PgBouncer is not installed")


@asynccontextmanager
async def pooled(url: str, port: int, mode: str, **settings: str):
    """The URL of the same database through PgBouncer, which refuses to run as root."""
    parts = urlsplit(url)
    name, host = parts.path[1:], parse_qs(parts.query)["host"][0]
    # The server's socket is private to its own user.
    link = Proxy("postgres link", "postgres", lambda: asyncio.open_unix_connection(f"{host}/{SOCKET_NAME}"))
    options = {
        "listen_addr": "127.0.0.1",
        "listen_port": port,
        "unix_socket_dir": "",
        "auth_type": "any",
        "pool_mode": mode,
    } | settings
    if os.geteuid() == 0:
        options["user"] = "nobody"
    async with link:
        lines = ["[databases]", f"{name} = host=127.0.0.1 port={link.port} user=postgres", "[pgbouncer]"]
        lines += [f"{option} = {value}" for option, value in options.items()]
        with tempfile.NamedTemporaryFile("w", prefix="pgbouncer") as file:
            file.write("\n".join(lines))
            file.flush()
            os.fchmod(file.fileno(), 0o644)
            bouncer = await asyncio.create_subprocess_exec(PROGRAM, file.name, stderr=asyncio.subprocess.PIPE)
            try:
                async with asyncio.timeout(SECONDS):
                    while b"process up" not in (line := await bouncer.stderr.readline()):
                        assert line, "PgBouncer ended"
                yield f"postgresql://postgres@127.0.0.1:{port}/{name}"
            finally:
                with suppress(ProcessLookupError):
                    bouncer.kill()
                await bouncer.wait()


async def test_session_mode(empty_database_url, unused_tcp_port) -> None:
    async with pooled(empty_database_url, unused_tcp_port, "session") as url:
        await migrate(url, patience_seconds=0)
        async with Database(url) as database, Bus(database) as here, Bus(database) as there:
            async with database.connection() as connection:
                assert await connection.fetchval("SHOW statement_timeout") == "30s"
            with there.subscribe("job:1") as event:
                await asyncio.wait_for(event.wait(), SECONDS)  # it listens
                event.clear()
                here.publish("job:1")
                await asyncio.wait_for(event.wait(), SECONDS)


@pytest.mark.parametrize("settings", [{}, {"server_round_robin": "1"}, {"default_pool_size": "1"}])
async def test_transaction_mode_is_refused(settings, empty_database_url, unused_tcp_port) -> None:
    async with pooled(empty_database_url, unused_tcp_port, "transaction", **settings) as url:
        with pytest.raises(DatabaseSetupError, match="is a pooler in transaction mode") as caught:
            await migrate(url, patience_seconds=0)
    assert "set pool_mode=session for this database" in str(caught.value)


async def test_statement_mode_is_refused(empty_database_url, unused_tcp_port) -> None:
    async with pooled(empty_database_url, unused_tcp_port, "statement") as url:
        with pytest.raises(DatabaseSetupError, match="not allowed in statement pooling mode"):
            await migrate(url, patience_seconds=0)


async def test_an_unknown_database_is_refused_at_once(empty_database_url, unused_tcp_port) -> None:
    async with pooled(empty_database_url, unused_tcp_port, "session") as url:
        with pytest.raises(DatabaseSetupError, match="refuses the connection"):
            await migrate(f"{url}x")


async def test_a_migration_leaves_no_lock_on_the_connection_of_a_pooler(
    empty_database_url, unused_tcp_port
) -> None:
    # Without this query, what belongs to the session stays.
    async with pooled(empty_database_url, unused_tcp_port, "session", server_reset_query="") as url:
        await migrate(url)
        connection = await asyncpg.connect(empty_database_url)
        assert not await connection.fetchval("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")
        await connection.close()
