"""The command `earmark audit`, with a real gateway."""

import asyncio
import csv
import io
import json
from typing import Any

import pytest
import pytest_asyncio
from typer.testing import CliRunner
from uuid_utils.compat import uuid7

from earmark.client.cli import app
from earmark.gateway.server import running
from earmark.gateway.settings import GatewaySettings
from earmark.storage.database import Database
from earmark.storage.queries import audit_entries
from earmark.storage.queries.audit_entries import NewEntry

HOUR = 3600.0
DELETE = "/earmark.v1.DatasetService/DeleteDataset"


def entry(seconds: float, **values: Any) -> NewEntry:
    usual = {"api_key_id": None, "caller": "", "address": "", "rpc": DELETE, "ids": [], "code": "OK"}
    return NewEntry(
        **{"id": uuid7(), "request_id": uuid7(), "seconds": seconds, "reason": ""} | usual | values
    )


@pytest_asyncio.fixture
async def run(database_url, tmp_path):
    """Runs the command on a log with 1,002 entries; returns its exit code, its output and its errors."""
    key = uuid7()
    ids = [("dataset_id", "one"), ("dataset_id", "two")]
    new = [
        entry(HOUR, tenant="sales", api_key_id=key, caller="=1+1", address="ipv4:10.0.0.7", ids=ids),
        entry(30 * HOUR, tenant="", code="UNAUTHENTICATED", reason="X", left_out=3),
        *(
            entry(50 * HOUR, tenant="support", api_key_id=key, caller="x", rpc="/a.B/Other")
            for _ in range(1000)
        ),
    ]
    async with Database(database_url) as database, database.connection() as connection:
        await audit_entries.add(connection, new)
    settings = GatewaySettings(
        host="127.0.0.1", port=0, database_url=database_url, data_dir=tmp_path, trainers=""
    )
    async with running(settings) as port:

        async def audit(*arguments: str) -> tuple[int, str, str]:
            command = ["audit", *arguments, "--address", f"127.0.0.1:{port}"]
            result = await asyncio.to_thread(CliRunner().invoke, app, command)
            return result.exit_code, result.stdout, result.stderr

        yield audit


async def test_entries_are_printed_for_people_as_json_and_as_csv(run) -> None:
    code, printed, _ = await run("--since", "2d", "--rpc", "DeleteDataset")
    first, second = printed.splitlines()
    assert code == 0
    assert first.split("  ")[1:] == [
        *("sales", "=1+1", "ipv4:10.0.0.7", "DatasetService/DeleteDataset", "OK"),
        "dataset_id=one dataset_id=two",
    ]
    assert second.endswith("UNAUTHENTICATED X  after 3 more")
    _, printed, _ = await run("--format", "json", "--until", "1h")
    found = [json.loads(line) for line in printed.splitlines()]
    assert [entry["rpc"] for entry in found] == [DELETE, DELETE, *["/a.B/Other"] * 1000]
    assert found[0]["ids"] == [{"name": "dataset_id", "value": name} for name in ("one", "two")]
    _, printed, _ = await run("--format", "csv", "--tenant", "sales")
    [row] = csv.DictReader(io.StringIO(printed))
    assert (row["caller"], row["left_out"]) == ("'=1+1", "0")
    _, printed, _ = await run("--code", "unauthenticated")
    assert len(printed.splitlines()) == 1


@pytest.mark.parametrize("time", ["yesterday", "7", "7y"])
async def test_what_is_no_time_is_refused_in_words(run, time) -> None:
    code, _, error = await run("--since", time)
    assert code == 2
    assert "is no time" in error
