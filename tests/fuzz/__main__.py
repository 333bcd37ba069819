"""Fuzzes a system of its own.

    python -m tests.fuzz [--calls N] [--seed S] [--only NUMBER]

Prints the number of calls by rpc and status, and ends with status 1 if there is a finding. `--only` makes the
call of one number. The processes' logs are in a folder whose name is printed first.
"""

import asyncio
import signal
import sys
import tempfile
from pathlib import Path

import typer

from tests.fuzz.fuzzer import Fuzzer
from tests.fuzz.system import started

app = typer.Typer(pretty_exceptions_enable=False)


@app.command()
def main(calls: int = 10_000, seed: int = 1, only: int = -1) -> None:
    """Starts a system, fuzzes it, and prints the report."""
    folder = Path(tempfile.mkdtemp(prefix="earmark-fuzz-"))
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C, which ends what was started
    progress(f"logs are in {folder}")
    sys.exit(asyncio.run(fuzz(folder, range(calls) if only < 0 else range(only, only + 1), seed)))


async def fuzz(folder: Path, numbers: range, seed: int) -> bool:
    """Whether there is a finding."""
    async with started(folder) as system:
        report = await Fuzzer(system, seed, progress).run(numbers)
    never = ", ".join(report.without_success()) or "none"
    findings = [f"FINDING {finding}" for finding in report.findings]
    for line in (*report.table(), f"without success: {never}", *findings):
        print(line)  # noqa: T201
    return bool(report.findings)


def progress(line: str) -> None:
    """Prints to stderr at once."""
    print(line, file=sys.stderr, flush=True)  # noqa: T201


if __name__ == "__main__":
    app()
