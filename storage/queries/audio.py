"""Audio files, and the attempts at processing them.

Every change takes the dataset's next revision, under a lock on the dataset's row. That row is always locked
before any row of audio_files. New features of a ready file are no change: its status and its revision stay.
Triggers record the events of files. A gateway that claims a file gets a lease: nobody else claims the file
until the lease expires. `attempt` is the fencing token: a write with an older attempt number changes nothing.
"""

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple
from uuid import UUID

from earmark.storage import sql
from earmark.storage.database import Connection
from earmark.storage.queries import orphans
from earmark.storage.records import AudioFile

SQL = sql.load("audio")

IN_PROGRESS = frozenset({"pending", "normalizing", "embedding"})
MAX_LOSSES = 5


class Outdated(NamedTuple):
    """The number of ready files with features of another front end, and of those of them that have failed."""

    files: int
    failing: int


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
    *,
    group: str,
) -> bool:
    """Adds a pending file, in a transaction. Returns False if no such dataset exists."""
    revision = await connection.fetchval(SQL["draw_revision"], tenant_id, dataset_id)
    if revision is None:
        return False
    facts = (original_filename, content_type, size_bytes, sha256, group)
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
    groups: Sequence[str],
    after: UUID | None,
    limit: int,
) -> list[AudioFile]:
    """A page in order of creation. `processing_statuses`, `groups`: empty for all."""
    filters = (processing_statuses, groups)
    rows = await connection.fetch(SQL["list"], tenant_id, dataset_id, *filters, after, limit)
    return [AudioFile(**row) for row in rows]


async def lock_dataset(connection: Connection, tenant_id: str, audio_file_id: UUID) -> None:
    """Locks the file's dataset, its files and their annotations until the transaction ends."""
    await connection.execute(SQL["lock_dataset"], tenant_id, audio_file_id)


async def set_group(connection: Connection, audio_file: AudioFile, group: str) -> None:
    """Stores the file's group. The caller has locked its dataset, which has no unfinished job."""
    await connection.execute(SQL["set_group"], audio_file.id, audio_file.dataset_id, group)


async def in_progress(connection: Connection, tenant_id: str, dataset_ids: Collection[UUID]) -> InProgress:
    """The files in progress and the end of the log, in one snapshot. `dataset_ids`: empty for all."""
    return InProgress(**await connection.fetchrow(SQL["in_progress"], tenant_id, dataset_ids))


async def claim(connection: Connection, limit: int, lease_seconds: float) -> list[AudioFile]:
    """Claims up to `limit` files to process, in a transaction: unclaimed ones and those whose lease expired.

    Tenants take turns, each with its oldest file. Each file gets its next attempt number, and keeps its
    status until the trainer reports another.
    """
    await connection.execute(SQL["lock_claims"])
    rows = await connection.fetch(SQL["claim"], limit, lease_seconds)
    files = sorted((AudioFile(**row) for row in rows), key=lambda file: file.id)
    if retried := [file.id for file in files if file.attempt > 1]:
        await orphans.add_retried(connection, retried)
    return files


async def advance(
    connection: Connection,
    audio_file_id: UUID,
    attempt: int,
    status: str,
    *,
    duration_ms: int | None = None,
    sample_rate_hz: int | None = None,
    channels: int | None = None,
    frontend: str | None = None,
    error_message: str = "",
    lease_seconds: float,
) -> AudioFile | None:
    """Stores the trainer's report on a file. Omitted values stay as they are; a final status ends the lease.

    Changes nothing and returns None if the attempt is no longer the current one, the file's status is final
    or the file was deleted.
    """
    lease = lease_seconds if status in IN_PROGRESS else None
    facts = (duration_ms, sample_rate_hz, channels, error_message)
    row = await connection.fetchrow(SQL["change"], audio_file_id, attempt, status, *facts, lease, frontend)
    return row and AudioFile(**row)


async def renew(connection: Connection, audio_file_id: UUID, attempt: int, lease_seconds: float) -> bool:
    """Extends the lease. Returns False if the attempt is over, or the file was deleted."""
    return await connection.fetchval(SQL["renew"], audio_file_id, attempt, lease_seconds) is not None


async def release(
    connection: Connection, audio_file_id: UUID, attempt: int, *, pause_seconds: float = 0.0
) -> AudioFile | None:
    """Ends an attempt without a result: the file is pending again, and nobody claims it during the pause.

    Returns None in the same cases as `advance`.
    """
    return await _end(connection, audio_file_id, attempt, "pending", "", pause_seconds)


async def release_lost(
    connection: Connection, audio_file_id: UUID, attempt: int, pause: Callable[[int], float]
) -> AudioFile | None:
    """Ends an attempt that was lost with its trainer. `pause`: seconds to wait after so many losses.

    The file is pending again. It fails after MAX_LOSSES, but only if other files have become ready meanwhile:
    otherwise the trainers may be ill. Returns None in the same cases as `advance`.
    """
    await connection.execute(SQL["lock_dataset_of"], audio_file_id)
    loss = await connection.fetchrow(SQL["count_loss"], audio_file_id, attempt)
    if loss is None:
        return None
    losses = loss["losses"]
    if losses >= MAX_LOSSES and loss["others_succeed"]:
        return await _end(connection, audio_file_id, attempt, "failed", _lost_too_often(losses), 0.0)
    return await _end(connection, audio_file_id, attempt, "pending", "", pause(losses))


async def fail(
    connection: Connection, audio_file_id: UUID, attempt: int, *, message: str
) -> AudioFile | None:
    """Fails the file for good: it can be processed nowhere. Returns None in the same cases as `advance`."""
    return await _end(connection, audio_file_id, attempt, "failed", message, 0.0)


async def retry(connection: Connection, tenant_id: str, audio_file_id: UUID) -> bool:
    """Makes a failed file pending again. Returns False if it has not failed."""
    return await connection.fetchval(SQL["retry"], tenant_id, audio_file_id) is not None


async def outdated(connection: Connection, frontend: str) -> Outdated:
    """All tenants' ready files with features of another front end."""
    return Outdated(**await connection.fetchrow(SQL["outdated"], frontend))


async def claim_outdated(
    connection: Connection, frontend: str, limit: int, lease_seconds: float
) -> list[AudioFile]:
    """Claims up to `limit` ready files with features of another front end, oldest first.

    Each gets its next attempt number and stays ready. Files of a dataset with a job in training are left out.
    """
    rows = await connection.fetch(SQL["claim_outdated"], frontend, limit, lease_seconds)
    files = sorted((AudioFile(**row) for row in rows), key=lambda file: file.id)
    await orphans.add_retried(connection, [file.id for file in files])
    return files


async def update_features(connection: Connection, audio_file_id: UUID, attempt: int, frontend: str) -> bool:
    """Records the front end of the new features, which ends the attempt at a ready file.

    Returns False if the attempt is no longer the current one, or the file was deleted.
    """
    return await connection.fetchval(SQL["update_features"], audio_file_id, attempt, frontend) is not None


async def release_outdated(connection: Connection, audio_file_id: UUID, attempt: int) -> bool:
    """Ends an attempt at a ready file that did not fail. Returns False in the same cases."""
    ended = await connection.fetchval(SQL["release_outdated"], audio_file_id, attempt, 0.0, 0)
    return ended is not None


async def fail_outdated(
    connection: Connection, audio_file_id: UUID, attempt: int, *, pause_seconds: float
) -> bool:
    """Counts a failed attempt at a ready file, whose features stay. Returns False in the same cases."""
    ended = await connection.fetchval(SQL["release_outdated"], audio_file_id, attempt, pause_seconds, 1)
    return ended is not None


async def _end(
    connection: Connection, audio_file_id: UUID, attempt: int, status: str, message: str, pause_seconds: float
) -> AudioFile | None:
    facts = (None, None, None, message)
    row = await connection.fetchrow(
        SQL["change"], audio_file_id, attempt, status, *facts, pause_seconds, None
    )
    return row and AudioFile(**row)


def _lost_too_often(losses: int) -> str:
    return (
        f"its trainer was lost {losses} times while it processed the file, and other files were processed: "
        "convert the file and upload it anew, or try again with RetryAudioFile"
    )
