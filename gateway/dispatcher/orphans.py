"""Removes orphans: objects that no row names.

An object is stored before its row, so that a row never names a missing object. If a gateway or a trainer is
killed in between, the object becomes an orphan. Only objects of recorded candidates and finished jobs are
removed: an object store used with the wrong database loses nothing.
"""

import asyncio
from collections.abc import Sequence

import structlog

from earmark.gateway import object_keys
from earmark.storage.database import Database
from earmark.storage.objects import ObjectStore
from earmark.storage.queries import orphans

# Longer than any upload takes from its first byte to its row, or an attempt runs after its job is finished.
GRACE_SECONDS = 6 * 3600.0

log = structlog.get_logger("dispatcher")


async def remove_orphans(database: Database, objects: ObjectStore) -> None:
    """Removes what was deleted, and the orphans older than GRACE_SECONDS. Raises DatabaseUnavailableError."""
    while await _sweep_candidates(database, objects) or await _sweep_jobs(database, objects):
        pass


async def _sweep_candidates(database: Database, objects: ObjectStore) -> int:
    """Checks a batch of candidates. Returns the size of the batch."""
    async with database.connection() as connection:
        candidates = await orphans.due_candidates(connection, GRACE_SECONDS)
    for candidate in candidates:
        if not candidate.has_row:
            await objects.delete_async(*await _keys(objects, candidate))
    async with database.transaction() as connection:
        await orphans.mark_checked(connection, GRACE_SECONDS, [candidate.id for candidate in candidates])
    return len(candidates)


async def _keys(objects: ObjectStore, candidate: orphans.Candidate) -> Sequence[str]:
    if candidate.kind == "audio_file":
        return object_keys.audio_objects(candidate.id)
    return await asyncio.to_thread(list, objects.keys(object_keys.job(candidate.id)))


async def _sweep_jobs(database: Database, objects: ObjectStore) -> int:
    """Removes all objects but the model's from a batch of finished jobs. Returns the size of the batch."""
    async with database.connection() as connection:
        finished = await orphans.unswept_jobs(connection, GRACE_SECONDS)
    for job_id, kept in finished:
        stored = await asyncio.to_thread(set, objects.keys(object_keys.job(job_id)))
        if unused := stored - kept:
            log.info("removing unused objects of a finished job", job=str(job_id), objects=len(unused))
            await objects.delete_async(*unused)
    async with database.connection() as connection:
        await orphans.mark_swept(connection, [job_id for job_id, _ in finished])
    return len(finished)
