"""The commands of `earmark tenants`, with a real gateway."""

import asyncio

import pytest_asyncio
from typer.testing import CliRunner

from earmark.client.cli import app
from earmark.client.cli.tenants import LIMITS
from earmark.gateway.server import running
from earmark.gateway.settings import GatewaySettings


@pytest_asyncio.fixture
async def run(database_url, tmp_path):
    """Runs a command and returns its exit code, its output and its errors."""
    settings = GatewaySettings(
        host="127.0.0.1", port=0, database_url=database_url, data_dir=tmp_path, trainers=""
    )
    async with running(settings) as port:

        async def tenants(*arguments: str) -> tuple[int, str, str]:
            command = ["tenants", *arguments, "--address", f"127.0.0.1:{port}"]
            result = await asyncio.to_thread(CliRunner().invoke, app, command)
            return result.exit_code, result.stdout, result.stderr

        yield tenants


async def test_tenants_are_listed_and_their_limits_are_set_and_shown(run) -> None:
    assert await run("list") == (0, "default  Default\n", "")
    _, before, _ = await run("quota", "default")
    shown = [line.split() for line in before.splitlines()]
    assert [row[0] for row in shown] == LIMITS
    assert shown[3] == ["waiting_training_jobs", "0", "of", "1,000", "(default)"]
    _, after, _ = await run("quota", "default", "files=12000", "storage-bytes=0", "waiting_training_jobs=7")
    shown = [line.split() for line in after.splitlines()]
    assert shown[0] == ["storage_bytes", "0", "no", "limit"]
    assert shown[2] == ["files", "0", "of", "12,000"]
    assert shown[3] == ["waiting_training_jobs", "0", "of", "7"]
    await run("quota", "default", "files=default", "storage_bytes=default", "waiting_training_jobs=default")
    assert (await run("quota", "default"))[1] == before


async def test_wrong_limits_and_tenants_are_refused_in_words(run) -> None:
    for limit, text in (("file=3", "names no limit"), ("files=many", "write files=NUMBER")):
        code, _, error = await run("quota", "default", limit)
        assert (code, text in error) == (2, True)
    code, _, error = await run("quota", "nobody", "files=3")
    assert (code, "there is no tenant nobody" in error) == (1, True)
