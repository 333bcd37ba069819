"""Measures one gateway process under load, each figure beside its bare counterpart in the same run.

    python -m bench.load [--json]

Starts all it needs. Prints a table; bench/README.md says what is in it.
"""

import json
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict
from typing import Annotated

import typer
import uvloop

from bench.load import calls, watches
from bench.load.client import Client
from bench.load.figures import Bench, Figure
from bench.load.rows import dataset, job
from bench.load.system import server, system
from bench.load.trainer import IdleTrainer, serving

CLIENTS = 2


@asynccontextmanager
async def _opened(trainer: IdleTrainer) -> AsyncIterator[Bench]:
    async with AsyncExitStack() as stack:
        address = await stack.enter_async_context(serving(trainer))
        made = await stack.enter_async_context(system(EARMARK_TRAINERS=address, EARMARK_MAX_WAITING_JOBS="0"))
        async with made.database.transaction() as connection:
            small = await dataset(connection, files=30, annotations_per_file=10)
            large = await dataset(connection, files=1_000, annotations_per_file=100)
            job_id = await job(connection, small)
        # What autovacuum would come to do in the middle of a figure.
        async with made.database.connection() as connection:
            await connection.execute("VACUUM ANALYZE")
        size = await calls.reply_bytes(made.gateway.address, job_id)
        bare = await stack.enter_async_context(server("bench.load.bare", str(size)))
        clients = [await stack.enter_async_context(Client()) for _ in range(CLIENTS)]
        yield Bench(made, bare, clients, small, large)


async def measure() -> list[Figure]:
    """All figures. First memory, on fresh processes, and dispatching, with an empty queue."""
    trainer = IdleTrainer()
    async with _opened(trainer) as bench:
        figures = [await watches.memory(bench), await calls.dispatches(bench)]
        trainer.full.set()
        figures += [await calls.reads(bench), await watches.fan_out(bench), await calls.creates(bench)]
    return figures


def table(figures: Sequence[Figure]) -> str:
    """In Markdown."""
    rows = [("figure", "goal", "measured", "bare", "ratio", "")]
    for figure in figures:
        bare = "" if figure.bare is None else f"{figure.bare:,.1f}"
        ratio = "" if figure.ratio is None else f"{figure.ratio:.2f}"
        met = "met" if figure.met else "NOT met"
        rows.append((figure.name, figure.goal, f"{figure.measured:,.1f} {figure.unit}", bare, ratio, met))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join([*lines, "", *map(_detailed, figures)])


def _detailed(figure: Figure) -> str:
    return f"{figure.name}: " + ", ".join(f"{name} {value:,.1f}" for name, value in figure.details.items())


def main(
    *, as_json: Annotated[bool, typer.Option("--json", help="One line of JSON instead of a table.")] = False
) -> None:
    """Measure the gateway under load."""
    figures = uvloop.run(measure())
    if as_json:
        print(json.dumps([{**asdict(figure), "ratio": figure.ratio} for figure in figures]))
    else:
        print(table(figures))
    sys.exit(0 if all(figure.met for figure in figures) else 1)


if __name__ == "__main__":
    typer.run(main)
