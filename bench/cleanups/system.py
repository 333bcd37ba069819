"""The processes: PostgreSQL, the gateway that is measured, and one that is killed again and again."""

import asyncio
import socket
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from bench.cleanups import clock
from bench.cleanups.trainer import StoringTrainer, serving
from bench.load.system import Server, server
from earmark.storage.database import Database
from earmark.storage.embedded import EmbeddedPostgres
from earmark.storage.objects import ObjectStore

GATEWAY = "bench.cleanups.gateway"
KILL_SECONDS = 20.0
PORTS = range(20_000, 20_100)  # below those that systems give to outgoing connections


@dataclass(frozen=True, slots=True)
class System:
    """`gateway` is measured. `addresses` are those of both gateways; `killing` runs the other one."""

    gateway: Server
    addresses: tuple[str, str]
    killing: asyncio.Task[None]
    trainer: StoringTrainer
    database: Database
    folder: Path

    @property
    def objects(self) -> Path:
        """The folder of the object store."""
        return self.folder / "objects"


@asynccontextmanager
async def system(seed: int) -> AsyncIterator[System]:
    """Starts everything in a folder for temporary files, which is removed at the end."""
    with tempfile.TemporaryDirectory(prefix="earmark-cleanups-") as name:
        folder = Path(name)
        objects = await asyncio.to_thread(ObjectStore.open(str(folder / "objects")).created)
        trainer, port = StoringTrainer(objects, seed), _free_port()
        async with EmbeddedPostgres(folder / "postgres") as postgres, serving(trainer) as address:
            environment = _environment(postgres.dsn, folder, address)
            with (folder / "gateways.log").open("wb") as log:
                async with (
                    server(GATEWAY, environment=environment, log=log) as gateway,
                    Database(postgres.dsn) as database,
                ):
                    killing = asyncio.create_task(
                        _kill_again_and_again({**environment, "EARMARK_PORT": str(port)}, log)
                    )
                    addresses = (gateway.address, f"127.0.0.1:{port}")
                    yield System(gateway, addresses, killing, trainer, database, folder)


def _environment(dsn: str, folder: Path, trainer: str) -> dict[str, str]:
    return {
        "EARMARK_DATABASE_URL": dsn,
        "EARMARK_DATA_DIR": str(folder),
        "EARMARK_PORT": "0",
        "EARMARK_TRAINERS": trainer,
        "EARMARK_MAX_WAITING_JOBS": "0",
        "EARMARK_RETRY_SECONDS": "0.01",
        "EARMARK_EVENT_RETENTION_DAYS": str(clock.RETENTION_DAYS),
    }


async def _kill_again_and_again(environment: Mapping[str, str], log: IO[bytes]) -> None:
    while True:
        async with server(GATEWAY, environment=environment, log=log) as gateway:
            await asyncio.sleep(KILL_SECONDS)
            gateway.process.kill()


def _free_port() -> int:
    """A port that no connection gets by chance while the gateway that listens there is killed and started."""
    for port in PORTS:
        with socket.socket() as listener, suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port
    raise RuntimeError(f"every port from {PORTS[0]} to {PORTS[-1]} is in use")
