"""`python -m earmark.gateway`: runs the gateway until it receives SIGTERM or SIGINT."""

import asyncio
import sys

import uvloop

from earmark.configuration import SettingsError, read
from earmark.gateway import logs
from earmark.gateway.server import CannotListenError, serve
from earmark.gateway.settings import GatewaySettings
from earmark.storage.connecting import DatabaseSetupError
from earmark.storage.database import DatabaseUnavailableError
from earmark.storage.embedded import EmbeddedPostgresError
from earmark.storage.objects import ObjectStoreError

# Their messages say what was found and what to do. Anything else is a bug and needs its traceback.
CANNOT_START = (
    SettingsError,
    CannotListenError,
    DatabaseSetupError,
    DatabaseUnavailableError,
    EmbeddedPostgresError,
    ObjectStoreError,
)


def main() -> None:
    """Exits with status 0 after a signal, and with status 1 and a line per problem if it cannot start."""
    try:
        settings = read(GatewaySettings)
        logs.configure()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(settings))
    except CANNOT_START as error:
        sys.exit("\n".join(f"gateway: {line}" for line in str(error).splitlines()))


if __name__ == "__main__":
    main()
