"""`earmark up`: runs a trainer and a gateway on this machine until Ctrl-C."""

import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType

from rich.console import Console

from earmark.client.local import LocalSystem
from earmark.hosts import is_loopback


def run_up(settings: Mapping[str, str]) -> None:
    """Start the services, print the gateway's address, and supervise them until SIGINT or SIGTERM."""
    console = Console(soft_wrap=True, highlight=False)
    system = LocalSystem(settings, log=_log)
    with _stopped_by_signals(system), system:
        console.print(_welcome(system.address))
        # On loopback, nobody needs a key until one is made.
        if not is_loopback(settings.get("EARMARK_HOST", "127.0.0.1")) and (key := system.first_key()):
            console.print(f"The first API key, of scope admin, which is not shown again: [bold]{key}[/bold]")
        system.serve()
        console.print("stopping")
    console.print("stopped")


def _welcome(address: str) -> str:
    # EARMARK_CA is for those who call, and names the authority of this gateway's certificate.
    call = "  grpcurl " + ("-cacert $EARMARK_CA" if "EARMARK_TLS_CERTIFICATE" in os.environ else "-plaintext")
    dataset = """'{"name": "Support calls", "artifact_types": [{"name": "dropout"}]}'"""
    return "\n".join(
        [
            f"Earmark is up at [bold]{address}[/bold]; Ctrl-C stops it. Try:",
            f"{call} {address} list",
            f"{call} -d {dataset} {address} earmark.v1.DatasetService/CreateDataset",
            f"{call} {address} earmark.v1.TrainingService/ListTrainingJobs",
        ]
    )


def _log(line: str) -> None:
    sys.stderr.write(f"{line}\n")


@contextmanager
def _stopped_by_signals(system: LocalSystem) -> Iterator[None]:
    """Turn SIGINT and SIGTERM into a request to stop; a second signal does not interrupt the stop."""

    def ask(_number: int, _frame: FrameType | None) -> None:
        system.ask_to_stop()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
