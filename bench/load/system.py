"""The processes that are measured: a gateway on an embedded PostgreSQL, and the bare server."""

import asyncio
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psutil  # type: ignore[import-untyped]  # has no stubs

from earmark.storage.bus import Bus
from earmark.storage.database import Database
from earmark.storage.embedded import EmbeddedPostgres


@dataclass(frozen=True, slots=True)
class Server:
    """A server process and the address it listens on."""

    address: str
    process: psutil.Process

    def rss(self) -> int:
        """Bytes of resident memory."""
        return int(self.process.memory_info().rss)

    def cpu_seconds(self) -> float:
        """CPU time used so far, over all cores."""
        times = self.process.cpu_times()
        return float(times.user + times.system)


@dataclass(frozen=True, slots=True)
class System:
    """A gateway and its database. `bus` stands for another gateway's: it reaches this one by NOTIFY."""

    gateway: Server
    database: Database
    bus: Bus


@asynccontextmanager
async def system(**settings: str) -> AsyncIterator[System]:
    """Starts a gateway on its own PostgreSQL. `settings`: environment variables of the gateway."""
    with tempfile.TemporaryDirectory(prefix="earmark-load-") as folder:
        async with EmbeddedPostgres(Path(folder) / "postgres") as postgres:
            environment = {
                "EARMARK_DATABASE_URL": postgres.dsn,
                "EARMARK_DATA_DIR": folder,
                "EARMARK_PORT": "0",
                "EARMARK_TRAINERS": "",
                **settings,
            }
            async with (
                server("earmark.gateway", environment=environment) as gateway,
                Database(postgres.dsn) as database,
                Bus(database) as bus,
            ):
                yield System(gateway, database, bus)


@asynccontextmanager
async def server(
    module: str,
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    log: IO[bytes] | None = None,
) -> AsyncIterator[Server]:
    """Starts `python -m module`, which prints its address. Raises RuntimeError if it does not.

    `log` gets what it writes to stderr.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        module,
        *arguments,
        env={**os.environ, **(environment or {})},
        stdout=asyncio.subprocess.PIPE,
        stderr=log,
    )
    try:
        assert process.stdout
        line = (await process.stdout.readline()).decode()
        if " listening on " not in line:
            raise RuntimeError(f"{module} did not start: it printed {line!r}")
        yield Server(line.split()[-1], psutil.Process(process.pid))
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
