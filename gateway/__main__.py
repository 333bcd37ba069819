"""`python -m gateway`: runs the gateway until it is told to stop."""

import asyncio
import sys

import uvloop
from pydantic_settings import CliApp

from gateway import logs
from gateway.server import serve
from gateway.settings import Settings


def main() -> None:
    settings = CliApp.run(Settings)
    logs.configure()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(settings))
    except (OSError, RuntimeError) as error:
        sys.exit(f"gateway: {error}")


if __name__ == "__main__":
    main()
