"""Audio files, and the attempts at processing them.

Every change takes the dataset's next revision, under a lock on the dataset's row. That row is always locked
before any row of audio_files. Triggers record the events of files. A gateway that claims a file gets a lease:
nobody else claims the file until the lease expires. `attempt` is the fencing token: a write with an older
attempt number changes nothing.
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple
from uuid import UUID

from earmark.storage import sql
from earmark.storage.database import Connection
from earmark.storage.records import AudioFile

SQL = sql.load("audio")

IN_PROGRESS = frozenset({"pending", "normalizing", "embedding"})
MAX_ATTEMPTS = 5


class InProgress(NamedTuple):
    """The number of files in progress, and of the last event of the tenant's log at that time."""

    files: int
    last_sequence: int


async def create(
    connection: Connection,
    tenant_id: str,
    audio_file_id: UUID,
    dataset_id: UUID,
    original_filename: str,
    content_type: str,
    size_bytes: int,
    sha256: str,
) -> bool:
    """Adds a pending file, in a transaction. Returns False if no such dataset exists."""
    revision = await connection.fetchval(SQL["draw_revision"], tenant_id, dataset_id)
    if revision is None:
        return False
    facts = (original_filename, content_type, size_bytes, sha256)
    await connection.execute(SQL["insert"], audio_file_id, tenant_id, dataset_id, *facts, revision)
    return True


async def get(connection: Connection, tenant_id: str, audio_file_id: UUID) -> AudioFile | None:
    row = await connection.fetchrow(SQL["get"], tenant_id, audio_file_id)
    return row and AudioFile(**row)


async def exists(connection: Connection, audio_file_id: UUID) -> bool:
    """Whether any tenant has the file: the dispatcher serves all tenants."""
    file_exists: bool = await connection.fetchval(SQL["exists"], audio_file_id)
    return file_exists


async def page(
    connection: Connection,
    tenant_id: str,
    dataset_id: UUID,
    processing_statuses: Sequence[str],
    after: UUID | None,
    limit: int,
) -> list[AudioFile]:
    """A page in order of creation. `processing_statuses`: empty for all."""
    rows = await connection.fetch(SQL["list"], tenant_id, dataset_id, processing_statuses, after, limit)
    return [AudioFile(**row) for row in rows]


async def lock_dataset(connection: Connection, tenant_id: str, audio_file_id: UUID) -> None:
    """Locks the file's dataset, its files and their annotations until the transaction ends."""
    await connection.execute(SQL["lock_dataset"], tenant_id, audio_file_id)


async def in_progress(connection: Connection, tenant_id: str, dataset_ids: Collection[UUID]) -> InProgress:
    """The files in progress and the end of the log, in one snapshot. `dataset_ids`: empty for all."""
    return InProgress(**await connection.fetchrow(SQL["in_progress"], tenant_id, dataset_ids))


async def claim(connection: Connection, limit: int, lease_seconds: float) -> list[AudioFile]:
    """Claims up to `limit` files to process, oldest first: unclaimed ones and those whose lease expired.

    Each gets its next attempt number, and keeps its status until the trainer reports another.
    """
    rows = await connection.fetch(SQL["claim"], limit, lease_seconds, MAX_ATTEMPTS)
    return sorted((AudioFile(**row) for row in rows), key=lambda file: file.id)


async def advance(
    connection: Connection,
    audio_file_id: UUID,
    attempt: int,
    status: str,
    *,
    duration_ms: int | None = None,
    sample_rate_hz: int | None = None,
    channels: int | None = None,
    error_message: str = "",
    lease_seconds: float,
) -> AudioFile | None:
    """Stores the trainer's report on a file. Omitted values stay as they are; a final status ends the lease.

    Changes nothing and returns None if the attempt is no longer the current one, the file's status is final
    or the file was deleted.
    """
    lease = lease_seconds if status in IN_PROGRESS else None
    facts = (duration_ms, sample_rate_hz, channels, error_message)
    row = await connection.fetchrow(SQL["change"], audio_file_id, attempt, status, *facts, lease, True)  # noqa: FBT003
    return row and AudioFile(**row)


async def renew(connection: Connection, audio_file_id: UUID, attempt: int, lease_seconds: float) -> bool:
    """Extends the lease. Returns False in the cases in which `advance` returns None."""
    return await connection.fetchval(SQL["renew"], audio_file_id, attempt, lease_seconds) is not None


async def release(connection: Connection, audio_file_id: UUID, attempt: int) -> AudioFile | None:
    """Ends an attempt whose trainer was lost: the file is pending again, or failed after MAX_ATTEMPTS.

    Returns None in the same cases as `advance`.
    """
    return await _end_lost_attempt(connection, audio_file_id, attempt, even_if_leased=True)


async def fail_exhausted(connection: Connection) -> AudioFile | None:
    """Fails one file whose lease expired on its last attempt: gateway and trainer were both lost.

    Returns None if there is none. One file at a time, since a transaction records events of one tenant only.
    """
    row = await connection.fetchrow(SQL["out_of_attempts"], MAX_ATTEMPTS)
    if row is None:
        return None
    return await _end_lost_attempt(connection, row["id"], row["attempt"], even_if_leased=False)


async def _end_lost_attempt(
    connection: Connection, audio_file_id: UUID, attempt: int, *, even_if_leased: bool
) -> AudioFile | None:
    may_retry = attempt < MAX_ATTEMPTS
    status, message = ("pending", "") if may_retry else ("failed", _exhausted_message(attempt))
    no_facts = (None, None, None)
    row = await connection.fetchrow(
        SQL["change"], audio_file_id, attempt, status, *no_facts, message, None, even_if_leased
    )
    return row and AudioFile(**row)


def _exhausted_message(attempts: int) -> str:
    return (
        f"gave up after {attempts} attempts: the trainer was lost each time. "
        "See the trainer's log; then delete the file and upload it anew"
    )
