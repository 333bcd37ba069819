"""Runs a week of uploads, jobs, deletions and clean-ups in fast motion, and looks for what is left behind.

    python -m bench.cleanups [--count 100000] [--seconds N] [--seed 1] [--users 12]

Prints one line of JSON, which bench/README.md describes, and its progress on stderr. Ends with status 1 if an
object has no row or a row no object, if a clean-up left something to do, or if the gateway has grown.
"""

import asyncio
import json
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from statistics import median
from typing import Annotated, Any

import typer
import uvloop

from bench.cleanups import clock
from bench.cleanups.comparison import Comparison, compare, files, waiting
from bench.cleanups.system import System, system
from bench.cleanups.users import Users

SAMPLE_SECONDS = 1.0
# A gateway that has just started still grows: smaller counts say nothing about it.
WARM = 20_000
MOST_GROWTH = 0.05
# A few more or fewer connections of the pool.
MOST_MORE_FILES = 5
# Everything is removed within this time: what is deleted last is checked once more after six hours.
LAST_CHECKS_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Work:
    """What the users do: `count` things, or as many as they do in so many seconds."""

    count: int
    seconds: float
    seed: int
    users: int


@dataclass(frozen=True, slots=True)
class Sample:
    """The gateway after so many uploads, jobs and deletions, and the files of the object store."""

    done: int
    rss_mib: float
    open_files: int
    stored_files: int


@dataclass(frozen=True, slots=True)
class Flatness:
    """The medians of the first and of the last fifth of the samples."""

    first: float
    last: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Flatness":
        fifth = max(1, len(values) // 5)
        return cls(median(values[:fifth]), median(values[-fifth:]))


async def _sample(running: System, users: Users, samples: list[Sample]) -> None:
    """Adds a sample every SAMPLE_SECONDS until cancelled."""
    while True:
        stored = await asyncio.to_thread(lambda: sum(1 for _ in files(running.objects)))
        process = running.gateway.process
        samples.append(
            Sample(users.total, round(running.gateway.rss() / 2**20, 1), process.num_fds(), stored)
        )
        if len(samples) % 10 == 1:
            print(json.dumps(asdict(samples[-1])), file=sys.stderr, flush=True)
        await asyncio.sleep(SAMPLE_SECONDS)


async def _use(running: System, users: Users, work: Work) -> list[Sample]:
    samples: list[Sample] = []
    sampling = asyncio.create_task(_sample(running, users, samples))
    async with asyncio.TaskGroup() as group:
        for _ in range(work.users):
            group.create_task(users.run(work.count, time.monotonic() + work.seconds))
    await _ended(sampling)
    return samples


async def _last_checks(running: System) -> None:
    """Returns when no row asks for a clean-up any more, or after LAST_CHECKS_SECONDS."""
    await asyncio.gather(*running.trainer.late)
    until = time.monotonic() + LAST_CHECKS_SECONDS
    left = 1
    while left and time.monotonic() < until:
        await asyncio.sleep(SAMPLE_SECONDS)
        async with running.database.connection() as connection:
            left = await waiting(connection)


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def measure(work: Work) -> tuple[dict[str, Any], Comparison]:
    """The figures of a run, and the comparison at its end."""
    began = time.monotonic()
    async with system(work.seed) as running:
        clock_task = asyncio.create_task(clock.run(running.database, running.objects))
        async with Users(running.addresses, work.seed) as users:
            samples = await _use(running, users, work)
        used = time.monotonic() - began
        await _ended(running.killing)
        await _last_checks(running)
        await _ended(clock_task)
        found = await compare(running.database, running.objects, running.folder / "uploads")
    return {
        "count": users.total,
        "done": dict(sorted(users.done.items())),
        "seconds": round(used, 1),
        "days": round(used * clock.SPEED / clock.DAY_SECONDS, 1),
        "rss_mib": asdict(Flatness.of([sample.rss_mib for sample in samples])),
        "open_files": asdict(Flatness.of([sample.open_files for sample in samples])),
        "stored_files": asdict(Flatness.of([sample.stored_files for sample in samples])),
    }, found


def main(
    *,
    count: Annotated[int, typer.Option(min=100, help="Uploads, jobs and deletions in total.")] = 100_000,
    seconds: Annotated[float, typer.Option(help="End earlier, after so long.")] = 3600.0,
    seed: Annotated[int, typer.Option(help="Of the users' and the trainer's choices.")] = 1,
    users: Annotated[int, typer.Option(min=1, help="Users at work at a time.")] = 12,
) -> None:
    """Look for what a week of clean-ups leaves behind."""
    figures, found = uvloop.run(measure(Work(count, seconds, seed, users)))
    shown = {name: value[:20] if isinstance(value, list) else value for name, value in asdict(found).items()}
    numbers = {name: len(value) for name, value in asdict(found).items() if isinstance(value, list)}
    print(json.dumps({**figures, "left": shown, "numbers": numbers}))
    sys.exit(0 if found.is_clean and is_flat(figures) else 1)


def is_flat(figures: Mapping[str, Any]) -> bool:
    """Whether the gateway has not grown since it was warm."""
    rss, opened = figures["rss_mib"], figures["open_files"]
    grew = (
        rss["last"] >= rss["first"] * (1 + MOST_GROWTH) or opened["last"] > opened["first"] + MOST_MORE_FILES
    )
    return figures["count"] < WARM or not grew


if __name__ == "__main__":
    typer.run(main)
