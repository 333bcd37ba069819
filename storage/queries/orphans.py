"""Which stored objects no row names: candidates are put down before an object is stored or a row deleted."""

from collections.abc import Sequence
from uuid import UUID

from storage import sql
from storage.database import Connection

SQL = sql.load("orphans")


async def add_candidate(connection: Connection, audio_file_id: UUID) -> None:
    """The file's objects may be there without its row from now on."""
    await connection.execute(SQL["add_candidate"], audio_file_id)


async def old_candidates(connection: Connection, age_seconds: float) -> list[tuple[UUID, bool]]:
    """Up to 100 files put down that long ago, each with whether it has a row."""
    rows = await connection.fetch(SQL["old_candidates"], age_seconds)
    return [(row["audio_file_id"], row["has_row"]) for row in rows]


async def remove_candidates(connection: Connection, audio_file_ids: Sequence[UUID]) -> None:
    await connection.execute(SQL["remove_candidates"], audio_file_ids)


async def unswept_jobs(connection: Connection, age_seconds: float) -> list[tuple[UUID, set[str]]]:
    """Up to 100 jobs that ended that long ago, each with the keys of its model."""
    rows = await connection.fetch(SQL["unswept_jobs"], age_seconds)
    return [(row["id"], set(row["kept"])) for row in rows]


async def mark_swept(connection: Connection, job_ids: Sequence[UUID]) -> None:
    await connection.execute(SQL["mark_swept"], job_ids)
