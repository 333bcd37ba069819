"""The fast clock: what clean-ups decide by its age becomes that old SPEED times as soon as otherwise.

The clean-ups themselves, and the ages that they ask for, are the product's. Leases run at their own speed.
"""

import asyncio
import os
import time
from pathlib import Path

from bench.cleanups.comparison import files
from earmark.gateway.dispatcher.orphans import GRACE_SECONDS
from earmark.storage.database import Database
from earmark.storage.store_check import PROBES

SPEED = 1_000
TICK_SECONDS = 0.5
DAY_SECONDS = 86_400
RETENTION_DAYS = 1
# Events are removed by whole hours.
RETENTION_SECONDS = RETENTION_DAYS * DAY_SECONDS + 3_600

# The column by which a clean-up decides, and the seconds after which it does.
AGES = (
    ("orphan_candidates", "since", "true", GRACE_SECONDS),
    ("training_jobs", "finished_at", "finished_at IS NOT NULL", GRACE_SECONDS),
    ("requests", "created_at", "true", DAY_SECONDS),
    ("events", "time", "true", RETENTION_SECONDS),
)


def fast(seconds: float) -> float:
    """So many seconds in fast motion."""
    return seconds / SPEED


async def run(database: Database, objects: Path) -> None:
    """Ages the rows, and the files of the folder `objects`, until cancelled."""
    while True:
        await tick(database, objects)
        await asyncio.sleep(TICK_SECONDS)


async def tick(database: Database, objects: Path) -> None:
    """Ages what has become due."""
    # What killed writers left is older than the row by which a clean-up looks for it.
    await asyncio.to_thread(_age_files, objects)
    await _age_rows(database)


async def _age_rows(database: Database) -> None:
    for table, column, where, seconds in AGES:
        aged = f"{column} - make_interval(secs => $1)"
        due = f"{column} < now() - make_interval(secs => $2) AND {column} > now() - make_interval(secs => $1)"
        async with database.connection() as connection:
            await connection.execute(
                f"UPDATE {table} SET {column} = {aged} WHERE {due} AND {where}", seconds, fast(seconds)
            )


def _age_files(objects: Path) -> None:
    """Clean-ups read the age of probes and of unfinished writes from their files.

    They remove what is half as old as the row by which they look for it, since clocks differ.
    """
    now = time.time()
    for path in files(objects):
        if "#" not in path.name and path.parent.name != PROBES:
            continue
        try:
            written = path.stat().st_mtime
            if now - GRACE_SECONDS < written < now - fast(GRACE_SECONDS / 2):
                os.utime(path, (now, written - GRACE_SECONDS))
        except FileNotFoundError:
            continue
