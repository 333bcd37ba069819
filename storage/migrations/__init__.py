"""Applies the numbered migrations, which only go forward."""

import asyncio
from importlib.resources import files

import asyncpg
import structlog

from earmark.storage.database import CONNECT_ERRORS, LOGIN_REFUSED, OwnConnection

_MIGRATION_LOCK = 0x6561726D  # "earm"
CONNECT_SECONDS = 5.0
RETRY_SECONDS = 1.0

log = structlog.get_logger(__name__)


async def migrate(dsn: str, patience_seconds: float = 60.0) -> None:
    """Brings the database up to date. Several gateways may call this at once: each migration runs once.

    Waits up to `patience_seconds` for an unreachable database. Raises OSError if it remains unreachable or
    refuses the connection, and RuntimeError if its schema is newer than this program.
    """
    connection = await _connect_when_available(dsn, patience_seconds)
    try:
        await connection.execute(f"SELECT pg_advisory_lock({_MIGRATION_LOCK})")
        await _apply_missing(connection)
    finally:
        await connection.close()


async def _connect_when_available(dsn: str, patience_seconds: float) -> OwnConnection:
    deadline = asyncio.get_running_loop().time() + patience_seconds
    while True:
        try:
            return await asyncpg.connect(dsn, timeout=CONNECT_SECONDS)
        except LOGIN_REFUSED as error:
            raise OSError(f"the database lets nobody in: {error}") from error
        except CONNECT_ERRORS as error:
            if asyncio.get_running_loop().time() > deadline:
                raise OSError(f"the database does not answer: {error!r}") from error
            log.warning("database unavailable; trying again", error=repr(error))
            await asyncio.sleep(RETRY_SECONDS)
        except (asyncpg.PostgresError, asyncpg.ClientConfigurationError) as error:
            raise OSError(f"the database lets nobody in: {error}") from error


async def _apply_missing(connection: OwnConnection) -> None:
    await connection.execute(
        "CREATE TABLE IF NOT EXISTS schema_migrations"
        " (version integer PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())"
    )
    applied = {row["version"] for row in await connection.fetch("SELECT version FROM schema_migrations")}
    known = migrations()
    if newer := applied - known.keys():
        raise RuntimeError(
            f"the database has migration {max(newer)}, this program knows {max(known)}: run a newer Earmark"
        )
    for version in sorted(known.keys() - applied):
        async with connection.transaction():
            await connection.execute(known[version])
            await connection.execute("INSERT INTO schema_migrations (version) VALUES ($1)", version)


def migrations() -> dict[int, str]:
    """The text of each NNNN_*.sql in this folder, by its number."""
    folder = files("earmark.storage.migrations")
    return {int(file.name[:4]): file.read_text() for file in folder.iterdir() if file.name.endswith(".sql")}
