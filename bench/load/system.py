"""What is measured: one gateway process on an embedded PostgreSQL, and the bare server."""

import asyncio
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from storage.bus import Bus
from storage.database import Database
from storage.embedded import EmbeddedPostgres


@dataclass(frozen=True, slots=True)
class Server:
    """A process that listens."""

    address: str
    process: psutil.Process

    def rss(self) -> int:
        """Bytes of resident memory."""
        return self.process.memory_info().rss

    def cpu_seconds(self) -> float:
        """What it has used so far, of all cores."""
        times = self.process.cpu_times()
        return times.user + times.system


@dataclass(frozen=True, slots=True)
class System:
    """A gateway and the database below it. `bus` is another gateway's: it reaches this one by NOTIFY."""

    gateway: Server
    database: Database
    bus: Bus


@asynccontextmanager
async def system(**settings: str) -> AsyncIterator[System]:
    """One gateway on a PostgreSQL of its own. `settings` are the gateway's, as its environment names them."""
    with tempfile.TemporaryDirectory(prefix="earmark-load-") as folder:
        async with EmbeddedPostgres(Path(folder) / "postgres") as postgres:
            own = {"EARMARK_DATABASE_URL": postgres.dsn, "EARMARK_DATA_DIR": folder, "EARMARK_PORT": "0"}
            async with (
                server("gateway", environment={**own, "EARMARK_TRAINERS": "", **settings}) as gateway,
                Database(postgres.dsn) as database,
                Bus(database) as bus,
            ):
                yield System(gateway, database, bus)


@asynccontextmanager
async def server(
    module: str, *arguments: str, environment: Mapping[str, str] | None = None
) -> AsyncIterator[Server]:
    """`python -m module`, which says where it listens. Raises RuntimeError where it does not."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        module,
        *arguments,
        env={**os.environ, **(environment or {})},
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout
        line = (await process.stdout.readline()).decode()
        if " listening on " not in line:
            raise RuntimeError(f"{module} did not start: it said {line!r}")
        yield Server(line.split()[-1], psutil.Process(process.pid))
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
