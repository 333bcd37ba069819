"""Removes orphans: objects that no row names.

An object is stored before its row, so that a row never names a missing object. If a gateway or a trainer is
killed in between, the object becomes an orphan. Only objects of recorded candidates and finished jobs are
removed: an object store used with the wrong database loses nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import Any
from uuid import UUID

import structlog

from earmark.gateway import object_keys
from earmark.storage.database import Database
from earmark.storage.objects import ObjectStore, ObjectStoreError
from earmark.storage.queries import orphans

# Longer than any upload takes from its first byte to its row, or an attempt runs after its job is finished.
GRACE_SECONDS = 6 * 3600.0

log = structlog.get_logger("dispatcher")


async def remove_orphans(database: Database, objects: ObjectStore) -> None:
    """Removes what was deleted, and the orphans older than GRACE_SECONDS. Raises DatabaseUnavailableError.

    What the object store does not remove is left for the next time.
    """
    sweep = _Sweep(database, objects)
    while await sweep.candidates() or await sweep.jobs():
        pass


class _Sweep:
    """One pass over everything. `skipped` are the candidates and jobs whose objects could not be removed."""

    def __init__(self, database: Database, objects: ObjectStore) -> None:
        self._database = database
        self._objects = objects
        self._skipped: list[UUID] = []

    async def candidates(self) -> int:
        """Checks a batch of candidates. Returns the number of those that were checked."""
        async with self._database.connection() as connection:
            found = await orphans.due_candidates(connection, GRACE_SECONDS, self._skipped)
        checked = [c.id for c in found if c.has_row or await self._remove(c.id, self._candidate_keys, c)]
        async with self._database.transaction() as connection:
            await orphans.mark_checked(connection, GRACE_SECONDS, checked)
        return len(checked)

    async def jobs(self) -> int:
        """Removes all objects but the model's from a batch of finished jobs. Returns the number of jobs."""
        async with self._database.connection() as connection:
            finished = await orphans.unswept_jobs(connection, GRACE_SECONDS, self._skipped)
        swept = [
            job_id for job_id, kept in finished if await self._remove(job_id, self._unused_keys, job_id, kept)
        ]
        async with self._database.connection() as connection:
            await orphans.mark_swept(connection, swept)
        return len(swept)

    async def _remove(
        self, owner: UUID, keys: Callable[..., Awaitable[Collection[str]]], *arguments: Any
    ) -> bool:
        """Removes the objects that `keys` names. Returns False if the store failed."""
        try:
            if unwanted := await keys(*arguments):
                await self._objects.delete_async(*unwanted)
        except ObjectStoreError as error:
            log.warning("objects are left for a later clean-up", owner=str(owner), error=str(error))
            self._skipped.append(owner)
            return False
        return True

    async def _candidate_keys(self, candidate: orphans.Candidate) -> Collection[str]:
        if candidate.kind == "audio_file":
            return object_keys.audio_objects(candidate.id)
        return await self._stored(candidate.id)

    async def _unused_keys(self, job_id: UUID, kept: set[str]) -> Collection[str]:
        return await self._stored(job_id) - kept

    async def _stored(self, job_id: UUID) -> set[str]:
        return await asyncio.to_thread(set, self._objects.keys(object_keys.job(job_id)))
