"""`python -m earmark.gateway`: runs the gateway until it receives SIGTERM or SIGINT."""

import asyncio
import sys

import uvloop
from pydantic import ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import CliApp

from earmark.gateway import logs
from earmark.gateway.server import serve
from earmark.gateway.settings import GatewaySettings
from earmark.storage.objects import ObjectStoreError


def main() -> None:
    try:
        settings = CliApp.run(GatewaySettings)
    except ValidationError as error:
        sys.exit("\n".join(f"gateway: {described(problem)}" for problem in error.errors()))
    logs.configure()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(settings))
    except (OSError, RuntimeError, ObjectStoreError) as error:
        sys.exit(f"gateway: {error}")


def described(problem: ErrorDetails) -> str:
    """A line about an invalid setting: the environment variable, its value and what is wrong with it."""
    name = f"{GatewaySettings.model_config['env_prefix']}{'.'.join(map(str, problem['loc']))}".upper()
    return f"{name} is {problem['input']!r}: {problem['msg'].removeprefix('Value error, ')}"


if __name__ == "__main__":
    main()
