"""What a gateway or a trainer that cannot start says: one line with what was found and what to do."""

import os
import socket
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import asyncpg
import pytest

from earmark.configuration import VARIABLES
from earmark.gateway.settings import GatewaySettings
from earmark.storage.migrations import migrate
from earmark.trainer.settings import TrainerSettings

SECONDS = 60
BOTH = pytest.mark.parametrize("service", ["gateway", "trainer"])


def refusal(service: str, data_dir: Path, *flags: str, **settings: str) -> str:
    """The only line on stderr of a service that must exit with status 1 at once."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("EARMARK_", "AWS_"))
    }
    environment |= {"EARMARK_DATA_DIR": str(data_dir), "EARMARK_PORT": "0", "EARMARK_TRAINER_PORT": "0"}
    done = subprocess.run(
        [sys.executable, "-m", f"earmark.{service}", *flags],
        env=environment | settings,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 1, done
    assert done.stdout == ""
    (line,) = [line for line in done.stderr.splitlines() if not _is_log_of_grpc(line)]
    assert line.startswith(f"{service}: ")
    return line


def _is_log_of_grpc(line: str) -> bool:
    return line[:1] in "IWE" and line[1:5].isdigit()


def test_every_variable_is_known() -> None:
    fields = {*GatewaySettings.model_fields, *TrainerSettings.model_fields}
    assert {f"EARMARK_{name.upper()}" for name in fields} <= VARIABLES
    others = VARIABLES - {f"EARMARK_{name.upper()}" for name in fields}
    of_clients = ("ADDRESS", "API_KEY", "CA", "CLIENT_CERTIFICATE", "CLIENT_KEY", "PROFILE")
    assert others == {"EARMARK_TEST_DATABASE_URL", *(f"EARMARK_{name}" for name in of_clients)}


@BOTH
def test_a_variable_that_is_misspelt(service, tmp_path) -> None:
    line = refusal(service, tmp_path, EARMARK_LEASE_SECOND="5")
    assert "EARMARK_LEASE_SECOND is no setting of Earmark: is EARMARK_LEASE_SECONDS meant?" in line


def test_the_variables_of_kubernetes_are_not_misspelt(tmp_path) -> None:
    links = {
        "EARMARK_SERVICE_HOST": "10.0.0.1",
        "EARMARK_PORT_50051_TCP_ADDR": "10.0.0.1",
        "EARMARK_GATEWAY_PORT": "tcp://10.0.0.1:50051",
    }
    line = refusal("gateway", tmp_path, **links, EARMARK_PORT="tcp://10.0.0.1:50051")
    assert "EARMARK_PORT is 'tcp://10.0.0.1:50051': Kubernetes sets it" in line
    assert "set enableServiceLinks: false" in line


@BOTH
def test_a_setting_that_is_wrong(service, tmp_path) -> None:
    line = refusal(service, tmp_path, EARMARK_HEARTBEAT_SECONDS="soon")
    assert "EARMARK_HEARTBEAT_SECONDS is 'soon': Input should be a valid number" in line


@BOTH
def test_a_setting_that_is_empty(service, tmp_path) -> None:
    line = refusal(service, tmp_path, EARMARK_DATABASE_URL="")
    assert "EARMARK_DATABASE_URL is empty: give it a value, or unset it for the default" in line


@BOTH
def test_a_data_folder_that_cannot_be_written(service, tmp_path) -> None:
    (tmp_path / "file").touch()
    line = refusal(service, tmp_path / "file" / "data")
    assert f"the data folder {tmp_path}/file/data cannot be written: Not a directory." in line
    assert "Set EARMARK_DATA_DIR" in line


@BOTH
def test_an_object_store_that_refuses(service, tmp_path) -> None:
    keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    line = refusal(
        service,
        tmp_path,
        EARMARK_OBJECT_STORE="s3://audio",
        AWS_ENDPOINT_URL="http://127.0.0.1:1",
        **keys,
    )
    assert "the object store s3://audio has an endpoint of plain http: set AWS_ALLOW_HTTP=true" in line


@pytest.mark.parametrize(("service", "variable"), [("gateway", "PORT"), ("trainer", "TRAINER_PORT")])
def test_a_port_that_is_in_use(service, variable, tmp_path, server_url) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = {f"EARMARK_{variable}": str(port), "EARMARK_DATABASE_URL": server_url}
        line = refusal(service, tmp_path, **settings)
    assert f"cannot listen on 127.0.0.1:{port}: is another {service} running?" in line
    assert f"Set EARMARK_{variable} to a free port" in line


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("postgresql://me:sw@rdfish@db/x", "@ must be written as %40"),
        ("postgresql://me:#swordfish@db/x", "# %23"),
        ("postgresql://me:swordfish@db:54x/x", "its port is not a number"),
        ("postgresql://me:swordfish@127.0.0.1/x?sslmode=sideways", "`sslmode` parameter must be one of"),
    ],
)
def test_a_url_of_the_database_that_is_wrong(url, problem, tmp_path) -> None:
    line = refusal("gateway", tmp_path, EARMARK_DATABASE_URL=url)
    assert problem in line
    assert "EARMARK_DATABASE_URL" in line
    assert "rdfish" not in line


def test_a_database_that_does_not_exist(tmp_path, server_url) -> None:
    url = server_url.replace("/postgres?", "/elsewhere?")
    line = refusal("gateway", tmp_path, EARMARK_DATABASE_URL=url)
    assert "database 'elsewhere', user 'postgres' refuses the connection" in line
    assert 'database "elsewhere" does not exist. Create the database, or correct its name' in line


def test_a_user_that_does_not_exist(tmp_path, server_url) -> None:
    line = refusal("gateway", tmp_path, EARMARK_DATABASE_URL=_as(server_url, "stranger"))
    assert 'role "stranger" does not exist. Check the user and the password' in line


def _as(url: str, user: str) -> str:
    parts = urlsplit(url)
    assert parse_qs(parts.query)["host"]
    return parts._replace(netloc=f"{user}:swordfish@").geturl()


@asynccontextmanager
async def role(url: str, *statements: str):
    """The URL of a user without rights, after these statements, in which {} is the user."""
    name = f"earmark_test_{uuid4().hex}"
    owner = await asyncpg.connect(url)
    try:
        await owner.execute(f"CREATE ROLE {name} LOGIN")
        for statement in statements:
            await owner.execute(statement.format(name))
        yield _as(url, name)
        await owner.execute(f"DROP OWNED BY {name}; DROP ROLE {name}")
    finally:
        await owner.close()


async def test_a_user_who_may_not_create_tables(tmp_path, empty_database_url) -> None:
    async with role(empty_database_url) as url:
        line = refusal("gateway", tmp_path, EARMARK_DATABASE_URL=url)
    assert "does not let this user create tables: permission denied for schema public" in line
    assert "Run GRANT USAGE, CREATE ON SCHEMA" in line


async def test_a_user_who_may_not_write(tmp_path, database_url) -> None:
    async with role(database_url, "GRANT SELECT ON ALL TABLES IN SCHEMA public TO {}") as url:
        line = refusal("gateway", tmp_path, EARMARK_DATABASE_URL=url)
    assert "this user lacks rights on " in line
    assert "training_jobs" in line


async def test_a_user_who_may_only_write_can_start_a_gateway_on_a_database_that_is_up_to_date(
    database_url,
) -> None:
    grant = "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {}"
    async with role(database_url, grant) as url:
        await migrate(url, patience_seconds=0)


async def test_a_database_that_is_read_only(tmp_path, empty_database_url) -> None:
    owner = await asyncpg.connect(empty_database_url)
    name = urlsplit(empty_database_url).path[1:]
    await owner.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    await owner.close()
    line = refusal("gateway", tmp_path, EARMARK_DATABASE_URL=empty_database_url)
    assert "is read-only: name the primary" in line
