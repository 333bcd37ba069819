"""Removes the objects that no row names.

An object is stored before its row, so that a row never names what is not there; what was being written when a
gateway or a trainer was killed is left behind by that. Nothing is removed for being unknown: a store that is
shown the wrong database loses nothing.
"""

import asyncio

import structlog

from gateway import object_keys
from storage.database import Database
from storage.objects import ObjectStore
from storage.queries import orphans

# Longer than any upload takes from its first byte to its row, and any attempt lives on after its job is over.
GRACE_SECONDS = 6 * 3600.0

log = structlog.get_logger("dispatcher")


async def remove_orphans(database: Database, objects: ObjectStore) -> None:
    """Raises one of UNAVAILABLE."""
    while await _sweep_audio(database, objects) or await _sweep_jobs(database, objects):
        pass


async def _sweep_audio(database: Database, objects: ObjectStore) -> int:
    async with database.connection() as connection:
        candidates = await orphans.old_candidates(connection, GRACE_SECONDS)
    for audio_file_id, has_row in candidates:
        if not has_row:
            await objects.delete_async(*object_keys.audio_objects(audio_file_id))
    async with database.connection() as connection:
        await orphans.remove_candidates(connection, [audio_file_id for audio_file_id, _ in candidates])
    return len(candidates)


async def _sweep_jobs(database: Database, objects: ObjectStore) -> int:
    async with database.connection() as connection:
        over = await orphans.unswept_jobs(connection, GRACE_SECONDS)
    for job_id, kept in over:
        stored = await asyncio.to_thread(set, objects.keys(object_keys.job(job_id)))
        if left := stored - kept:
            log.info("removing what the attempts of a job left", job=str(job_id), objects=len(left))
            await objects.delete_async(*left)
    async with database.connection() as connection:
        await orphans.mark_swept(connection, [job_id for job_id, _ in over])
    return len(over)
