"""PostgreSQL: the pool, transactions, and the numbered migrations."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Self, TypeAlias

import asyncpg
import structlog
from asyncpg.pool import PoolConnectionProxy

from storage import sql

SQL = sql.load("events")

OwnConnection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Connection: TypeAlias = "OwnConnection | PoolConnectionProxy[asyncpg.Record]"

log = structlog.get_logger(__name__)

# What asyncpg raises while PostgreSQL is away, starting, stopping, out of connections, a standby by now, or
# too busy: after a deadlock or a wait for a lock that took too long.
UNAVAILABLE = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.InternalClientError,
    asyncpg.TransactionRollbackError,
    asyncpg.LockNotAvailableError,
    asyncpg.ReadOnlySQLTransactionError,
)
# What PostgreSQL says of the character NUL in a text or a JSON document, which cannot hold it.
NUL_IN_TEXT = (asyncpg.CharacterNotInRepertoireError, asyncpg.UntranslatableCharacterError)
_MIGRATION_LOCK = 0x6561726D  # "earm"
CONNECT_SECONDS = 5.0
RETRY_SECONDS = 1.0
_SERVER_SETTINGS = {
    "application_name": "earmark",
    "statement_timeout": "30s",
    # A gateway that is stopped in the middle of a transaction holds its locks for as long.
    "idle_in_transaction_session_timeout": "10s",
    "lock_timeout": "10s",
}


class Database:
    """A pool of connections to one database."""

    def __init__(self, dsn: str, *, pool_size: int = 10, acquire_timeout: float = 5.0) -> None:
        """`acquire_timeout`: seconds to wait for a free connection."""
        self.dsn = dsn
        self._pool_size = pool_size
        self._acquire_timeout = acquire_timeout

    async def __aenter__(self) -> Self:
        self._pool = await asyncpg.create_pool(
            self.dsn,
            min_size=1,
            max_size=self._pool_size,
            init=_set_codecs,
            reset=_keep_session,
            server_settings=_SERVER_SETTINGS,
            command_timeout=30,
            timeout=self._acquire_timeout,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        # Ours to end: whoever still waits for a row has been told to stop before.
        self._pool.terminate()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection in autocommit. Raises one of UNAVAILABLE."""
        try:
            async with self._pool.acquire(timeout=self._acquire_timeout) as connection:
                yield connection
        except asyncpg.ReadOnlySQLTransactionError:
            # The server has become a standby: whoever is the primary now is found by connecting anew.
            await self._pool.expire_connections()
            raise
        except asyncpg.InterfaceError as error:
            # asyncpg says so both of a connection that was lost and of a wrong call of ours.
            if "closed" in str(error):
                raise asyncpg.ConnectionDoesNotExistError(str(error)) from error
            raise

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A connection in a transaction: committed at the end of the block, rolled back by an exception."""
        async with self.connection() as connection, connection.transaction():
            yield connection

    async def connect(self) -> OwnConnection:
        """A connection of its own, outside the pool, to LISTEN on."""
        return await asyncpg.connect(self.dsn, timeout=self._acquire_timeout)


async def _set_codecs(connection: OwnConnection) -> None:
    await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=json.dumps, decoder=json.loads)


async def _keep_session(_: OwnConnection) -> None:
    """Nothing here changes a session, so a connection goes back to the pool without another round trip."""


async def migrate(dsn: str, patience_seconds: float = 60.0) -> None:
    """Brings the database up to date, once, whoever else tries at the same time.

    Waits for a database that is away. Raises OSError where it stays away or lets nobody in, and RuntimeError
    where it is newer than this program.
    """
    connection = await _patiently_connected(dsn, patience_seconds)
    try:
        await connection.execute(f"SELECT pg_advisory_lock({_MIGRATION_LOCK})")
        await _apply_missing(connection)
        await _renew_restored_log(connection)
    finally:
        await connection.close()


async def _patiently_connected(dsn: str, patience_seconds: float) -> OwnConnection:
    deadline = asyncio.get_running_loop().time() + patience_seconds
    while True:
        try:
            return await asyncpg.connect(dsn, timeout=CONNECT_SECONDS)
        except UNAVAILABLE as error:
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


async def _renew_restored_log(connection: OwnConnection) -> None:
    """Restored into another cluster, a log has keys that the transaction ids there are yet to reach."""
    async with connection.transaction():
        if await connection.fetchval(SQL["is_restored"]):
            await connection.execute(SQL["renew_events"])
            await connection.execute(SQL["renew_compactions"])
            await connection.execute(SQL["renew_era"])


def migrations() -> dict[int, str]:
    """The statements of storage/migrations/NNNN_*.sql by number."""
    folder = files("storage") / "migrations"
    return {int(file.name[:4]): file.read_text() for file in folder.iterdir() if file.name.endswith(".sql")}
