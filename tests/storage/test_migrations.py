"""Each migration runs once and in order, even if several gateways start at the same time."""

import asyncio

import asyncpg
import pytest

from earmark.storage.connecting import DatabaseSetupError
from earmark.storage.migrations import migrate, migrations


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


async def test_many_gateways_can_start_at_the_same_time(empty_database_url) -> None:
    await asyncio.gather(*(migrate(empty_database_url) for _ in range(8)))
    assert [version for version, _ in await applied(empty_database_url)] == sorted(migrations())


async def test_the_database_of_a_newer_program_is_not_changed(empty_database_url) -> None:
    await migrate(empty_database_url)
    connection = await asyncpg.connect(empty_database_url)
    await connection.execute("INSERT INTO schema_migrations (version) VALUES (9999)")
    await connection.close()
    with pytest.raises(DatabaseSetupError, match=r"the database has migration 9999.*run a newer Earmark"):
        await migrate(empty_database_url)
