"""The commands of `earmark tenants`."""

from collections.abc import Iterator
from typing import Annotated

import typer
from google.protobuf.field_mask_pb2 import FieldMask

from earmark.client import DEFAULT_ADDRESS, Client, connect
from earmark.client.cli.common import Address, errors_on_stderr
from earmark.v1 import admin_service_pb2 as admin

app = typer.Typer(
    help="List tenants, and set and show what they may use, with a key of scope admin.", no_args_is_help=True
)
LIMITS = [field.name for field in admin.TenantQuota.DESCRIPTOR.fields]
_DEFAULT = "default"
MOST_DIGITS = 15


@app.command("list")
def list_tenants(address: Address = DEFAULT_ADDRESS) -> None:
    """Print each tenant's id and name, in order of the ids."""
    with errors_on_stderr(), connect(address) as client:
        for tenant in _tenants(client):
            typer.echo("  ".join(filter(None, (tenant.id, tenant.display_name))))


@app.command("quota")
def quota(
    tenant: Annotated[str, typer.Argument(help="The tenant's id, which `earmark tenants list` prints.")],
    limits: Annotated[
        list[str] | None,
        typer.Argument(
            help="New limits, as NAME=NUMBER. 0 is no limit, and NAME=default is what the gateway's settings"
            f" say. Names: {', '.join(LIMITS)}.",
            show_default=False,
        ),
    ] = None,
    address: Address = DEFAULT_ADDRESS,
) -> None:
    """Set limits of a tenant, if any are given, and print all of them beside what it uses."""
    new, paths = _parsed(limits or [])
    with errors_on_stderr(), connect(address) as client:
        if paths:
            request = admin.SetTenantQuotaRequest(
                tenant_id=tenant, quota=new, update_mask=FieldMask(paths=paths)
            )
            client.admin.SetTenantQuota(request)
        reply = client.admin.GetTenantUsage(admin.GetTenantUsageRequest(tenant_id=tenant))
    for limit in reply.limits:
        most = f"of {limit.limit:,}" if limit.limit else "no limit"
        note = "  (default)" if limit.is_default else ""
        typer.echo(f"{limit.name:<27}{limit.used:>20,}  {most}{note}")


def _parsed(limits: list[str]) -> tuple[admin.TenantQuota, list[str]]:
    """The limits, and the names of those that are set. Raises typer.BadParameter."""
    parsed, paths = admin.TenantQuota(), []
    for text in limits:
        name, _, value = text.partition("=")
        name = name.strip().replace("-", "_")
        if name not in LIMITS:
            raise typer.BadParameter(f"{text!r} names no limit: the names are {', '.join(LIMITS)}")
        if value != _DEFAULT:
            if not value.isdecimal() or len(value) > MOST_DIGITS:
                raise typer.BadParameter(f"{text!r}: write {name}=NUMBER, or {name}={_DEFAULT}")
            setattr(parsed, name, int(value))
        paths.append(name)
    return parsed, paths


def _tenants(client: Client) -> Iterator[admin.Tenant]:
    request = admin.ListTenantsRequest()
    while True:
        page = client.admin.ListTenants(request)
        yield from page.tenants
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token
