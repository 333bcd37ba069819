"""A gateway process that is started while its database is unavailable."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest
import structlog

from earmark.storage import migrations
from earmark.storage.connecting import DatabaseSetupError
from earmark.storage.embedded import EmbeddedPostgres
from earmark.storage.migrations import migrate
from tests.conftest import FAST


def start(data_dir: Path, url: str) -> subprocess.Popen:
    environment = os.environ | {"EARMARK_DATABASE_URL": url, "EARMARK_PORT": "0", "EARMARK_TRAINERS": ""}
    return subprocess.Popen(
        [sys.executable, "-m", "earmark.gateway", "--data-dir", str(data_dir)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


async def test_it_serves_once_the_database_is_available(tmp_path) -> None:
    postgres = EmbeddedPostgres(tmp_path / "postgres", settings=FAST)
    process = start(tmp_path, postgres.dsn)
    try:
        assert "trying again" in process.stderr.readline()
        async with postgres:
            assert "gateway listening on" in process.stdout.readline()
            process.terminate()
            process.communicate()
            assert process.returncode == 0
    finally:
        process.kill()


def test_it_can_be_stopped_while_it_waits(tmp_path) -> None:
    process = start(tmp_path, "postgresql://postgres@127.0.0.1:1/postgres")
    assert "trying again" in process.stderr.readline()
    process.send_signal(signal.SIGTERM)
    process.communicate()
    assert process.returncode == 0


async def test_a_database_that_stays_unavailable_is_reported(unused_tcp_port) -> None:
    url = f"postgresql://me:secret@127.0.0.1:{unused_tcp_port}/earmark"
    with pytest.raises(DatabaseSetupError) as caught:
        await migrate(url, patience_seconds=0)
    where = f"PostgreSQL at 127.0.0.1:{unused_tcp_port}, database 'earmark', user 'me' does not answer: "
    assert str(caught.value).startswith(where)
    assert str(caught.value).endswith(
        "Check that it runs, and that EARMARK_DATABASE_URL has its host and port"
    )


async def test_a_host_without_an_address_is_reported() -> None:
    with pytest.raises(DatabaseSetupError, match=r"db\.invalid:5432.*name cannot be resolved"):
        await migrate("postgresql://db.invalid/earmark", patience_seconds=0)


async def test_it_says_whom_it_waits_for(database_url) -> None:
    waits, said = asyncio.Event(), []

    def record(_logger, _method, event):
        said.append(event)
        waits.set()
        return "waits"

    logger = structlog.wrap_logger(structlog.PrintLogger(), processors=[record])
    other = await asyncpg.connect(database_url, server_settings={"application_name": "another"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(migrations, "log", logger)
        async with other.transaction():
            await other.execute(f"SELECT pg_advisory_xact_lock({migrations._MIGRATION_LOCK})")
            migrating = asyncio.create_task(migrate(database_url))
            await waits.wait()
        await migrating
    await other.close()
    assert "waiting for another gateway" in said[0]["event"]
    assert said[0]["application"] == "another"
