"""Each migration runs once and in order, even if several gateways start at the same time."""

import asyncio
import json
from uuid import uuid4

import asyncpg
import pytest

from storage.database import Database
from storage.migrations import migrate, migrations
from storage.queries import training
from tests.storage import jobs


async def applied(url: str) -> list[tuple]:
    connection = await asyncpg.connect(url)
    rows = await connection.fetch("SELECT version, applied_at FROM schema_migrations ORDER BY version")
    await connection.close()
    return [tuple(row) for row in rows]


def test_numbers_have_no_gaps() -> None:
    assert sorted(migrations()) == list(range(1, len(migrations()) + 1))


async def test_a_second_run_changes_nothing(empty_database_url) -> None:
    await migrate(empty_database_url)
    before = await applied(empty_database_url)
    assert [version for version, _ in before] == sorted(migrations())
    await migrate(empty_database_url)
    assert await applied(empty_database_url) == before


async def test_older_jobs_keep_their_events_and_have_no_best_epoch(empty_database_url) -> None:
    connection = await asyncpg.connect(empty_database_url)
    await connection.execute(migrations()[1])
    await connection.execute(
        "CREATE TABLE schema_migrations"
        " (version integer PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now());"
        "INSERT INTO schema_migrations (version) VALUES (1)"
    )
    ids = [uuid4() for _ in range(3)]
    await connection.execute(
        "INSERT INTO datasets (id, tenant_id, name, description) VALUES ($1, 'default', '', '')", ids[0]
    )
    await connection.execute(
        "INSERT INTO annotation_sets (id, tenant_id, dataset_id, version) VALUES ($2, 'default', $1, 1)",
        *ids[:2],
    )
    await connection.execute(
        "INSERT INTO training_jobs"
        " (id, tenant_id, dataset_id, annotation_set_id, config, metadata, total_epochs)"
        " VALUES ($3, 'default', $1, $2, '{}', '{}', 20)",
        *ids,
    )
    statuses = ["PENDING", None, "QUEUED", "TRAINING", None]
    bodies = [
        {"status_changed": {"to": f"TRAINING_JOB_STATUS_{status}"}} if status else {"notice": {}}
        for status in statuses
    ]
    await connection.executemany(
        "INSERT INTO training_events (training_job_id, revision, attempt, body) VALUES ($1, $2, 1, $3)",
        [(ids[2], revision, json.dumps(body)) for revision, body in enumerate(bodies, start=1)],
    )
    await connection.close()
    await migrate(empty_database_url)
    async with Database(empty_database_url) as database, database.connection() as connection:
        job = await training.get(connection, "default", ids[2])
        log = await jobs.page(connection)
        statuses = await connection.fetch("SELECT status FROM training_events ORDER BY revision")
    assert (job.id, job.total_epochs, job.best_epoch) == (ids[2], 20, 0)
    assert [key for key, _ in log.entries] == [(0, ids[2], revision) for revision in range(1, 6)]
    assert [row["status"] for row in statuses] == ["pending", "pending", "queued", "training", "training"]


async def test_many_gateways_can_start_at_the_same_time(empty_database_url) -> None:
    await asyncio.gather(*(migrate(empty_database_url) for _ in range(8)))
    assert [version for version, _ in await applied(empty_database_url)] == sorted(migrations())


async def test_the_database_of_a_newer_program_is_not_changed(empty_database_url) -> None:
    await migrate(empty_database_url)
    connection = await asyncpg.connect(empty_database_url)
    await connection.execute("INSERT INTO schema_migrations (version) VALUES (9999)")
    await connection.close()
    with pytest.raises(RuntimeError, match=r"the database has migration 9999.*run a newer Earmark"):
        await migrate(empty_database_url)
