"""What the commands of `earmark` share: the gateway's address, and errors for people."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import grpc
import typer
from rich.console import Console
from rich.markup import escape

from earmark.client import DEFAULT_ADDRESS, EarmarkError, explain

Address = Annotated[
    str | None,
    typer.Option(
        envvar="EARMARK_ADDRESS",
        help=f"The gateway's host:port; by default that of the profile, or {DEFAULT_ADDRESS}.",
    ),
]


def use_connection(
    profile: Annotated[
        str | None,
        typer.Option(envvar="EARMARK_PROFILE", help="A profile of ~/.config/earmark/profiles.toml."),
    ] = None,
    ca: Annotated[
        str | None,
        typer.Option(envvar="EARMARK_CA", help='PEM file of its authorities, or "system": encrypts.'),
    ] = None,
    client_certificate: Annotated[
        str | None,
        typer.Option(envvar="EARMARK_CLIENT_CERTIFICATE", help="PEM file that the gateway knows you by."),
    ] = None,
    client_key: Annotated[
        str | None, typer.Option(envvar="EARMARK_CLIENT_KEY", help="PEM file of its key.")
    ] = None,
) -> None:
    """Trains custom detectors of audio artifacts and serves them over gRPC."""
    given = {
        "EARMARK_PROFILE": profile,
        "EARMARK_CA": ca,
        "EARMARK_CLIENT_CERTIFICATE": client_certificate,
        "EARMARK_CLIENT_KEY": client_key,
    }
    # `connect` reads them there, in every command.
    os.environ.update({name: value for name, value in given.items() if value})


@contextmanager
def errors_on_stderr() -> Iterator[None]:
    """Print an error to stderr for people and exit with code 1, or 130 after Ctrl-C."""
    try:
        yield
    except grpc.RpcError as error:
        message = str(explain(error))
    except (EarmarkError, OSError) as error:
        message = str(error)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    else:
        return
    Console(stderr=True, soft_wrap=True).print(f"[red]error:[/red] {escape(message)}")
    raise typer.Exit(1)
