"""Removes orphans: objects that no row names.

An object is stored before its row, so that a row never names a missing object. If a gateway or a trainer is
killed in between, the object becomes an orphan; if it is killed while it writes, the part that it has written
does. Only objects of recorded candidates and finished jobs are removed: an object store used with the wrong
database loses nothing.
"""

from collections.abc import Awaitable
from uuid import UUID

import structlog

from earmark.gateway import object_keys
from earmark.storage.database import Database
from earmark.storage.objects import ObjectStore, ObjectStoreError
from earmark.storage.queries import orphans
from earmark.storage.store_check import PROBES

# Longer than any upload takes from its first byte to its row, or an attempt runs after its job is finished.
GRACE_SECONDS = 6 * 3600.0

log = structlog.get_logger("dispatcher")


async def remove_orphans(database: Database, objects: ObjectStore) -> None:
    """Removes what was deleted, and the orphans older than GRACE_SECONDS. Raises DatabaseUnavailableError.

    What the object store does not remove is left for the next time.
    """
    sweep = _Sweep(database, objects)
    await sweep.probes()
    # Neither waits for the end of the other, which may take long after many deletions.
    while any([await sweep.candidates(), await sweep.jobs()]):
        pass


class _Sweep:
    """One pass over everything. `skipped` are the candidates and jobs whose objects could not be removed."""

    def __init__(self, database: Database, objects: ObjectStore) -> None:
        self._database = database
        self._objects = objects
        self._skipped: list[UUID] = []

    async def probes(self) -> None:
        """Removes what services that were killed while they started have left."""
        await _done(self._objects.clear_async(PROBES, min_age_seconds=GRACE_SECONDS), PROBES)

    async def candidates(self) -> int:
        """Checks a batch of candidates. Returns the number of those that were checked."""
        async with self._database.connection() as connection:
            found = await orphans.due_candidates(connection, GRACE_SECONDS, self._skipped)
        checked = [
            candidate for candidate in found if await self._is_done(candidate.id, self._check(candidate))
        ]
        async with self._database.transaction() as connection:
            await orphans.mark_checked(connection, GRACE_SECONDS, checked)
        return len(checked)

    async def jobs(self) -> int:
        """Removes all objects but the model's from a batch of finished jobs. Returns the number of jobs."""
        async with self._database.connection() as connection:
            finished = await orphans.unswept_jobs(connection, GRACE_SECONDS, self._skipped)
        swept = [job for job in finished if await self._is_done(job.id, self._clear_job(job))]
        async with self._database.connection() as connection:
            await orphans.mark_swept(connection, swept)
        return len(swept)

    async def _clear_job(self, job: orphans.FinishedJob) -> None:
        await self._objects.clear_async(object_keys.job(job.tenant_id, job.id), job.model_keys)

    async def _check(self, candidate: orphans.Candidate) -> None:
        if candidate.kind == "training_job":
            await self._objects.clear_async(object_keys.job(candidate.tenant_id, candidate.id))
        elif candidate.kind == "recording":
            if not candidate.has_row:
                await self._objects.clear_async(object_keys.recording(candidate.tenant_id, candidate.id))
        elif candidate.has_row:
            # An attempt may be writing at this moment. The clocks of database, store and gateway may differ.
            prefix = object_keys.audio(candidate.tenant_id, candidate.id)
            await self._objects.clear_unfinished_async(prefix, min_age_seconds=GRACE_SECONDS / 2)
        else:
            await self._objects.clear_async(object_keys.audio(candidate.tenant_id, candidate.id))

    async def _is_done(self, owner: UUID, removal: Awaitable[None]) -> bool:
        """Whether the object store removed what it should."""
        is_done = await _done(removal, str(owner))
        if not is_done:
            self._skipped.append(owner)
        return is_done


async def _done(removal: Awaitable[None], owner: str) -> bool:
    try:
        await removal
    except ObjectStoreError as error:
        log.warning("objects are left for a later clean-up", owner=owner, error=str(error))
        return False
    return True
