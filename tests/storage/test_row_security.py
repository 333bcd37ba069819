"""The policies of the tables: a connection has the rows of its tenant only, whatever its query says."""

import asyncpg
import pytest
import pytest_asyncio

from earmark.storage.connecting import DatabaseSetupError
from earmark.storage.database import Database, see_rows_of
from earmark.storage.migrations import migrate
from tests.gateway.two_tenants import contents, stored_for, tenant_tables

VIEWS = (
    "annotation_set_details",
    "dataset_details",
    "detection_file_details",
    "detection_queue",
    "model_details",
    "training_job_details",
    "training_queue",
)
# What stored_for leaves empty, with the columns of a row.
FILLED = (
    """INSERT INTO requests (tenant_id, request_id, body_sha256) VALUES ($1, gen_random_uuid(), '')""",
    """INSERT INTO orphan_candidates (kind, tenant_id, id) VALUES ('recording', $1, gen_random_uuid())""",
    """INSERT INTO training_attempts (tenant_id, training_job_id, number, trainer)
       SELECT tenant_id, id, 1, '' FROM training_jobs WHERE tenant_id = $1""",
    """INSERT INTO detection_attempts (tenant_id, detection_job_id, number, trainer)
       SELECT tenant_id, id, 1, '' FROM detection_jobs WHERE tenant_id = $1""",
    """INSERT INTO model_detections (tenant_id, model_id, count, last_at)
       SELECT tenant_id, id, 1, now() FROM models WHERE tenant_id = $1""",
    """INSERT INTO tenants (id, display_name) VALUES ($1, '')""",
    """INSERT INTO tenant_quotas (tenant_id) VALUES ($1)""",
    """INSERT INTO detection_usage (tenant_id, audio_ms) VALUES ($1, 1)""",
    """INSERT INTO audio_turns (tenant_id, claimed_at) VALUES ($1, now())""",
    """INSERT INTO api_keys (id, tenant_id, name, lookup, sha256, scopes)
       VALUES (gen_random_uuid(), $1, '', $1, '', '{read}')""",
)


@pytest_asyncio.fixture
async def database(database_url):
    """With a row of each of two tenants in each table."""
    async with Database(database_url) as database:
        for tenant in ("one", "two"):
            await stored_for(database, tenant)
            async with database.connection() as connection:
                for statement in FILLED:
                    await connection.execute(statement, tenant)
        yield database


async def test_a_query_without_filter_has_no_foreign_row(database, database_url) -> None:
    before = await contents(database_url, "two")
    assert [table for table, rows in before.items() if not rows] == []
    async with database.seen_by(lambda: "one").connection() as connection:
        tables = await tenant_tables(connection)
        assert len(tables) >= 18
        for table in (*tables, *VIEWS):
            column = "tenant_id" if table != "detection_file_details" else "'one'"
            found = await connection.fetch(f"SELECT DISTINCT {column} AS tenant FROM {table}")
            assert {row["tenant"] for row in found} <= {"one"}, table
            assert found or table in ("detection_queue", "training_queue"), table
        assert await connection.fetchval("SELECT count(*) FROM tenants") == 1
        for table in tables:
            with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
                await connection.execute(f"UPDATE {table} SET tenant_id = 'two'")
        for table in ("events", "requests", "orphan_candidates", "detection_files", "annotations"):
            assert await connection.execute(f"DELETE FROM {table}") != "DELETE 0"
    assert await contents(database_url, "two") == before


async def test_the_files_of_a_foreign_job_are_not_seen_by_a_view(database) -> None:
    async with database.connection() as connection:
        job_id = await connection.fetchval("SELECT id FROM detection_jobs WHERE tenant_id = 'two'")
        query = "SELECT count(*) FROM detection_file_details WHERE detection_job_id = $1"
        assert await connection.fetchval(query, job_id) > 0
        await see_rows_of(connection, "one")
        assert await connection.fetchval(query, job_id) == 0


async def test_without_a_tenant_nothing_is_seen(database) -> None:
    async with database.connection() as connection:
        assert await connection.fetchval("SELECT count(*) FROM datasets") == 4
        await connection.execute("RESET earmark.tenant")
        for table in await tenant_tables(connection):
            assert await connection.fetchval(f"SELECT count(*) FROM {table}") == 0


@pytest.mark.usefixtures("database")
async def test_a_connection_changes_its_tenant_only_when_it_is_another(database_url) -> None:
    queries: list[str] = []
    async with Database(database_url, pool_size=1) as single:
        async with single.seen_by(lambda: "one").connection() as connection:
            connection.add_query_logger(lambda record: queries.append(record.query))
        for name in ("one", "one", "two", "two", "one"):
            async with single.seen_by(lambda name=name: name).connection() as connection:
                assert await connection.fetchval("SELECT min(tenant_id) FROM datasets") == name
    assert ["set_config" in query for query in queries].count(True) == 2


async def test_a_login_that_the_policies_do_not_bind_takes_a_role_that_they_do(
    database, database_url
) -> None:
    owner = await asyncpg.connect(database_url)
    assert await owner.fetchval("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
    assert not await owner.fetchval("SELECT row_security_active('datasets')")
    async with database.connection() as connection:
        assert await connection.fetchval("SELECT row_security_active('datasets')")
        assert await connection.fetchval("SELECT current_user") == "earmark_service"
    await owner.execute("ALTER TABLE datasets NO FORCE ROW LEVEL SECURITY")
    with pytest.raises(DatabaseSetupError, match="row-level security does not bind"):
        await migrate(database_url)
    await owner.close()
