"""`python -m bench.faults --kills N --seed S`: runs the drill and ends with status 1 on a violation."""

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
        int, typer.Option(min=1, help="SIGKILLs, evenly of gateways, trainers, PostgreSQL.")
    ] = 20,
    seed: Annotated[int, typer.Option(help="Decides what is done to the system and what clients ask.")] = 0,
    *,
    keep: Annotated[bool, typer.Option(help="Keep the folder with the logs also where all is well.")] = False,
) -> None:
    """Kill, pause and cut off a system under load, and check what it promises."""
    folder, began = Path(tempfile.mkdtemp(prefix="earmark-drill-")), time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {line}", file=sys.stderr, flush=True)

    # What the embedded PostgreSQL's supervisor says of each kill.
    with (folder / "drill.log").open("w") as log:
        structlog.configure(logger_factory=structlog.PrintLoggerFactory(log))
        report = asyncio.run(drill(seed, kills, folder, say))
    violated = {name: problems for name, problems in report.violations.items() if problems}
    print(json.dumps({**report.figures, "violations": violated}, indent=1))
    if violated or keep:
        say(f"the logs are in {folder}")
    else:
        shutil.rmtree(folder)
    sys.exit(bool(violated))


if __name__ == "__main__":
    typer.run(main)
