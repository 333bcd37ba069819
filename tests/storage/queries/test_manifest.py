"""A job's manifest: the files of its dataset as they were when the job was created."""

import pytest
from uuid_utils.compat import uuid7

from earmark.storage.database import Connection, Database
from earmark.storage.queries import audio, training
from earmark.storage.records import TrainingJob
from tests.gateway import rows

CONFIG = {"epochs": 1, "artifact_types": ["glitch"]}
EVENT = {"status_changed": {}}


@pytest.fixture
async def database(database_url):
    async with Database(database_url) as database:
        yield database


async def create(connection: Connection, built: rows.Built) -> TrainingJob:
    ids = (uuid7(), built.dataset_id, built.annotation_set_id)
    return await training.create(connection, rows.TENANT, *ids, CONFIG, {}, EVENT)


async def make_ready(database: Database) -> None:
    """Processes every file that is not ready, as a trainer would."""
    async with database.transaction() as connection:
        for file in await audio.claim(connection, 10, 60):
            await audio.advance(
                connection, file.id, file.attempt, "ready", duration_ms=1000, lease_seconds=60
            )


async def manifest(database: Database, job: TrainingJob) -> list:
    async with database.connection() as connection:
        return [file.id for file in await training.manifest(connection, job)]


async def test_a_file_that_becomes_ready_while_a_job_is_being_created_is_trained_on(database) -> None:
    async with database.transaction() as connection:
        built = await rows.dataset(connection, files=2)
        await connection.execute(
            "UPDATE audio_files SET processing_status = 'pending' WHERE id = $1", built.audio_file_ids[1]
        )
    async with database.transaction() as connection:
        # The creating transaction begins before the file is ready, and sees that it is.
        await connection.fetchval("SELECT now()")
        await make_ready(database)
        facts = await training.facts(connection, rows.TENANT, built.dataset_id, built.annotation_set_id)
        assert [(a.status, a.count) for a in facts.audio] == [("ready", 2)]
        job = await create(connection, built)
    assert await manifest(database, job) == sorted(built.audio_file_ids)


async def test_a_file_that_is_uploaded_after_the_job_was_created_is_not_trained_on(database) -> None:
    async with database.transaction() as connection:
        built = await rows.dataset(connection, files=2)
        job = await create(connection, built)
    async with database.transaction() as connection:
        facts = ("later.wav", "audio/wav", 1, "ab")
        assert await audio.create(connection, rows.TENANT, uuid7(), built.dataset_id, *facts, group="")
    await make_ready(database)
    assert await manifest(database, job) == sorted(built.audio_file_ids)
    async with database.transaction() as connection:
        later = await create(connection, built)
    assert len(await manifest(database, later)) == 3
