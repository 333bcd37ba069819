"""Connections to PostgreSQL: the connection pool and transactions."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self, TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy

OwnConnection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Connection: TypeAlias = "OwnConnection | PoolConnectionProxy[asyncpg.Record]"

# What asyncpg raises when PostgreSQL is unreachable, starting, stopping, out of connections or demoted to a
# standby, and after a deadlock or a lock timeout.
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
# What PostgreSQL raises for the character NUL, which it cannot store in text or JSON.
NUL_IN_TEXT = (asyncpg.CharacterNotInRepertoireError, asyncpg.UntranslatableCharacterError)
_SERVER_SETTINGS = {
    "application_name": "earmark",
    "statement_timeout": "30s",
    # A gateway that is suspended in the middle of a transaction keeps its locks for at most this long.
    "idle_in_transaction_session_timeout": "10s",
    "lock_timeout": "10s",
}


class Database:
    """A pool of connections to one database."""

    def __init__(self, dsn: str, *, pool_size: int = 10, acquire_timeout: float = 5.0) -> None:
        """`acquire_timeout`: seconds to wait for a free connection, and to connect."""
        self.dsn = dsn
        self._pool_size = pool_size
        self._acquire_timeout = acquire_timeout

    async def __aenter__(self) -> Self:
        self._pool = await asyncpg.create_pool(
            self.dsn,
            min_size=1,
            max_size=self._pool_size,
            init=_set_codecs,
            reset=_skip_reset,
            server_settings=_SERVER_SETTINGS,
            command_timeout=30,
            timeout=self._acquire_timeout,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        # Queries that still run may be cut off: their callers were asked to stop before.
        self._pool.terminate()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection in autocommit mode. Raises one of UNAVAILABLE."""
        try:
            async with self._pool.acquire(timeout=self._acquire_timeout) as connection:
                yield connection
        except asyncpg.ReadOnlySQLTransactionError:
            # The server has become a standby. New connections find the current primary.
            await self._pool.expire_connections()
            raise
        except asyncpg.InterfaceError as error:
            # asyncpg raises InterfaceError both for a lost connection and for a programming error here.
            if "closed" in str(error):
                raise asyncpg.ConnectionDoesNotExistError(str(error)) from error
            raise

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A connection in a transaction: commits at the end of the block, rolls back on an exception."""
        async with self.connection() as connection, connection.transaction():
            yield connection

    async def connect(self) -> OwnConnection:
        """Opens a connection outside the pool, for LISTEN."""
        return await asyncpg.connect(self.dsn, timeout=self._acquire_timeout)


async def _set_codecs(connection: OwnConnection) -> None:
    await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=json.dumps, decoder=json.loads)


async def _skip_reset(_: OwnConnection) -> None:
    """Skips asyncpg's reset, which costs a round trip: no code here changes session state."""
