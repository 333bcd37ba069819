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

Kind = Literal["audio_file", "training_job", "recording"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file, recording or job whose objects may be orphans: they are if it has no row."""

    kind: Kind
    tenant_id: str
    id: UUID
    is_deletion: bool
    has_row: bool


@dataclass(frozen=True, slots=True)
class FinishedJob:
    """An unswept job, and its model's object keys as of the time when `sweeps_needed` were needed."""

    tenant_id: str
    id: UUID
    sweeps_needed: int
    model_keys: list[str]


async def add_upload(connection: Connection, kind: Kind, tenant_id: str, upload_id: UUID) -> None:
    """Records that the objects of the upload may become orphans."""
    await connection.execute(SQL["add_upload"], kind, tenant_id, upload_id)


async def add_deleted(connection: Connection, kind: Kind, tenant_id: str, ids: Sequence[UUID]) -> None:
    """Records that the objects of these deleted rows of the tenant are orphans."""
    await connection.execute(SQL["add_deleted"], kind, tenant_id, ids)


async def add_retried(connection: Connection, audio_file_ids: Sequence[UUID]) -> None:
    """Records that earlier attempts at these files may have left unfinished writes."""
    await connection.execute(SQL["add_retried"], audio_file_ids)


async def due_candidates(
    connection: Connection, age_seconds: float, skipped: Sequence[UUID] = ()
) -> list[Candidate]:
    """Up to 100 candidates that are new deletions or at least `age_seconds` old, without the `skipped`."""
    rows = await connection.fetch(SQL["due_candidates"], age_seconds, skipped)
    return [Candidate(**row) for row in rows]


async def mark_checked(connection: Connection, age_seconds: float, checked: Sequence[Candidate]) -> None:
    """Removes the candidates that are at least `age_seconds` old. The others are due again at that age.

    An upload that was deleted since `checked` was read is a deletion that no sweep has checked.
    """
    await connection.execute(SQL["remove_candidates"], age_seconds, [c.id for c in checked])
    await connection.execute(SQL["keep_candidates"], [c.id for c in checked if c.is_deletion])


async def unswept_jobs(
    connection: Connection, age_seconds: float, skipped: Sequence[UUID] = ()
) -> list[FinishedJob]:
    """Up to 100 unswept jobs that finished at least `age_seconds` ago, without the `skipped`."""
    rows = await connection.fetch(SQL["unswept_jobs"], age_seconds, skipped)
    return [FinishedJob(**row) for row in rows]


async def mark_swept(connection: Connection, jobs: Sequence[FinishedJob]) -> None:
    """A job whose model was deleted since `jobs` was read stays unswept."""
    await connection.execute(SQL["mark_swept"], [job.id for job in jobs], [job.sweeps_needed for job in jobs])
