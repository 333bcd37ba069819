"""The processes: PostgreSQL, a gateway, and two trainers, so that a job of the abuser leaves a slot free."""

import asyncio
import os
import secrets
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.load.system import Server, server
from earmark.storage.bus import Bus
from earmark.storage.database import Database
from earmark.storage.embedded import EmbeddedPostgres

TRAINERS = 2
# Nothing here outlives the run, and the disk of the machine is not what is measured.
FAST = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off", "max_wal_size": "8GB"}
# Of each trainer. Each decodes one long file at a time.
SCRATCH_MB = 2048


@dataclass(frozen=True, slots=True)
class System:
    """`bus` stands for another gateway's. `folder` has a folder for each service, with its scratch files."""

    gateway: Server
    trainers: tuple[Server, ...]
    database: Database
    bus: Bus
    folder: Path

    def data_dir(self, service: str) -> Path:
        """The EARMARK_DATA_DIR of a service."""
        return self.folder / service


@asynccontextmanager
async def running() -> AsyncIterator[System]:
    """Starts everything, with all limits at their defaults but SCRATCH_MB."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="earmark-neighbour-")))
        log = stack.enter_context((folder / "log").open("wb"))
        postgres = await stack.enter_async_context(EmbeddedPostgres(folder / "postgres", settings=FAST))
        store = {
            "EARMARK_OBJECT_STORE": str(folder / "objects"),
            "EARMARK_TRAINER_SECRET": secrets.token_hex(),
        }
        trainer = store | {
            "EARMARK_DATA_DIR": str(folder / "trainer"),
            "EARMARK_TRAINER_PORT": "0",
            "EARMARK_NETWORK": "tiny",
            "EARMARK_AUDIO_PROCESSES": "1",
            "EARMARK_AUDIO_SCRATCH_MB": str(SCRATCH_MB),
            "JAX_COMPILATION_CACHE_DIR": os.environ.get(
                "JAX_COMPILATION_CACHE_DIR", str(folder / "compiled")
            ),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1",
        }
        # The second trainer finds compiled what the first has compiled.
        trainers = [
            await stack.enter_async_context(server("earmark.trainer", environment=trainer, log=log))
            for _ in range(TRAINERS)
        ]
        gateway = store | {
            "EARMARK_DATA_DIR": str(folder / "gateway"),
            "EARMARK_DATABASE_URL": postgres.dsn,
            "EARMARK_PORT": "0",
            "EARMARK_TRAINERS": ",".join(each.address for each in trainers),
        }
        measured = await stack.enter_async_context(server("earmark.gateway", environment=gateway, log=log))
        database = await stack.enter_async_context(Database(postgres.dsn))
        bus = await stack.enter_async_context(Bus(database))
        yield System(measured, tuple(trainers), database, bus, folder)


async def vacuum(database: Database) -> None:
    """Otherwise autovacuum would do this in the middle of a measurement."""
    async with asyncio.timeout(120), database.connection() as connection:
        await connection.execute("VACUUM ANALYZE")
