"""What the commands of `earmark` share: the gateway's address, and errors for people."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import grpc
import typer
from rich.console import Console
from rich.markup import escape

from earmark.client import EarmarkError, explain

Address = Annotated[str, typer.Option(envvar="EARMARK_ADDRESS", help="The gateway's host:port.")]


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
