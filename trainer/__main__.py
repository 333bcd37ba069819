"""`python -m earmark.trainer`: serves until SIGTERM or Ctrl-C, then drains.

Prints one line on stdout, `trainer listening on HOST:PORT`.
"""

import asyncio
import signal
import sys

from earmark.configuration import SettingsError, read
from earmark.storage.objects import ObjectStoreError
from earmark.trainer.logs import configure_logging
from earmark.trainer.service.device import DeviceAbsentError, check_device
from earmark.trainer.service.server import CannotListenError, serve
from earmark.trainer.settings import TrainerSettings


def announce(address: str) -> None:
    """Prints the line that parent processes read to learn the address."""
    sys.stdout.write(f"trainer listening on {address}\n")
    sys.stdout.flush()


async def run(settings: TrainerSettings) -> None:
    """Serves until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await serve(settings, stop, announce)


def main() -> None:
    """Exits with status 0 after a signal, and with status 1 and a line per problem if it cannot start."""
    try:
        settings = read(TrainerSettings)
        configure_logging(settings.log_level)
        check_device(settings)
        asyncio.run(run(settings))
    except (SettingsError, CannotListenError, DeviceAbsentError, ObjectStoreError) as error:
        sys.exit("\n".join(f"trainer: {line}" for line in str(error).splitlines()))


if __name__ == "__main__":
    main()
