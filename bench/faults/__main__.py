"""`python -m bench.faults --kills N --faults N`: runs the drill and ends with status 1 on a violation."""

import asyncio
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import structlog
import typer

from bench.faults.drill import drill


def main(
    kills: Annotated[
        int, typer.Option(min=0, help="SIGKILLs, spread evenly over gateways, trainers and PostgreSQL.")
    ] = 20,
    faults: Annotated[
        int, typer.Option(min=0, help="Faults of the store, the database's login, clocks and trainers.")
    ] = 0,
    seed: Annotated[int, typer.Option(help="Decides the faults and the clients' requests.")] = 0,
    *,
    keep: Annotated[bool, typer.Option(help="Keep the logs even without violations.")] = False,
) -> None:
    """Kill, pause and disconnect a system under load, and check its promises."""
    folder, began = Path(tempfile.mkdtemp(prefix="earmark-drill-")), time.monotonic()

    def log(line: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {line}", file=sys.stderr, flush=True)

    # The supervisor of the embedded PostgreSQL logs every kill.
    with (folder / "drill.log").open("w") as log_file:
        structlog.configure(logger_factory=structlog.PrintLoggerFactory(log_file))
        report = asyncio.run(drill(seed, kills, faults, folder, log))
    violated = {name: problems for name, problems in report.violations.items() if problems}
    print(json.dumps({**report.figures, "violations": violated}, indent=1))
    if violated or keep:
        log(f"the logs are in {folder}")
    else:
        shutil.rmtree(folder)
    sys.exit(bool(violated))


if __name__ == "__main__":
    typer.run(main)
