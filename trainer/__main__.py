"""`python -m trainer`: serves until SIGTERM or Ctrl-C, then drains.

Prints one line, `trainer listening on HOST:PORT`.
"""

import asyncio
import signal
import sys

from pydantic import ValidationError
from pydantic_settings import CliApp

from trainer.logs import configure_logging
from trainer.service.front import CannotListenError, serve
from trainer.settings import TrainerSettings


def announce(address: str) -> None:
    """Parents read this line."""
    sys.stdout.write(f"trainer listening on {address}\n")
    sys.stdout.flush()


async def run(settings: TrainerSettings) -> None:
    """Until a signal."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await serve(settings, stop, announce)


def main() -> None:
    """Exits with status 0 when told to stop, another when it cannot start."""
    try:
        settings = CliApp.run(TrainerSettings)
    except ValidationError as error:
        sys.exit(str(error))
    configure_logging(settings.log_level)
    try:
        asyncio.run(run(settings))
    except CannotListenError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
