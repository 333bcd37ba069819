"""PostgreSQL accepts every query of storage/queries on the current tables, and each query is used."""

from pathlib import Path

import asyncpg
import pytest

from earmark import storage
from earmark.storage import sql

FILES = sorted(path for path in (Path(storage.__file__).parent / "queries").glob("*.sql"))
# The statements that several kinds of jobs share.
KINDS = {
    "jobs": ({"kind": "training", "running": "training"}, {"kind": "detection", "running": "processing"})
}


async def test_every_query_can_be_prepared(database_url) -> None:
    connection = await asyncpg.connect(database_url)
    failed = {}
    for file in FILES:
        for replaced in KINDS.get(file.stem, ({},)):
            for name, statement in sql.load(file.stem, **replaced).items():
                try:
                    await connection.prepare(statement)
                except asyncpg.PostgresError as error:
                    failed[f"{file.name}: {name}"] = str(error)
    await connection.close()
    assert failed == {}


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.stem)
def test_every_block_has_a_name_a_purpose_and_a_statement(file: Path) -> None:
    queries = sql.load(file.stem)
    assert len(queries) == file.read_text().count("-- name:")
    assert all(statement for statement in queries.values())


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.stem)
def test_every_query_is_used(file: Path) -> None:
    source = "".join(path.read_text() for path in Path(storage.__file__).parent.rglob("*.py"))
    assert [
        name
        for name in sql.load(file.stem)
        if f'{"_sql" if file.stem in KINDS else "SQL"}["{name}"]' not in source
    ] == []
