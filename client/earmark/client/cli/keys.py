"""The commands of `earmark keys`."""

import os
import sys
from collections.abc import Iterator
from datetime import UTC
from enum import StrEnum
from typing import Annotated

import typer
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from earmark.client import DEFAULT_ADDRESS, Client, connect
from earmark.client.cli.common import Address, errors_on_stderr
from earmark.client.local import require_extra
from earmark.v1 import admin_service_pb2 as admin
from earmark.v1.scope_pb2 import Scope

app = typer.Typer(
    help="Make, list, rotate and revoke API keys, with a key of scope admin.", no_args_is_help=True
)
_DAY_SECONDS = 86_400
_PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
KeyId = Annotated[str, typer.Argument(help="The key's id, which `earmark keys list` prints.")]
Days = Annotated[float | None, typer.Option(help="For how many days it is valid [until it is revoked].")]


class ScopeName(StrEnum):
    """What a key allows."""

    READ = "read"
    WRITE = "write"
    TRAIN = "train"
    DETECT = "detect"
    ADMIN = "admin"


@app.command("create")
def create_key(
    name: Annotated[str, typer.Argument(help="A name, such as that of the program that uses it.")],
    *,
    tenant: Annotated[str, typer.Option(help="The tenant whose data it opens.")] = "default",
    scope: Annotated[list[ScopeName], typer.Option(help="What it allows; may be given several times.")],
    days: Days = None,
    new_tenant: Annotated[bool, typer.Option(help="Make the tenant first.")] = False,
    address: Address = DEFAULT_ADDRESS,
) -> None:
    """Make a key, and print it: nobody can read it again."""
    with errors_on_stderr(), connect(address) as client:
        if new_tenant:
            client.admin.CreateTenant(admin.CreateTenantRequest(tenant_id=tenant))
        scopes = [f"SCOPE_{one.name}" for one in dict.fromkeys(scope)]
        request = admin.CreateApiKeyRequest(
            tenant_id=tenant, name=name, scopes=scopes, valid_for=_duration(days)
        )
        typer.echo(client.admin.CreateApiKey(request).secret)


@app.command("list")
def list_keys(
    tenant: Annotated[str, typer.Option(help="Only the keys of this tenant.")] = "",
    address: Address = DEFAULT_ADDRESS,
) -> None:
    """Print each key's id, tenant, beginning, scopes, state, last use and name, the newest first."""
    with errors_on_stderr(), connect(address) as client:
        for key in _keys(client, tenant):
            scopes = ",".join(Scope.Name(one).removeprefix("SCOPE_").lower() for one in key.scopes)
            used = _time(key.last_used_at) if key.HasField("last_used_at") else "never used"
            typer.echo("  ".join((key.id, key.tenant_id, key.prefix, scopes, _state(key), used, key.name)))


@app.command("rotate")
def rotate_key(
    key: KeyId,
    *,
    overlap: Annotated[float, typer.Option(help="For how many days the old key goes on being valid.")] = 1,
    days: Days = None,
    address: Address = DEFAULT_ADDRESS,
) -> None:
    """Make a key in place of another, and print it. The other one ends after the overlap."""
    with errors_on_stderr(), connect(address) as client:
        request = admin.RotateApiKeyRequest(
            api_key_id=key, overlap=_duration(overlap), valid_for=_duration(days)
        )
        typer.echo(client.admin.RotateApiKey(request).secret)


@app.command("revoke")
def revoke_key(key: KeyId, address: Address = DEFAULT_ADDRESS) -> None:
    """End a key for ever. Its streams end within 5 seconds."""
    with errors_on_stderr(), connect(address) as client:
        client.admin.RevokeApiKey(admin.RevokeApiKeyRequest(api_key_id=key))


@app.command("bootstrap", context_settings=_PASS_ON)
def bootstrap(context: typer.Context) -> None:
    """Make a key of scope admin in the database itself, on the gateway's machine and with its settings."""
    with errors_on_stderr():
        require_extra("gateway")
        command = [sys.executable, "-P", "-m", "earmark.gateway.bootstrap", *context.args]
        os.execv(sys.executable, command)  # noqa: S606 (our own interpreter and module)


def _keys(client: Client, tenant: str) -> Iterator[admin.ApiKey]:
    request = admin.ListApiKeysRequest(tenant_id=tenant)
    while True:
        page = client.admin.ListApiKeys(request)
        yield from page.api_keys
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token


def _state(key: admin.ApiKey) -> str:
    if key.HasField("revoked_at"):
        return f"revoked {_time(key.revoked_at)}"
    return f"until {_time(key.expires_at)}" if key.HasField("expires_at") else "valid"


def _duration(days: float | None) -> Duration | None:
    return None if days is None else Duration(seconds=round(days * _DAY_SECONDS))


def _time(time: Timestamp) -> str:
    return time.ToDatetime(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
