"""The commands of `earmark alias`, with a real gateway."""

import asyncio

import pytest_asyncio
from typer.testing import CliRunner

from earmark.client.cli import app
from earmark.gateway.server import running
from earmark.gateway.settings import GatewaySettings
from tests.gateway.model_rows import one_model

ALIAS = "calls@production"


@pytest_asyncio.fixture
async def run(database_url, tmp_path):
    """Runs a command and returns its exit code, its output and its errors."""
    settings = GatewaySettings(
        host="127.0.0.1", port=0, database_url=database_url, data_dir=tmp_path, trainers=""
    )
    async with running(settings) as port:

        async def alias(*arguments: str) -> tuple[int, str, str]:
            command = ["alias", *arguments, "--address", f"127.0.0.1:{port}"]
            result = await asyncio.to_thread(CliRunner().invoke, app, command)
            return result.exit_code, result.stdout, result.stderr

        yield alias


def cells(printed: str) -> list[list[str]]:
    """The parts of each line."""
    return [line.split("  ") for line in printed.splitlines()]


async def test_an_alias_is_set_listed_moved_and_removed(run, database_url) -> None:
    first, second = [await one_model(database_url, active=True) for _ in range(2)]
    assert await run("set", ALIAS, first) == (0, f"{ALIAS} is model {first}\n", "")
    await run("set", "calls@staging", second)
    _, listed, _ = await run("list")
    assert [row[:2] for row in cells(listed)] == [[ALIAS, first], ["calls@staging", second]]
    _, listed, _ = await run("list", "--model", second)
    assert [row[0] for row in cells(listed)] == ["calls@staging"]
    [[*_, etag]] = cells((await run("list", "--model", first))[1])
    assert (await run("set", ALIAS, "calls@staging", "--etag", etag))[0] == 0
    code, _, error = await run("remove", ALIAS, "--etag", etag)
    assert (code, "ABORTED (STALE_ETAG)" in error) == (1, True)
    assert await run("remove", ALIAS) == (0, "", "")
    _, history, _ = await run("history", ALIAS)
    assert [row[1:] for row in cells(history)] == [
        [second, "none", "ipv4:127.0.0.1"],
        [first, second, "ipv4:127.0.0.1"],
        ["none", first, "ipv4:127.0.0.1"],
    ]


async def test_an_error_is_in_words_and_the_exit_code_says_so(run) -> None:
    code, _, error = await run("history", ALIAS)
    assert code == 1
    assert f"there is no model alias {ALIAS}" in error


async def test_every_page_is_listed(run, database_url) -> None:
    model_id = await one_model(database_url, active=True)
    other = await one_model(database_url, active=True)
    for number in range(55):
        await run("set", f"calls@{number:02}", model_id)
    assert len(cells((await run("list"))[1])) == 55
    for number in range(55):
        await run("set", ALIAS, (other, model_id)[number % 2])
    assert len(cells((await run("history", ALIAS))[1])) == 55
