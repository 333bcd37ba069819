"""Takes the database away from a running system for minutes, and reports what clients see meanwhile.

    python -m bench.outages [--frozen SECONDS] [--refused SECONDS]

Starts its own system: PostgreSQL, which is suspended for a while and later restarted with another password,
and two gateways. Prints a line of JSON per outage, which bench/README.md describes. Ends with status 1 if a
client gets another error than UNAVAILABLE with a RetryInfo, or if notifications do not arrive afterwards.
"""

import asyncio
import json
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import asyncpg
import psutil  # type: ignore[import-untyped]  # has no stubs
import structlog
import typer
from google.rpc import error_details_pb2
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status

from bench.load.system import server
from earmark.health import DATABASE
from earmark.storage.embedded import EmbeddedPostgres
from earmark.v1 import audio_service_pb2 as audio
from earmark.v1 import dataset_service_pb2 as pb
from earmark.v1.audio_service_pb2_grpc import AudioServiceStub
from earmark.v1.dataset_service_pb2_grpc import DatasetServiceStub

USER, PASSWORD, OTHER_PASSWORD = "earmark", "one", "two"
CALLERS = 8
PAUSE_SECONDS = 0.1
ARRIVAL_SECONDS = 30.0


@dataclass
class Seen:
    """What the clients of an outage saw. `longest`: seconds of the longest call."""

    # Set by each successful call.
    answered: asyncio.Event = field(default_factory=asyncio.Event)
    unavailable: int = 0
    others: Counter[str] = field(default_factory=Counter)
    longest: float = 0.0
    # Seconds from the beginning of the outage until both gateways' health showed it.
    noticed: float = 0.0

    def record(self, error: aio.AioRpcError) -> None:
        """Counts an error."""
        status = rpc_status.from_call(error)
        details = [detail.TypeName() for detail in status.details] if status else []
        if error.code().name == "UNAVAILABLE" and error_details_pb2.RetryInfo.DESCRIPTOR.full_name in details:
            self.unavailable += 1
        else:
            self.others[f"{error.code().name}: {error.details()}"] += 1


class Clients:
    """Calls one gateway without pause, and watches the files of a dataset, until the block ends."""

    def __init__(self, channel: aio.Channel, dataset_id: str, seen: Seen) -> None:
        self._datasets, self._audio = DatasetServiceStub(channel), AudioServiceStub(channel)
        self._dataset_id = dataset_id
        self._seen = seen

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(self._call()) for _ in range(CALLERS)]
        tasks.append(asyncio.create_task(self._watch()))
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _call(self) -> None:
        while True:
            began = time.monotonic()
            try:
                await self._datasets.GetDataset(pb.GetDatasetRequest(dataset_id=self._dataset_id))
                self._seen.answered.set()
            except aio.AioRpcError as error:
                self._seen.record(error)
            self._seen.longest = max(self._seen.longest, time.monotonic() - began)
            await asyncio.sleep(PAUSE_SECONDS)

    async def _watch(self) -> None:
        while True:
            try:
                async for _ in self._audio.WatchAudioFiles(
                    audio.WatchAudioFilesRequest(dataset_ids=[self._dataset_id], from_start=True)
                ):
                    pass
            except aio.AioRpcError as error:
                self._seen.record(error)
            await asyncio.sleep(PAUSE_SECONDS)


class Trial:
    """A running system with a dataset, and the outages that it can suffer."""

    def __init__(self, postgres: EmbeddedPostgres, channels: Sequence[aio.Channel], dataset_id: str) -> None:
        self._postgres = postgres
        self._channels = channels
        self._dataset_id = dataset_id

    async def frozen(self, seconds: float) -> dict[str, Any]:
        """Suspends every process of PostgreSQL."""

        async def outage() -> None:
            server = psutil.Process(self._postgres.pid)
            processes = [server, *server.children(recursive=True)]
            for process in processes:
                process.suspend()
            await asyncio.sleep(seconds)
            for process in reversed(processes):
                process.resume()

        return await self._suffer(f"PostgreSQL suspended for {seconds:g} s", outage)

    async def refused(self, seconds: float) -> dict[str, Any]:
        """Restarts PostgreSQL with another password for the gateways' user."""

        async def outage() -> None:
            await self._set_password(OTHER_PASSWORD)
            os.kill(self._postgres.pid, signal.SIGKILL)
            await self._postgres.wait_exited()
            await self._postgres.ready.wait()
            await asyncio.sleep(seconds)
            await self._set_password(PASSWORD)

        return await self._suffer(f"restarted with another password for {seconds:g} s", outage)

    async def _set_password(self, password: str) -> None:
        await execute(self._postgres, f"ALTER ROLE {USER} PASSWORD '{password}'")

    async def _suffer(self, name: str, outage: Callable[[], Awaitable[None]]) -> dict[str, Any]:
        seen = Seen()
        async with Clients(self._channels[0], self._dataset_id, seen).running():
            noticing = asyncio.create_task(self._notice(seen))
            await outage()
            over = time.monotonic()
            seen.answered.clear()
            await noticing
            await seen.answered.wait()
            first_success = time.monotonic() - over
            await self._become(health_pb2.HealthCheckResponse.SERVING)
            healthy = time.monotonic() - over
            arrival = await self._notification()
        return {
            "outage": name,
            "to_unhealthy": round(seen.noticed, 2),
            "unavailable": seen.unavailable,
            "other_errors": dict(seen.others),
            "longest_call": round(seen.longest, 1),
            "to_first_success": round(first_success, 2),
            "to_healthy": round(healthy, 2),
            "notification": None if arrival is None else round(arrival, 3),
        }

    async def _notice(self, seen: Seen) -> None:
        began = time.monotonic()
        await self._become(health_pb2.HealthCheckResponse.NOT_SERVING)
        seen.noticed = time.monotonic() - began

    async def _become(self, status: int) -> None:
        """Returns once every gateway reports this health of the database."""
        request = health_pb2.HealthCheckRequest(service=DATABASE)

        async def become(channel: aio.Channel) -> None:
            call = health_pb2_grpc.HealthStub(channel).Watch(request)
            async for response in call:
                if response.status == status:
                    call.cancel()
                    return

        await asyncio.gather(*map(become, self._channels))

    async def _notification(self) -> float | None:
        """Seconds from an upload to one gateway until a watch of the other has it; None if it never does."""
        call = AudioServiceStub(self._channels[1]).WatchAudioFiles(
            audio.WatchAudioFilesRequest(dataset_ids=[self._dataset_id], from_start=True)
        )
        responses = aiter(call)
        await anext(responses)
        began = time.monotonic()
        file_id = await upload(self._channels[0], self._dataset_id)
        try:
            async with asyncio.timeout(ARRIVAL_SECONDS):
                async for response in responses:
                    if response.event.audio_file_id == file_id:
                        return time.monotonic() - began
        except TimeoutError:
            return None
        finally:
            call.cancel()
        return None


async def upload(channel: aio.Channel, dataset_id: str) -> str:
    """Uploads a file, which stays pending because there is no trainer. Returns its id."""
    data = b"RIFF"
    metadata = audio.UploadAudioRequest.Metadata(
        dataset_id=dataset_id, filename="call.wav", size_bytes=len(data)
    )
    part = audio.UploadAudioRequest.Part(data=data)
    requests = iter([audio.UploadAudioRequest(metadata=metadata), audio.UploadAudioRequest(part=part)])
    return str((await AudioServiceStub(channel).UploadAudio(requests)).audio_file.id)


async def execute(postgres: EmbeddedPostgres, *statements: str) -> None:
    """Runs the statements as the owner of the server, who needs no password."""
    connection = await asyncpg.connect(postgres.dsn)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def gateway_url(postgres: EmbeddedPostgres, folder: Path) -> str:
    """Creates the gateways' user, who needs a password, and their database. Returns its URL."""
    rules = folder / "data" / "pg_hba.conf"
    text = await asyncio.to_thread(rules.read_text)
    await asyncio.to_thread(rules.write_text, f"local all {USER} scram-sha-256\n{text}")
    await execute(
        postgres,
        "SELECT pg_reload_conf()",
        f"CREATE ROLE {USER} LOGIN PASSWORD '{PASSWORD}'",
        f"CREATE DATABASE {USER} OWNER {USER}",
    )
    parts = urlsplit(postgres.dsn)
    return parts._replace(netloc=f"{USER}:{PASSWORD}@", path=f"/{USER}").geturl()


@asynccontextmanager
async def trial(folder: Path) -> AsyncIterator[Trial]:
    """PostgreSQL and two gateways. The second has no heartbeats: only notifications wake its watches."""
    async with AsyncExitStack() as stack:
        postgres = await stack.enter_async_context(EmbeddedPostgres(folder / "postgres"))
        url = await gateway_url(postgres, folder / "postgres")
        channels = []
        for number, heartbeat in enumerate(("10", "3600")):
            environment = {
                "EARMARK_DATABASE_URL": url,
                "EARMARK_DATA_DIR": str(folder / f"gateway-{number}"),
                "EARMARK_OBJECT_STORE": str(folder / "objects"),
                "EARMARK_PORT": "0",
                "EARMARK_TRAINERS": "",
                "EARMARK_HEARTBEAT_SECONDS": heartbeat,
            }
            gateway = await stack.enter_async_context(server("earmark.gateway", environment=environment))
            channels.append(await stack.enter_async_context(aio.insecure_channel(gateway.address)))
        dataset = await DatasetServiceStub(channels[0]).CreateDataset(
            pb.CreateDatasetRequest(name="calls", artifact_types=[{"name": "glitch"}])
        )
        await upload(channels[0], dataset.dataset.id)
        yield Trial(postgres, channels, dataset.dataset.id)


async def measure(frozen: float, refused: float, folder: Path) -> bool:
    """Prints a line per outage. Returns whether the clients saw what they should."""
    async with trial(folder) as running:
        reports = []
        for outage in (running.frozen(frozen), running.refused(refused)):
            reports.append(await outage)
            print(json.dumps(reports[-1]), flush=True)
    return all(not report["other_errors"] and report["notification"] is not None for report in reports)


def main(
    frozen: Annotated[float, typer.Option(min=20, help="Seconds for which PostgreSQL is suspended.")] = 120,
    refused: Annotated[float, typer.Option(min=5, help="Seconds with another password.")] = 60,
) -> None:
    """Take the database away, and check what clients see."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    with tempfile.TemporaryDirectory(prefix="earmark-outages-") as folder:
        sys.exit(not asyncio.run(measure(frozen, refused, Path(folder))))


if __name__ == "__main__":
    typer.run(main)
