"""PostgreSQL: the pool of connections, and transactions."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self, TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy

OwnConnection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Connection: TypeAlias = "OwnConnection | PoolConnectionProxy[asyncpg.Record]"

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
