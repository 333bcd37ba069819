"""`python -m gateway`: runs the gateway until it is told to stop."""

import asyncio
import sys

import uvloop
from pydantic import ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import CliApp

from gateway import logs
from gateway.server import serve
from gateway.settings import GatewaySettings


def main() -> None:
    try:
        settings = CliApp.run(GatewaySettings)
    except ValidationError as error:
        sys.exit("\n".join(f"gateway: {told(found)}" for found in error.errors()))
    logs.configure()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(settings))
    except (OSError, RuntimeError) as error:
        sys.exit(f"gateway: {error}")


def told(found: ErrorDetails) -> str:
    """What is wrong with a setting, by its name."""
    name = f"{GatewaySettings.model_config['env_prefix']}{'.'.join(map(str, found['loc']))}".upper()
    return f"{name} is {found['input']!r}: {found['msg'].removeprefix('Value error, ')}"


if __name__ == "__main__":
    main()
