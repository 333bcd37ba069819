"""Measures one gateway process under load, and next to each figure its bare counterpart in the same run.

    python -m bench.load [--json]

Starts all servers it needs. Prints a table, which bench/README.md describes.
"""

import json
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict
from typing import Annotated

import typer
import uvloop

from bench.load import calls, keys, watches
from bench.load.client import Client
from bench.load.figures import Bench, Figure
from bench.load.rows import insert_dataset, insert_job
from bench.load.system import server, system
from bench.load.trainer import IdleTrainer, serving

CLIENTS = 2


@asynccontextmanager
async def _bench(trainer: IdleTrainer) -> AsyncIterator[Bench]:
    async with AsyncExitStack() as stack:
        address = await stack.enter_async_context(serving(trainer))
        measured = await stack.enter_async_context(
            system(EARMARK_TRAINERS=address, EARMARK_MAX_WAITING_JOBS="0")
        )
        async with measured.database.transaction() as connection:
            small = await insert_dataset(connection, files=30, annotations_per_file=10)
            large = await insert_dataset(connection, files=1_000, annotations_per_file=100)
            job_id = await insert_job(connection, small)
        # Otherwise autovacuum would do this in the middle of a measurement.
        async with measured.database.connection() as connection:
            await connection.execute("VACUUM ANALYZE")
        size = await calls.reply_bytes(measured.gateway.address, job_id)
        bare = await stack.enter_async_context(server("bench.load.bare", str(size)))
        clients = [await stack.enter_async_context(Client()) for _ in range(CLIENTS)]
        yield Bench(measured, bare, clients, small, large)


async def measure() -> list[Figure]:
    """All figures. Memory comes first, on fresh processes; then dispatch, with an empty queue."""
    trainer = IdleTrainer()
    async with _bench(trainer) as bench:
        figures = [await watches.memory(bench), await calls.dispatches(bench)]
        trainer.full.set()
        figures += [await calls.reads(bench), await keys.overhead(bench)]
        figures += [await watches.fan_out(bench), await calls.creates(bench)]
    return figures


def table(figures: Sequence[Figure]) -> str:
    """The figures as a Markdown table, followed by the details of each."""
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
    return "\n".join([*lines, "", *map(_details, figures)])


def _details(figure: Figure) -> str:
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
