"""Applies the numbered migrations, which only go forward."""

from importlib.resources import files

import asyncpg
import structlog

from earmark.storage import urls
from earmark.storage.connecting import DatabaseSetupError, check_usable, connect_when_available
from earmark.storage.database import EVERY_TENANT, SERVICE_ROLE, TAKE_SERVICE_ROLE, OwnConnection

_MIGRATION_LOCK = 0x6561726D  # "earm"
# The backend that has the lock, which a pooler may have left behind.
_LOCK_OWNER = """
    SELECT pid, application_name, backend_start FROM pg_locks JOIN pg_stat_activity USING (pid)
    WHERE locktype = 'advisory' AND classid = 0 AND objid = $1::int AND granted
"""
_TABLES_WITHOUT_RIGHTS = """
    SELECT string_agg(relname, ', ') FROM pg_class
    WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r' AND NOT (
        has_table_privilege(oid, 'SELECT') AND has_table_privilege(oid, 'INSERT')
        AND has_table_privilege(oid, 'DELETE')
        -- Nobody may change the entries of the audit log.
        AND (has_table_privilege(oid, 'UPDATE') OR relname = 'audit_entries')
    )
"""
_BYPASSES = "SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = session_user"
# A role belongs to the whole server: a gateway on another of its databases may just have made it.
_MAKE_SERVICE_ROLE = """
    DO $$ BEGIN
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{SERVICE_ROLE}') THEN
            CREATE ROLE {SERVICE_ROLE} NOLOGIN;
            IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
                GRANT {SERVICE_ROLE} TO CURRENT_USER;
            END IF;
        END IF;
    EXCEPTION WHEN unique_violation OR duplicate_object THEN NULL;
    END $$;
    DO $$ BEGIN
        IF NOT (has_schema_privilege('{SERVICE_ROLE}', current_schema(), 'CREATE')
                AND has_schema_privilege('{SERVICE_ROLE}', current_schema(), 'USAGE')) THEN
            EXECUTE format('GRANT USAGE, CREATE ON SCHEMA %I TO {SERVICE_ROLE}', current_schema());
        END IF;
    END $$;
""".replace("{SERVICE_ROLE}", SERVICE_ROLE)

log = structlog.get_logger(__name__)


async def migrate(url: str, patience_seconds: float = 60.0) -> None:
    """Brings the database up to date. Several gateways may call this at once: each migration runs once.

    Waits up to `patience_seconds` for an unreachable database. Raises DatabaseSetupError if it remains
    unreachable, refuses the connection, cannot be used, or has a newer schema than this program.
    """
    connection = await connect_when_available(url, patience_seconds)
    try:
        await check_usable(url, connection)
        # The lock ends with the transaction, so that it cannot stay on the connection of a pooler.
        async with connection.transaction():
            await _lock(connection)
            await _become_bound(connection)
            await _apply_missing(connection)
            await _check_rights(url, connection)
    except (asyncpg.InsufficientPrivilegeError, asyncpg.InvalidSchemaNameError) as error:
        raise DatabaseSetupError(
            f"{urls.describe(url)} does not let this user create tables: {error}. Run GRANT USAGE, CREATE ON"
            " SCHEMA public TO this user, or let one who may create tables start a gateway once"
        ) from error
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        raise DatabaseSetupError(f"{urls.describe(url)} cannot be brought up to date: {error!r}") from error
    finally:
        await connection.close()


async def _lock(connection: OwnConnection) -> None:
    if await connection.fetchval(f"SELECT pg_try_advisory_xact_lock({_MIGRATION_LOCK})"):
        return
    for pid, application, since in await connection.fetch(_LOCK_OWNER, _MIGRATION_LOCK):
        log.warning(
            "waiting for another gateway to bring the database up to date",
            backend=pid,
            application=application,
            connected_since=since.isoformat(),
        )
    await connection.execute(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})")


async def _become_bound(connection: OwnConnection) -> None:
    """Takes a role that row-level security binds, for this transaction, unless the login is such a role.

    It then owns what the migrations make: PostgreSQL checks what a view reads as the view's owner.
    """
    if await connection.fetchval(_BYPASSES):
        await connection.execute(_MAKE_SERVICE_ROLE)
        await connection.execute(TAKE_SERVICE_ROLE.replace("false", "true"))
    await connection.execute("SELECT set_config('earmark.tenant', $1, true)", EVERY_TENANT)


async def _apply_missing(connection: OwnConnection) -> None:
    # IF NOT EXISTS would need the right to create tables even if this one exists.
    if await connection.fetchval("SELECT to_regclass('schema_migrations') IS NULL"):
        await connection.execute(
            "CREATE TABLE schema_migrations"
            " (version integer PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())"
        )
    applied = {row["version"] for row in await connection.fetch("SELECT version FROM schema_migrations")}
    known = migrations()
    if newer := applied - known.keys():
        raise DatabaseSetupError(
            f"the database has migration {max(newer)}, this program knows {max(known)}: run a newer Earmark"
        )
    for version in sorted(known.keys() - applied):
        await connection.execute(known[version])
        await connection.execute("INSERT INTO schema_migrations (version) VALUES ($1)", version)


async def _check_rights(url: str, connection: OwnConnection) -> None:
    if not await connection.fetchval("SELECT row_security_active('datasets')"):
        raise DatabaseSetupError(
            f"{urls.describe(url)}: row-level security does not bind this user, so that nothing but the"
            f" program would keep tenants apart. Run GRANT {SERVICE_ROLE} TO this user, or ALTER ROLE"
            " this user NOBYPASSRLS"
        )
    if tables := await connection.fetchval(_TABLES_WITHOUT_RIGHTS):
        raise DatabaseSetupError(
            f"{urls.describe(url)}: this user lacks rights on {tables}. Run GRANT SELECT, INSERT, UPDATE,"
            " DELETE ON ALL TABLES IN SCHEMA public TO this user"
        )


def migrations() -> dict[int, str]:
    """The text of each NNNN_*.sql in this folder, by its number."""
    folder = files("earmark.storage.migrations")
    return {int(file.name[:4]): file.read_text() for file in folder.iterdir() if file.name.endswith(".sql")}
