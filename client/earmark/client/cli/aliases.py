"""The commands of `earmark alias`."""

from collections.abc import Iterator
from datetime import UTC
from typing import Annotated

import typer
from google.protobuf.timestamp_pb2 import Timestamp

from earmark.client import Client, connect
from earmark.client.cli.common import Address, errors_on_stderr
from earmark.v1 import model_service_pb2 as models

app = typer.Typer(help="Show and move the aliases of models, such as calls@production.", no_args_is_help=True)
Alias = Annotated[str, typer.Argument(help="The alias, such as calls@production.")]


@app.command("set")
def set_alias(
    alias: Alias,
    model: Annotated[str, typer.Argument(help="The model's id, or another alias; it must be active.")],
    *,
    etag: Annotated[str, typer.Option(help="Move it only if this is still its etag.")] = "",
    address: Address = None,
) -> None:
    """Make an alias name a model, at once for all who use it."""
    with errors_on_stderr(), connect(address) as client:
        request = models.SetModelAliasRequest(alias=alias, model_id=model, etag=etag)
        moved = client.models.SetModelAlias(request).model_alias
        typer.echo(f"{moved.alias} is model {moved.model_id}")


@app.command("remove")
def remove_alias(
    alias: Alias,
    *,
    etag: Annotated[str, typer.Option(help="Remove it only if this is still its etag.")] = "",
    address: Address = None,
) -> None:
    """Remove an alias. Its history stays."""
    with errors_on_stderr(), connect(address) as client:
        client.models.DeleteModelAlias(models.DeleteModelAliasRequest(alias=alias, etag=etag))


@app.command("list")
def list_aliases(
    model: Annotated[str, typer.Option(help="Only the aliases of this model, by its id.")] = "",
    address: Address = None,
) -> None:
    """Print each alias, the model that it names, when it moved last, and its etag."""
    with errors_on_stderr(), connect(address) as client:
        for alias in _aliases(client, [model] if model else []):
            typer.echo("  ".join((alias.alias, alias.model_id, _time(alias.moved_at), alias.etag)))


@app.command("history")
def show_history(alias: Alias, address: Address = None) -> None:
    """Print every move of an alias, the newest first: when, from which model, to which, and by whom."""
    with errors_on_stderr(), connect(address) as client:
        for move in _moves(client, alias):
            before, after = move.from_model_id or "none", move.to_model_id or "none"
            typer.echo("  ".join((_time(move.moved_at), before, after, move.moved_by)))


def _aliases(client: Client, model_ids: list[str]) -> Iterator[models.ModelAlias]:
    request = models.ListModelAliasesRequest(model_ids=model_ids)
    while True:
        page = client.models.ListModelAliases(request)
        yield from page.model_aliases
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token


def _moves(client: Client, alias: str) -> Iterator[models.ModelAliasMove]:
    request = models.ListModelAliasMovesRequest(alias=alias)
    while True:
        page = client.models.ListModelAliasMoves(request)
        yield from page.moves
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token


def _time(moved_at: Timestamp) -> str:
    return f"{moved_at.ToDatetime(UTC).astimezone():%Y-%m-%d %H:%M:%S}"
