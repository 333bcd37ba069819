"""Fuzzes the decoding of a system of its own.

    python -m tests.fuzz.audio [--files N] [--seed S] [--only NUMBER]

Prints the number of files by format and end, and ends with status 1 if there is a finding. `--only` makes the
file of one number. The processes' logs and the files of findings are in a folder whose name is printed first.
"""

import asyncio
import signal
import sys
import tempfile
from pathlib import Path

import typer

from tests.fuzz.__main__ import progress
from tests.fuzz.audio.fuzzer import AudioFuzzer
from tests.fuzz.system import started

app = typer.Typer(pretty_exceptions_enable=False)


@app.command()
def main(files: int = 1_000, seed: int = 1, only: int = -1) -> None:
    """Starts a system, has it decode the files, and prints the report."""
    folder = Path(tempfile.mkdtemp(prefix="earmark-fuzz-"))
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C, which ends what was started
    progress(f"logs are in {folder}")
    sys.exit(asyncio.run(fuzz(folder, range(files) if only < 0 else range(only, only + 1), seed)))


async def fuzz(folder: Path, numbers: range, seed: int) -> bool:
    """Whether there is a finding."""
    async with started(folder) as system:
        report = await AudioFuzzer(system, seed, progress).run(numbers)
    for line in (*report.table(), *(f"FINDING {finding}" for finding in report.findings)):
        print(line)  # noqa: T201
    return bool(report.findings)


if __name__ == "__main__":
    app()
