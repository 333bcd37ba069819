"""The first connection to the database: waits until it answers, and says in words why it cannot be used."""

import asyncio
import socket

import asyncpg
import structlog

from earmark.storage import urls
from earmark.storage.database import APPLICATION, CONNECT_ERRORS, OwnConnection

CONNECT_SECONDS = 5.0
RETRY_SECONDS = 1.0
# Waiting does not help against these. PgBouncer reports an unknown user or database as a protocol violation.
_REFUSED = (
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.ProtocolViolationError,
    asyncpg.InsufficientPrivilegeError,
    asyncpg.ClientConfigurationError,
    ValueError,
)

log = structlog.get_logger(__name__)


class DatabaseSetupError(Exception):
    """The database cannot be used. The message says what was found and what to do."""


async def connect_when_available(url: str, patience_seconds: float) -> OwnConnection:
    """Connects, and waits up to `patience_seconds` for a database that does not answer.

    Raises DatabaseSetupError. The connection can be used through a pooler in transaction mode, as long as
    every statement is in a transaction.
    """
    where, logged = urls.describe(url), ""
    deadline = asyncio.get_running_loop().time() + patience_seconds
    while True:
        try:
            return await _connect(url)
        except _REFUSED as error:
            raise DatabaseSetupError(
                f"{where} refuses the connection: {_reason(error)}. {_remedy(error)}"
            ) from error
        except CONNECT_ERRORS as error:
            problem = f"{where} does not answer: {_reason(error)}"
            if asyncio.get_running_loop().time() >= deadline:
                raise DatabaseSetupError(
                    f"{problem}. Check that it runs, and that EARMARK_DATABASE_URL has its host and port"
                ) from error
        if problem != logged:
            log.warning("database unavailable; trying again", error=problem, seconds=patience_seconds)
            logged = problem
        await asyncio.sleep(RETRY_SECONDS)


async def check_usable(url: str, connection: OwnConnection) -> None:
    """Raises DatabaseSetupError if the database is read-only or a pooler in transaction mode."""
    async with connection.transaction():
        is_read_only = await connection.fetchval("SELECT current_setting('transaction_read_only')::boolean")
    if is_read_only:
        raise DatabaseSetupError(
            f"{urls.describe(url)} is read-only: name the primary in EARMARK_DATABASE_URL. Of several hosts,"
            " ?target_session_attrs=read-write chooses the primary"
        )
    if await _changes_sessions(url, connection):
        raise DatabaseSetupError(
            f"{urls.describe(url)} is a pooler in transaction mode, which supports neither LISTEN nor"
            " prepared statements: set pool_mode=session for this database, or name PostgreSQL itself in"
            " EARMARK_DATABASE_URL"
        )


async def _connect(url: str) -> OwnConnection:
    return await asyncpg.connect(
        url,
        timeout=CONNECT_SECONDS,
        statement_cache_size=0,
        server_settings={"application_name": APPLICATION},
    )


async def _changes_sessions(url: str, connection: OwnConnection) -> bool:
    """Whether two connections to a pooler share a session, or one of them gets another one."""
    first = await _backend(connection)
    if first == connection.get_server_pid():
        return False  # no pooler is in between
    other = await _connect(url)
    try:
        async with other.transaction():
            if await other.fetchval("SELECT pg_backend_pid()") == first:
                return True
            # In transaction mode, the session of `other` is the only one that `connection` cannot get now.
            return await _backend(connection) != first
    finally:
        await other.close()


async def _backend(connection: OwnConnection) -> int:
    async with connection.transaction():
        pid: int = await connection.fetchval("SELECT pg_backend_pid()")
        return pid


def _reason(error: BaseException) -> str:
    if isinstance(error, socket.gaierror):
        return f"the host's name cannot be resolved ({error.strerror})"
    if isinstance(error, TimeoutError):
        return f"no reply within {CONNECT_SECONDS:g} s"
    return " ".join(str(error).split()) or type(error).__name__


def _remedy(error: BaseException) -> str:
    if isinstance(error, asyncpg.InvalidCatalogNameError):
        return "Create the database, or correct its name in EARMARK_DATABASE_URL"
    if isinstance(error, asyncpg.InvalidAuthorizationSpecificationError):
        return "Check the user and the password in EARMARK_DATABASE_URL, and the server's pg_hba.conf"
    return "Check EARMARK_DATABASE_URL"
