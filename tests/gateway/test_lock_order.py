"""Two changes that lock the same rows lock them in the same order, so that neither is undone as a deadlock.

A dataset comes before its jobs, a job before its model, and a model before its aliases; rows of one table are
in the order of their ids.
"""

import asyncio

from earmark.storage.database import Connection, Database
from earmark.storage.queries import orphans
from earmark.storage.queries.orphans import FinishedJob
from earmark.v1.model_service_pb2 import DeleteModelRequest, SetModelAliasRequest
from earmark.v1.model_service_pb2_grpc import ModelServiceStub
from tests.gateway import scripted_trainer as script
from tests.gateway.jobs import build_one, create, gateway, summaries, until_epoch, watched
from tests.gateway.model_rows import one_model


async def test_the_deletion_of_a_model_locks_its_job_first(database_url, tmp_path) -> None:
    model_id = await one_model(database_url)
    async with gateway(database_url, tmp_path) as channel, Database(database_url) as database:
        async with database.transaction() as connection:
            await connection.execute("SELECT FROM training_jobs FOR UPDATE")
            request = DeleteModelRequest(model_id=model_id, force=True)
            deletion = asyncio.ensure_future(_done(ModelServiceStub(channel).DeleteModel(request)))
            await _until_one_waits(connection)
            await _lock(connection, "models")
        await deletion


async def test_the_end_of_a_job_locks_its_dataset_first(database_url, tmp_path) -> None:
    is_locked = asyncio.Event()

    async def waits(_call):
        yield script.accepted()
        yield script.epoch(1)
        await is_locked.wait()
        yield script.completed()

    built = await build_one(database_url)
    async with (
        script.serving(script.ScriptedTrainer(waits)) as address,
        gateway(database_url, tmp_path, address) as channel,
        Database(database_url) as database,
    ):
        job = await create(channel, built)
        await until_epoch(channel, job.id, 1)
        async with database.transaction() as connection:
            await connection.execute("SELECT FROM datasets FOR UPDATE")
            is_locked.set()
            await _until_one_waits(connection)
            await _lock(connection, "training_jobs")
        assert summaries(await watched(channel, job.id))[-1] == "completed"


async def test_the_move_of_an_alias_locks_the_model_first(database_url, tmp_path) -> None:
    first, second = [await one_model(database_url, active=True) for _ in range(2)]
    async with gateway(database_url, tmp_path) as channel, Database(database_url) as database:
        stub = ModelServiceStub(channel)
        alias = "calls@production"
        set_alias = SetModelAliasRequest(alias=alias, model_id=first)
        etag = (await stub.SetModelAlias(set_alias)).model_alias.etag
        async with database.transaction() as connection:
            await connection.execute("SELECT FROM models FOR UPDATE")
            request = SetModelAliasRequest(alias=alias, model_id=second, etag=etag)
            move = asyncio.ensure_future(_done(stub.SetModelAlias(request)))
            await _until_one_waits(connection)
            await _lock(connection, "model_aliases")
        await move


async def test_a_sweep_locks_jobs_in_the_order_of_their_ids(database_url) -> None:
    for _ in range(2):
        await one_model(database_url)
    async with Database(database_url) as database:
        async with database.connection() as connection:
            rows = await connection.fetch("SELECT id FROM training_jobs ORDER BY id")
            first, second = [row["id"] for row in rows]
            # The table is read in the order in which its rows were written last.
            await connection.execute("UPDATE training_jobs SET progress = 0.5 WHERE id = $1", first)
        async with database.transaction() as connection:
            await connection.execute("SELECT FROM training_jobs WHERE id = $1 FOR UPDATE", first)
            swept = [FinishedJob("default", job_id, 1, []) for job_id in (second, first)]
            sweep = asyncio.ensure_future(_mark_swept(database, swept))
            await _until_one_waits(connection)
            await _lock(connection, "training_jobs")
        await sweep


async def _mark_swept(database: Database, jobs: list[FinishedJob]) -> None:
    async with database.transaction() as connection:
        await orphans.mark_swept(connection, jobs)


async def _done(call) -> None:
    await call


async def _until_one_waits(connection: Connection) -> None:
    while not await connection.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
        pass


async def _lock(connection: Connection, table: str) -> None:
    """Locks its rows. Raises LockNotAvailableError, sooner than PostgreSQL looks for a deadlock."""
    await connection.execute("SET LOCAL lock_timeout = '500ms'")
    await connection.execute(f"SELECT FROM {table} FOR UPDATE")
