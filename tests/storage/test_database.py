"""Connections that PostgreSQL ends while they are in use."""

import asyncio
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import pytest

from earmark.storage.database import Database, DatabaseUnavailableError


async def end(database_url: str, process_id: int) -> None:
    other = await asyncpg.connect(database_url)
    await other.execute("SELECT pg_terminate_backend($1)", process_id)
    await other.close()


async def answer(database: Database) -> int:
    async with database.connection() as connection:
        return await connection.fetchval("SELECT 1")


async def answer_after_its_end(database: Database, *, is_noticed: bool) -> None:
    async with database.connection() as connection:
        ended = asyncio.Event()
        connection.add_termination_listener(lambda _: ended.set())
        await end(database.dsn, await connection.fetchval("SELECT pg_backend_pid()"))
        if is_noticed:
            await ended.wait()
        await connection.fetchval("SELECT 1")


@pytest.mark.parametrize("is_noticed", [True, False])
async def test_a_connection_that_is_ended_between_two_statements_is_unavailable(
    database_url: str, *, is_noticed: bool
) -> None:
    async with Database(database_url) as database:
        with pytest.raises(DatabaseUnavailableError):
            await answer_after_its_end(database, is_noticed=is_noticed)
        assert await answer(database) == 1


@pytest.mark.parametrize(
    "refusal",
    [
        "ALTER DATABASE {database} ALLOW_CONNECTIONS false",
        "REVOKE CONNECT ON DATABASE {database} FROM PUBLIC",
        "ALTER ROLE {role} CONNECTION LIMIT 0",
        "ALTER ROLE {role} NOLOGIN",
    ],
)
async def test_a_server_that_refuses_a_connection_is_unavailable(
    server_url: str, database_url: str, refusal: str
) -> None:
    role, name = f"earmark_test_{uuid4().hex}", urlsplit(database_url).path.removeprefix("/")
    owner = await asyncpg.connect(server_url)
    await owner.execute(f"CREATE ROLE {role} LOGIN")
    url = urlsplit(database_url)._replace(netloc=f"{role}@").geturl()
    # The pool has one connection so far, so that the next caller needs a new one.
    async with Database(url) as database, database.connection():
        await owner.execute(refusal.format(database=name, role=role))
        with pytest.raises(DatabaseUnavailableError):
            await answer(database)
    await owner.execute(f"DROP ROLE {role}")
    await owner.close()


async def test_an_error_of_this_program_is_not_the_databases(database_url: str) -> None:
    async def ask(database: Database) -> None:
        async with database.connection() as connection:
            await connection.fetchval("SELECT $1::int")

    async with Database(database_url) as database:
        with pytest.raises(asyncpg.InterfaceError, match="argument"):
            await ask(database)
