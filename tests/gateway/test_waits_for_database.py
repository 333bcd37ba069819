"""A gateway process that is started while its database is unavailable."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest

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
    with pytest.raises(OSError, match="the database does not answer: ConnectionRefusedError"):
        await migrate(f"postgresql://postgres@127.0.0.1:{unused_tcp_port}/postgres", patience_seconds=0)


async def test_a_database_that_does_not_exist_is_reported(server_url) -> None:
    with pytest.raises(
        OSError, match='the database lets nobody in: database "elsewhere" does not exist'
    ) as caught:
        await migrate(server_url.replace("/postgres?", "/elsewhere?"), patience_seconds=0)
    assert isinstance(caught.value.__cause__, asyncpg.PostgresError)
