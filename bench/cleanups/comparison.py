"""Compares every file of the object store's folder with every column that names an object."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from earmark.gateway import object_keys
from earmark.storage.database import Connection, Database
from earmark.storage.objects import STORE_ID
from earmark.storage.store_check import PROBES


@dataclass(slots=True)
class Comparison:
    """`without_row`: files that no row names. `missing`: objects that a row names. `empty`: empty folders.

    `objects` is the number of files, `queued` the number of rows that still ask for a clean-up.
    """

    objects: int
    queued: int
    without_row: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        return not (self.without_row or self.missing or self.empty or self.queued)


async def compare(database: Database, folder: Path, uploads: Path) -> Comparison:
    """Compares while nothing runs. `uploads`: the folder of the uploads that are being received."""
    async with database.connection() as connection:
        needed, possible = await _keys(connection)
        queued = await waiting(connection)
    stored = _names(folder)
    return Comparison(
        objects=len(stored),
        queued=queued,
        without_row=sorted((stored - needed - possible) | {f"uploads/{name}" for name in _names(uploads)}),
        missing=sorted(needed - stored),
        empty=sorted(_empty(folder)),
    )


async def waiting(connection: Connection) -> int:
    """The number of rows that a later clean-up will look at."""
    number: int = await connection.fetchval(
        "SELECT (SELECT count(*) FROM orphan_candidates)"
        " + (SELECT count(*) FROM training_jobs"
        "    WHERE finished_at IS NOT NULL AND sweeps_done < sweeps_needed)"
    )
    return number


async def _keys(connection: Connection) -> tuple[set[str], set[str]]:
    """The keys that the rows name, and those of objects that may exist as well."""
    needed, possible = {STORE_ID}, {f"{PROBES}/{name}" for name in ("trainer", "kept")}
    for file in await connection.fetch("SELECT tenant_id, id, processing_status FROM audio_files"):
        owner = (file["tenant_id"], file["id"])
        keys = set(object_keys.audio_objects(*owner))
        needed |= keys if file["processing_status"] == "ready" else {object_keys.source(*owner)}
        possible |= keys
    for row in await connection.fetch(
        "SELECT checkpoint AS key FROM training_jobs WHERE checkpoint IS NOT NULL"
        " UNION SELECT weights FROM models UNION SELECT model_config FROM models"
    ):
        needed.add(row["key"])
    return needed, possible


def files(folder: Path) -> Iterator[Path]:
    """All files below `folder`, also the unfinished ones, which the store itself does not list."""
    for parent, _, names in os.walk(folder):
        yield from (Path(parent, name) for name in names)


def _names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in files(folder)}


def _empty(folder: Path) -> Iterator[str]:
    for parent, folders, names in os.walk(folder):
        if not folders and not names:
            yield str(Path(parent).relative_to(folder))
