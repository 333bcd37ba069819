"""Finds orphans: stored objects that no row names.

An upload records its audio file as a candidate before it stores an object, a deletion its files and jobs in
the transaction that deletes their rows. A sweep later checks which candidates have no row.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from earmark.storage import sql
from earmark.storage.database import Connection

SQL = sql.load("orphans")

Kind = Literal["audio_file", "training_job"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file or job whose objects may be orphans: they are if it has no row."""

    kind: Kind
    id: UUID
    has_row: bool


async def add_upload(connection: Connection, audio_file_id: UUID) -> None:
    """Records that the file's objects may become orphans."""
    await connection.execute(SQL["add_upload"], audio_file_id)


async def add_deleted(connection: Connection, kind: Kind, ids: Sequence[UUID]) -> None:
    """Records that the objects of these deleted rows are orphans."""
    await connection.execute(SQL["add_deleted"], kind, ids)


async def due_candidates(
    connection: Connection, age_seconds: float, skipped: Sequence[UUID] = ()
) -> list[Candidate]:
    """Up to 100 candidates that are new deletions or at least `age_seconds` old, without the `skipped`."""
    rows = await connection.fetch(SQL["due_candidates"], age_seconds, skipped)
    return [Candidate(**row) for row in rows]


async def mark_checked(connection: Connection, age_seconds: float, ids: Sequence[UUID]) -> None:
    """Removes the candidates that are at least `age_seconds` old. The others are due again at that age."""
    await connection.execute(SQL["remove_candidates"], age_seconds, ids)
    await connection.execute(SQL["keep_candidates"], ids)


async def unswept_jobs(
    connection: Connection, age_seconds: float, skipped: Sequence[UUID] = ()
) -> list[tuple[UUID, set[str]]]:
    """Up to 100 unswept jobs that finished at least `age_seconds` ago, each with its model's object keys.

    Without the `skipped`.
    """
    rows = await connection.fetch(SQL["unswept_jobs"], age_seconds, skipped)
    return [(row["id"], set(row["model_keys"])) for row in rows]


async def mark_swept(connection: Connection, job_ids: Sequence[UUID]) -> None:
    await connection.execute(SQL["mark_swept"], job_ids)
