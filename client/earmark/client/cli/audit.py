"""The command `earmark audit`."""

import csv
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated

import typer
from google.protobuf import json_format
from google.protobuf.timestamp_pb2 import Timestamp

from earmark.client import Client, connect
from earmark.client.cli.common import Address, errors_on_stderr
from earmark.v1 import admin_service_pb2 as admin

_UNITS = {"m": "minutes", "h": "hours", "d": "days"}
_PAGE = 1000
_COLUMNS = (
    "called_at", "tenant_id", "api_key_id", "caller", "address", "rpc", "ids", "code", "reason", "left_out",
    "request_id",
)  # fmt: skip
# A spreadsheet would take such a text for a formula.
_FORMULA = ("=", "+", "-", "@")
TIME = (
    "As 30m, 12h or 7d ago, or as 2026-03-01 or 2026-03-01T12:00:00+01:00; in UTC unless it says otherwise."
)


class AuditFormat(StrEnum):
    """How entries are printed."""

    TEXT = "text"
    JSON = "json"
    CSV = "csv"


def _time(text: str) -> datetime:
    if ago := re.fullmatch(r"(\d{1,6})([mhd])", text):
        return datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no time: write it {TIME[0].lower()}{TIME[1:]}") from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def audit(
    *,
    since: Annotated[
        datetime | None, typer.Option(parser=_time, help=f"Calls that began then or later. {TIME}")
    ] = None,
    until: Annotated[
        datetime | None, typer.Option(parser=_time, help="Calls that began before; as --since.")
    ] = None,
    tenant: Annotated[str, typer.Option(help="Only this tenant's calls.")] = "",
    key: Annotated[str, typer.Option(help="Only the calls of this key, by its id.")] = "",
    rpc: Annotated[str, typer.Option(help="Only this rpc, such as DeleteDataset.")] = "",
    code: Annotated[str, typer.Option(help="Only calls with this code, such as PERMISSION_DENIED.")] = "",
    output: Annotated[
        AuditFormat, typer.Option("--format", help="json prints an object per line.")
    ] = AuditFormat.TEXT,
    address: Address = None,
) -> None:
    """Print the audit log, the newest call first: who has changed what, and whose calls were refused."""
    request = admin.ListAuditEntriesRequest(
        tenant_id=tenant, api_key_id=key, rpc=rpc, code=code.upper(), page_size=_PAGE
    )
    if since is not None:
        request.since.FromDatetime(since)
    if until is not None:
        request.until.FromDatetime(until)
    with errors_on_stderr(), connect(address) as client:
        if output is AuditFormat.CSV:
            writer = csv.writer(sys.stdout)
            writer.writerow(_COLUMNS)
            writer.writerows(map(_row, _entries(client, request)))
            return
        for entry in _entries(client, request):
            typer.echo(_json(entry) if output is AuditFormat.JSON else _text(entry))


def _entries(client: Client, request: admin.ListAuditEntriesRequest) -> Iterator[admin.AuditEntry]:
    while True:
        page = client.admin.ListAuditEntries(request)
        yield from page.entries
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token


def _json(entry: admin.AuditEntry) -> str:
    return json_format.MessageToJson(entry, preserving_proto_field_name=True, indent=None)


def _row(entry: admin.AuditEntry) -> list[str]:
    cells = {
        **{name: str(getattr(entry, name)) for name in _COLUMNS},
        "called_at": _shown(entry.called_at),
        "ids": _ids(entry),
    }
    return [f"'{cell}" if cell.startswith(_FORMULA) else cell for cell in map(cells.__getitem__, _COLUMNS)]


def _text(entry: admin.AuditEntry) -> str:
    rpc = entry.rpc.removeprefix("/earmark.v1.")
    result = " ".join(filter(None, (entry.code, entry.reason)))
    left_out = f"after {entry.left_out} more" if entry.left_out else ""
    parts = (
        _shown(entry.called_at), entry.tenant_id or "-", entry.caller or "-", entry.address or "-", rpc,
        result, _ids(entry), left_out,
    )  # fmt: skip
    return "  ".join(filter(None, parts))


def _ids(entry: admin.AuditEntry) -> str:
    return " ".join(f"{one.name}={one.value}" for one in entry.ids)


def _shown(time: Timestamp) -> str:
    return time.ToDatetime(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
