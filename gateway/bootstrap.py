"""`python -m earmark.gateway.bootstrap`: makes an API key with the scope ADMIN, and prints it.

It works on the database, beside a gateway that runs or without one: who may do that needs no key.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from uuid import UUID

from pydantic import Field
from pydantic_settings import CliImplicitFlag
from uuid_utils.compat import uuid7

from earmark.configuration import SettingsError, read
from earmark.gateway.api_key import generate
from earmark.gateway.caller import DEFAULT_TENANT
from earmark.gateway.settings import GatewaySettings
from earmark.storage import bus
from earmark.storage.connecting import DatabaseSetupError
from earmark.storage.database import Database, DatabaseUnavailableError
from earmark.storage.embedded import DataDirectoryInUseError, EmbeddedPostgres, EmbeddedPostgresError
from earmark.storage.migrations import migrate
from earmark.storage.queries import api_keys, audit_entries

_CANNOT = (SettingsError, DatabaseSetupError, DatabaseUnavailableError, EmbeddedPostgresError)


class BootstrapSettings(GatewaySettings):
    """The gateway's settings, of which those of the database count."""

    if_none: CliImplicitFlag[bool] = Field(default=False, description="Make no key if there was one ever.")
    name: str = Field("operator", min_length=1, max_length=100, description="The key's name.")


async def bootstrap(settings: BootstrapSettings) -> str | None:
    """Makes the key and returns its text; None if there is one already and none is to be made.

    Raises DatabaseSetupError, DatabaseUnavailableError and EmbeddedPostgresError.
    """
    async with _server(settings) as url:
        await migrate(url)
        async with Database(url, pool_size=1) as database:
            async with database.transaction() as connection:
                await api_keys.lock(connection)
                if settings.if_none and await api_keys.any_key(connection):
                    return None
                text, secret = generate()
                key = (uuid7(), secret.lookup, secret.sha256)
                await api_keys.create(connection, key, DEFAULT_TENANT, settings.name, ["admin"], None)
                await audit_entries.add(connection, [_entry(key[0])])
            async with database.own_connection() as connection:
                # Gateways that run demand keys from now on.
                await bus.notify(connection, [api_keys.TOPIC])
    return text


def _entry(key_id: UUID) -> audit_entries.NewEntry:
    """Who reaches the database is known by the database only."""
    return audit_entries.NewEntry(
        id=uuid7(),
        request_id=uuid7(),
        seconds=0.0,
        tenant=DEFAULT_TENANT,
        api_key_id=None,
        caller="",
        address="",
        rpc="earmark keys bootstrap",
        ids=[("api_key_id", str(key_id))],
        code="OK",
        reason="",
    )


@asynccontextmanager
async def _server(settings: GatewaySettings) -> AsyncIterator[str]:
    """The database's URL. The embedded server is that of a gateway if one runs, otherwise it runs inside."""
    if settings.database_url:
        yield settings.database_url
        return
    postgres = EmbeddedPostgres(settings.data_dir / "postgres")
    async with AsyncExitStack() as stack:
        with suppress(DataDirectoryInUseError):
            await stack.enter_async_context(postgres)
        yield postgres.dsn


def main() -> None:
    """Exits with status 1 and a line per problem if it cannot make the key."""
    try:
        key = asyncio.run(bootstrap(read(BootstrapSettings)))
    except _CANNOT as error:
        sys.exit(str(error))
    if key is not None:
        print(key)  # noqa: T201 - this is what it is run for
        sys.stderr.write(
            "This API key manages tenants and keys; nobody can read it again. It opens no tenant's data: make"
            " keys for that with `earmark keys create`, with this one in EARMARK_API_KEY.\n"
        )


if __name__ == "__main__":
    main()
