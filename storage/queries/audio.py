"""Audio files, and the attempts at processing them.

Every change draws a revision of the dataset under the lock of the dataset's row, which is taken before any
row of audio_files. A claimed file belongs to its claimer until the lease runs out; the attempt is the fence.
"""

from collections.abc import Sequence
from uuid import UUID

from storage import sql
from storage.database import Connection
from storage.records import AudioFile

SQL = sql.load("audio")

IN_PROGRESS = frozenset({"pending", "normalizing", "embedding"})
MAX_ATTEMPTS = 5


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
    """Adds a pending file, in a transaction. False where there is no such dataset."""
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
    """Whichever tenant's it is: for the dispatcher, which serves all of them."""
    there: bool = await connection.fetchval(SQL["exists"], audio_file_id)
    return there


async def page(
    connection: Connection,
    tenant_id: str,
    dataset_id: UUID,
    processing_status: str | None,
    after: UUID | None,
    limit: int,
) -> list[AudioFile]:
    """`processing_status`: None for every status."""
    rows = await connection.fetch(SQL["list"], tenant_id, dataset_id, processing_status, after, limit)
    return [AudioFile(**row) for row in rows]


async def lock_dataset(connection: Connection, tenant_id: str, audio_file_id: UUID) -> None:
    """Until the end of the transaction nobody else changes the file's dataset, files or annotations."""
    await connection.execute(SQL["lock_dataset"], tenant_id, audio_file_id)


async def dependents(
    connection: Connection, dataset_id: UUID, audio_file_id: UUID
) -> tuple[Sequence[int], Sequence[UUID]]:
    """Published versions that mark the file, and unfinished jobs on its dataset: any forbids deleting it."""
    row = await connection.fetchrow(SQL["dependents"], dataset_id, audio_file_id)
    return row["versions"], row["jobs"]


async def delete(connection: Connection, tenant_id: str, audio_file: AudioFile) -> None:
    """Deletes the file with its annotations, in a transaction. Its objects remain."""
    await connection.fetchval(SQL["draw_revision"], tenant_id, audio_file.dataset_id)
    await connection.execute(SQL["delete_marks"], audio_file.id)
    await connection.execute(SQL["delete"], audio_file.id)


async def latest_revision(connection: Connection, tenant_id: str, dataset_id: UUID) -> int | None:
    """That of the dataset's last change of a file, 0 before any. None where there is no such dataset."""
    revision: int | None = await connection.fetchval(SQL["latest_revision"], tenant_id, dataset_id)
    return revision


async def changed(
    connection: Connection, dataset_id: UUID, after_revision: int, limit: int
) -> tuple[list[AudioFile], int]:
    """Files that changed after a revision, by revision, and how many were unsettled before they were read.

    Where the count is 0 and no unsettled file was read, every change is among those read.
    """
    unsettled: int = await connection.fetchval(SQL["count_in_progress"], dataset_id)
    rows = await connection.fetch(SQL["changed"], dataset_id, after_revision, limit)
    return [AudioFile(**row) for row in rows], unsettled


async def claim(connection: Connection, limit: int, lease_seconds: float) -> list[AudioFile]:
    """Takes up to `limit` files to process, oldest first: pending ones, and those whose lease ran out.

    Each has a new attempt, and its status until the trainer says otherwise.
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
    """What the trainer says of a file. Facts left out stay as they are; a settled file has no lease.

    None, and nothing done, where the attempt is no longer the current one or the file is settled or gone.
    """
    lease = lease_seconds if status in IN_PROGRESS else None
    facts = (duration_ms, sample_rate_hz, channels, error_message)
    row = await connection.fetchrow(SQL["change"], audio_file_id, attempt, status, *facts, lease, True)  # noqa: FBT003
    return row and AudioFile(**row)


async def renew(connection: Connection, audio_file_id: UUID, attempt: int, lease_seconds: float) -> bool:
    """False where the attempt is no longer the current one, or the file is settled or gone."""
    return await connection.fetchval(SQL["renew"], audio_file_id, attempt, lease_seconds) is not None


async def release(connection: Connection, audio_file_id: UUID, attempt: int) -> AudioFile | None:
    """The attempt's trainer was lost: the file is pending again at once, or failed after MAX_ATTEMPTS.

    None as in `advance`.
    """
    return await _lose(connection, audio_file_id, attempt, held=True)


async def give_up(connection: Connection) -> list[AudioFile]:
    """Fails the files whose lease ran out on the last attempt: their gateway was lost with their trainer."""
    rows = await connection.fetch(SQL["hopeless"], MAX_ATTEMPTS)
    failed = [await _lose(connection, row["id"], row["attempt"], held=False) for row in rows]
    return [file for file in failed if file is not None]


async def _lose(connection: Connection, audio_file_id: UUID, attempt: int, *, held: bool) -> AudioFile | None:
    again = attempt < MAX_ATTEMPTS
    status, message = ("pending", "") if again else ("failed", _lost_each_time(attempt))
    nothing_new = (None, None, None)
    row = await connection.fetchrow(
        SQL["change"], audio_file_id, attempt, status, *nothing_new, message, None, held
    )
    return row and AudioFile(**row)


def _lost_each_time(attempts: int) -> str:
    return (
        f"gave up after {attempts} attempts: the trainer was lost each time. "
        "See the trainer's log; then delete the file and upload it anew"
    )
