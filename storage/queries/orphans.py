"""Finds orphans: stored objects that no row names.

An upload records its audio file as a candidate before it stores an object, a deletion in the transaction that
deletes the row. A sweep later checks which candidates have no row.
"""

from collections.abc import Sequence
from uuid import UUID

from storage import sql
from storage.database import Connection

SQL = sql.load("orphans")


async def add_candidate(connection: Connection, audio_file_id: UUID) -> None:
    """Records that the file's objects may become orphans."""
    await connection.execute(SQL["add_candidate"], audio_file_id)


async def old_candidates(connection: Connection, age_seconds: float) -> list[tuple[UUID, bool]]:
    """Up to 100 candidates at least `age_seconds` old, each with whether the file has a row."""
    rows = await connection.fetch(SQL["old_candidates"], age_seconds)
    return [(row["audio_file_id"], row["has_row"]) for row in rows]


async def remove_candidates(connection: Connection, audio_file_ids: Sequence[UUID]) -> None:
    await connection.execute(SQL["remove_candidates"], audio_file_ids)


async def unswept_jobs(connection: Connection, age_seconds: float) -> list[tuple[UUID, set[str]]]:
    """Up to 100 unswept jobs that finished at least `age_seconds` ago, each with its model's object keys."""
    rows = await connection.fetch(SQL["unswept_jobs"], age_seconds)
    return [(row["id"], set(row["model_keys"])) for row in rows]


async def mark_swept(connection: Connection, job_ids: Sequence[UUID]) -> None:
    await connection.execute(SQL["mark_swept"], job_ids)
