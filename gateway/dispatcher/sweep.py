"""Removes the objects that no row names.

An object is stored before its row, so that a row never names what is not there; what was being written when a
gateway or a trainer was killed is left behind by that. Nothing is removed for being unknown: a store that is
shown the wrong database loses nothing.
"""

import asyncio

import structlog

from gateway import keys
from storage import sweep
from storage.database import Database
from storage.objects import ObjectStore

# Longer than any upload takes from its first byte to its row, and any attempt lives on after its job is over.
GRACE_SECONDS = 6 * 3600.0

log = structlog.get_logger("dispatcher")


async def remove_orphans(database: Database, objects: ObjectStore) -> None:
    """Raises one of UNAVAILABLE."""
    while await _sweep_audio(database, objects) or await _sweep_jobs(database, objects):
        pass


async def _sweep_audio(database: Database, objects: ObjectStore) -> int:
    async with database.connection() as connection:
        loose = await sweep.old_loose_audio(connection, GRACE_SECONDS)
    for audio_file_id, has_row in loose:
        if not has_row:
            await objects.delete_async(*keys.audio_objects(audio_file_id))
    async with database.connection() as connection:
        await sweep.remove_loose_audio(connection, [audio_file_id for audio_file_id, _ in loose])
    return len(loose)


async def _sweep_jobs(database: Database, objects: ObjectStore) -> int:
    async with database.connection() as connection:
        over = await sweep.unswept_jobs(connection, GRACE_SECONDS)
    for job_id, kept in over:
        stored = await asyncio.to_thread(set, objects.keys(keys.job(job_id)))
        if left := stored - kept:
            log.info("removing what the attempts of a job left", job=str(job_id), objects=len(left))
            await objects.delete_async(*left)
    async with database.connection() as connection:
        await sweep.mark_swept(connection, [job_id for job_id, _ in over])
    return len(over)
