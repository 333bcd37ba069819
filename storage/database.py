"""Connections to PostgreSQL: the pool, transactions, and the tenant whose rows a connection sees."""

import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from copy import copy
from dataclasses import dataclass
from typing import Any, Self, TypeAlias, cast

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from earmark.storage import urls

OwnConnection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Connection: TypeAlias = "OwnConnection | PoolConnectionProxy[asyncpg.Record]"

# What asyncpg raises when PostgreSQL is starting, stopping, out of connections, memory or disk, demoted to a
# standby, or gone, and after a deadlock or a lock timeout.
_FAILURES = (
    ConnectionError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.InternalClientError,
    asyncpg.TransactionRollbackError,
    asyncpg.LockNotAvailableError,
    asyncpg.ReadOnlySQLTransactionError,
)
# What it raises when it cannot open a connection. A running service may see any refusal for a moment, while a
# server is restored or a password is changed.
CONNECT_ERRORS = (asyncpg.PostgresError, asyncpg.InternalClientError, asyncpg.InterfaceError, OSError)
# What PostgreSQL raises for the character NUL, which it cannot store in text or JSON.
NUL_IN_TEXT = (asyncpg.CharacterNotInRepertoireError, asyncpg.UntranslatableCharacterError)
APPLICATION = "earmark"
# How long to wait for a free connection or a new one, and for the answer to a statement.
ACQUIRE_SECONDS = 5.0
COMMAND_SECONDS = 30.0
# Set after connecting, because PgBouncer refuses them in the startup message.
_SESSION_SETTINGS = {
    "statement_timeout": "30s",
    # A gateway that is suspended in the middle of a transaction keeps its locks for at most this long.
    "idle_in_transaction_session_timeout": "10s",
    "lock_timeout": "10s",
}


# The tenant of connections for the gateway's own work, which sees the rows of all. It is the id of no tenant.
EVERY_TENANT = "*"
# The role for a login that row-level security does not bind, such as the superuser of the embedded server.
# The migrations make it, and everything that they make belongs to it.
SERVICE_ROLE = "earmark_service"
# Takes that role if the login needs it.
TAKE_SERVICE_ROLE = """
    SELECT set_config('role', service.rolname, false) FROM pg_roles login, pg_roles service
    WHERE login.rolname = session_user AND (login.rolsuper OR login.rolbypassrls)
        AND service.rolname = '{SERVICE_ROLE}'
""".replace("{SERVICE_ROLE}", SERVICE_ROLE)


class DatabaseUnavailableError(Exception):
    """PostgreSQL cannot be reached now, refuses the login, or gave up the transaction; trying again helps."""


def every_tenant() -> str:
    """The tenant of a database for the gateway's own work."""
    return EVERY_TENANT


class TenantConnection(asyncpg.Connection):  # type: ignore[misc]  # asyncpg has no types
    """A connection that sees the rows of one tenant, or of all. The policies of the tables enforce it."""

    __slots__ = ("_tenant",)

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._tenant: str | None = None

    async def see_rows_of(self, tenant: str) -> None:
        """From now on, only this tenant's rows exist for the connection. Not within a transaction."""
        if self._tenant == tenant:
            return
        # If this is cancelled, nobody knows which tenant it is.
        self._tenant = None
        await self.execute("SELECT set_config('earmark.tenant', $1, false)", tenant)
        self._tenant = tenant


async def see_rows_of(connection: Connection, tenant: str) -> None:
    """From now on, only this tenant's rows exist for the pool's connection. Not within a transaction."""
    await cast("TenantConnection", connection).see_rows_of(tenant)


@dataclass(frozen=True, slots=True)
class PoolUse:
    """Connections of a pool, and how many pieces of work wait for one. `limit`: how many there may be."""

    limit: int
    used: int
    idle: int
    waiting: int


@dataclass(slots=True)
class _Waiting:
    count: int = 0


class Database:
    """A pool of connections to one database. They see the rows of all tenants, or those of one."""

    def __init__(self, dsn: str, *, pool_size: int = 10, tenant: Callable[[], str] = every_tenant) -> None:
        """`tenant`: whose rows a connection sees; it is asked when one is handed over."""
        self.dsn = dsn
        self._pool_size = pool_size
        # Of all who share the pool.
        self._waiting = _Waiting()
        self.tenant = tenant

    def seen_by(self, tenant: Callable[[], str]) -> "Database":
        """The same pool, once it is open, for connections that see the rows of another tenant."""
        other = copy(self)
        other.tenant = tenant
        return other

    def use(self) -> PoolUse:
        """The pool as it is now, with all who share it."""
        idle = self._pool.get_idle_size()
        return PoolUse(self._pool_size, self._pool.get_size() - idle, idle, self._waiting.count)

    async def __aenter__(self) -> Self:
        """Raises DatabaseUnavailableError."""
        try:
            self._pool = await asyncpg.create_pool(
                self.dsn,
                min_size=1,
                max_size=self._pool_size,
                init=_prepare,
                connection_class=TenantConnection,
                reset=_skip_reset,
                server_settings={"application_name": APPLICATION},
                command_timeout=COMMAND_SECONDS,
                timeout=ACQUIRE_SECONDS,
            )
        except CONNECT_ERRORS as error:
            raise self._unavailable(error) from error
        return self

    async def __aexit__(self, *_: object) -> None:
        # Queries that still run may be cut off: their callers were asked to stop before.
        self._pool.terminate()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection in autocommit mode. Raises DatabaseUnavailableError."""
        tenant = self.tenant()
        self._waiting.count += 1
        try:
            connection = await self._pool.acquire(timeout=ACQUIRE_SECONDS)
        except CONNECT_ERRORS as error:
            raise self._unavailable(error) from error
        finally:
            self._waiting.count -= 1
        try:
            with _wrapped():
                # Mostly it was the last one's, too, which costs nothing.
                await see_rows_of(connection, tenant)
                yield connection
        except DatabaseUnavailableError as error:
            if isinstance(error.__cause__, asyncpg.ReadOnlySQLTransactionError):
                # The server has become a standby. New connections find the current primary.
                await self._pool.expire_connections()
            raise
        finally:
            with suppress(*_FAILURES):
                await self._pool.release(connection)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A connection in a transaction: commits at the end of the block, rolls back on an exception."""
        async with self.connection() as connection, connection.transaction():
            yield connection

    @asynccontextmanager
    async def undone(self) -> AsyncIterator[Connection]:
        """A connection in a transaction that is rolled back in any case: to find out what would happen."""
        async with self.connection() as connection:
            transaction = connection.transaction()
            await transaction.start()
            try:
                yield connection
            finally:
                await transaction.rollback()

    @asynccontextmanager
    async def own_connection(self) -> AsyncIterator[OwnConnection]:
        """A connection outside the pool, for LISTEN. Raises DatabaseUnavailableError."""
        try:
            connection = await asyncpg.connect(self.dsn, timeout=ACQUIRE_SECONDS)
        except CONNECT_ERRORS as error:
            raise self._unavailable(error) from error
        try:
            with _wrapped():
                yield connection
        finally:
            with suppress(*CONNECT_ERRORS):
                await connection.close(timeout=1)

    def _unavailable(self, error: BaseException) -> DatabaseUnavailableError:
        return DatabaseUnavailableError(f"{urls.describe(self.dsn)}: {_in_words(error)}")


@contextmanager
def _wrapped() -> Iterator[None]:
    """Raises DatabaseUnavailableError for what asyncpg raises when a connection is lost or cannot go on."""
    try:
        yield
    except _FAILURES as error:
        raise DatabaseUnavailableError(_in_words(error)) from error
    except asyncpg.InterfaceError as error:
        # asyncpg raises InterfaceError both for a lost connection and for a programming error here. A lost
        # one goes back to the pool as soon as its loss is noticed.
        if "closed" in str(error) or "released back to the pool" in str(error):
            raise DatabaseUnavailableError(_in_words(error)) from error
        raise


def _in_words(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


async def _prepare(connection: OwnConnection) -> None:
    """Sets the session's role and timeouts, and the codec of jsonb."""
    settings = [f"SET {name} = '{value}'" for name, value in _SESSION_SETTINGS.items()]
    await connection.execute("; ".join([TAKE_SERVICE_ROLE, *settings]))
    await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=json.dumps, decoder=json.loads)


async def _skip_reset(_: OwnConnection) -> None:
    """Skips asyncpg's reset, which costs a round trip: what changes in a session is the tenant only."""
