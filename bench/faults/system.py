"""A system of real processes that can be killed, stopped, paused and disconnected at any time."""

import asyncio
import os
import random
import secrets
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil  # type: ignore[import-untyped]  # has no stubs

from bench.faults.clock import Clock
from bench.faults.disk import Disk, can_mount
from bench.faults.proxy import Connect, Proxy
from bench.faults.store import Store
from earmark.grants import Signer
from earmark.storage.database import Database
from earmark.storage.embedded import EmbeddedPostgres
from earmark.storage.embedded.cluster import SOCKET_NAME, socket_folder

# Below the ephemeral ports, so that the port of a service is still free when the service restarts.
PORTS = range(20_000, 30_000)
RELAUNCH_SECONDS = 0.5
START_SECONDS = 120.0
STOP_SECONDS = 30.0
# What a service wants to have free on its small disk.
RESERVE_MB = "4"
# The services log in with a role of their own: a superuser cannot be refused.
ROLE = "earmark"


class Service:
    """`python -m MODULE`, supervised until it is killed or stopped, and always on the same port."""

    def __init__(
        self,
        name: str,
        module: str,
        folder: Path,
        settings: Mapping[str, str],
        report_exit: Callable[[str], None],
    ) -> None:
        """`report_exit` receives a message if a process ends by itself after it has served."""
        self.name = name
        self.kind = module
        self.up = asyncio.Event()
        self._folder = folder / name
        self._folder.mkdir()
        self._environment = {**os.environ, "EARMARK_DATA_DIR": str(self._folder), **settings}
        self._report_exit = report_exit
        # A process must not be launched while its predecessor is being ended.
        self._launching = asyncio.Lock()

    async def start(self, changed: Mapping[str, str] | None = None) -> None:
        """Returns when it serves. Raises TimeoutError if it does not within START_SECONDS.

        `changed`: settings that are different until its next start.
        """
        self._changed = dict(changed or {})
        self._supervisor = asyncio.create_task(self._supervise(), name=self.name)
        async with asyncio.timeout(START_SECONDS):
            await self.up.wait()

    async def kill(self) -> None:
        """Sends SIGKILL, as the kernel does when memory runs out."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> None:
        """Sends SIGTERM, as an operator does."""
        await self._end(signal.SIGTERM)

    def pause(self) -> None:
        """Suspends the process and all its descendants, as when a machine is suspended."""
        for process in self.process_tree():
            with suppress(psutil.NoSuchProcess):
                process.suspend()

    def resume(self) -> None:
        """Continues the suspended processes."""
        for process in reversed(self.process_tree()):
            with suppress(psutil.NoSuchProcess):
                process.resume()

    def process_tree(self) -> list[psutil.Process]:
        """The process and all its descendants."""
        with suppress(psutil.NoSuchProcess):
            parent = psutil.Process(self._process.pid)
            return [parent, *parent.children(recursive=True)]
        return []

    async def _end(self, number: signal.Signals) -> None:
        async with self._launching:
            self._supervisor.cancel()
        await asyncio.wait((self._supervisor,))
        self.up.clear()
        with suppress(ProcessLookupError):
            self._process.send_signal(number)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self._process.wait()
        except TimeoutError:
            self._report_exit(f"{self.name} did not stop within {STOP_SECONDS:g} s")
            self._process.kill()
            await self._process.wait()

    async def _supervise(self) -> None:
        """Launches the process again whenever it ends, as when its database is not available."""
        while True:
            await self._launch()
            assert self._process.stdout
            async for line in self._process.stdout:
                if b" listening on " in line:
                    self.up.set()
            status = await self._process.wait()
            if self.up.is_set():
                self.up.clear()
                self._report_exit(f"{self.name} ended by itself with status {status}")
            await asyncio.sleep(RELAUNCH_SECONDS)

    async def _launch(self) -> None:
        async with self._launching:
            with (self._folder / "log").open("ab") as log:
                self._process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", f"earmark.{self.kind}"),
                    env=self._environment | self._changed,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=log,
                )


class Postgres:
    """The embedded PostgreSQL server. Its data on disk survives a kill."""

    name = kind = "postgres"

    def __init__(self, folder: Path) -> None:
        self._folder = (folder / "postgres").resolve()
        self._socket = str(socket_folder(self._folder) / SOCKET_NAME)

    async def start(self) -> None:
        """Returns when it accepts connections."""
        self._stack = AsyncExitStack()
        self._server = await self._stack.enter_async_context(EmbeddedPostgres(self._folder))

    async def create_role(self) -> None:
        """Creates ROLE, which may create everything that the services need."""
        async with Database(self.dsn) as database, database.connection() as connection:
            await connection.execute("RESET ROLE")
            await connection.execute(f"CREATE ROLE {ROLE} LOGIN")
            await connection.execute(f"GRANT ALL ON DATABASE postgres TO {ROLE}")
            await connection.execute(f"GRANT ALL ON SCHEMA public TO {ROLE}")

    async def kill(self) -> None:
        """Kills the whole server through its main process, and does not start it again."""
        await self.crash()
        await self.stop()

    async def crash(self) -> None:
        """Kills the main process; the supervisor of the embedded server starts it again."""
        os.kill(self._server.pid, signal.SIGKILL)
        await self._server.wait_exited()

    async def stop(self) -> None:
        """Shuts the server down in order if it still runs."""
        await self._stack.aclose()

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connects to its Unix socket."""
        return await asyncio.open_unix_connection(self._socket)

    @property
    def dsn(self) -> str:
        """The DSN that bypasses all proxies."""
        return self._server.dsn


class System:
    """PostgreSQL, trainers and gateways, with a proxy on every link. Every gateway uses every trainer.

    `gateway` and `trainer`: settings that differ from the defaults. `report_exit`: see Service. `store`: a
    running store that they use instead of a folder. `clock_library`: gives each service a clock of its own.
    Where this process may mount disks, it gets a small disk of its own, too.
    """

    def __init__(
        self,
        folder: Path,
        report_exit: Callable[[str], None],
        *,
        gateways: int = 2,
        trainers: int = 2,
        gateway: Mapping[str, str] | None = None,
        trainer: Mapping[str, str] | None = None,
        store: Store | None = None,
        clock_library: Path | None = None,
    ) -> None:
        ports = _free_ports(gateways + trainers)
        self._gateway_ports, self._trainer_ports = ports[:gateways], ports[gateways:]
        self._folder, self._report_exit = folder, report_exit
        self._gateway_settings, self._trainer_settings = dict(gateway or {}), dict(trainer or {})
        # They have folders of their own, in which they would find different secrets.
        secret = secrets.token_hex()
        self._shared_settings = {"EARMARK_TRAINER_SECRET": secret}
        self.signer = Signer(secret.encode())
        self.stores = () if store is None else (store,)
        self._store_settings = store.settings if store else {"EARMARK_OBJECT_STORE": str(self.objects)}
        self.postgres = Postgres(folder)
        self.clocks: list[Clock] = []
        self.disks: list[Disk] = []
        self._clock_library = clock_library
        self._has_disks = clock_library is not None and can_mount(folder)
        self.trainers: list[Service] = []
        self.gateways: list[Service] = []
        self.client_links: list[Proxy] = []
        self.inner_links: list[Proxy] = []

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await self.postgres.start()
            stack.push_async_callback(self.postgres.stop)
            await self.postgres.create_role()
            for number, port in enumerate(self._trainer_ports):
                self.trainers.append(self._trainer(number, port, stack))
            for number, port in enumerate(self._gateway_ports):
                self.gateways.append(await self._gateway(number, port, stack))
                link = Proxy("client link", f"clients to gateway-{number}", _to_port(port))
                self.client_links.append(await stack.enter_async_context(link))
            for service in (*self.trainers, *self.gateways):
                stack.push_async_callback(service.stop)
                await service.start()
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    @property
    def processes(self) -> Sequence[Service | Postgres]:
        """Everything that can be killed."""
        return (self.postgres, *self.trainers, *self.gateways)

    @property
    def links(self) -> Sequence[Proxy]:
        """Everything that can be cut."""
        return (*self.client_links, *self.inner_links)

    @property
    def addresses(self) -> list[str]:
        """The addresses of the gateways, through the proxies."""
        return [link.address for link in self.client_links]

    @property
    def trainer_addresses(self) -> list[str]:
        """The addresses of the trainers, bypassing the proxies."""
        return [f"127.0.0.1:{port}" for port in self._trainer_ports]

    @property
    def objects(self) -> Path:
        """The folder of the object store."""
        return self._folder / "objects"

    @property
    def other_objects(self) -> Path:
        """The folder of an object store that is not the system's."""
        return self._folder / "other-objects"

    def disk_of(self, service: Service) -> Disk | None:
        """The service's small disk, if it has one."""
        return next((disk for disk in self.disks if disk.service == service.name), None)

    def trainer_address(self, trainer: Service) -> str:
        """The address of this trainer, bypassing the proxies."""
        return self.trainer_addresses[self.trainers.index(trainer)]

    def _trainer(self, number: int, port: int, stack: AsyncExitStack) -> Service:
        compiled = os.environ.get("JAX_COMPILATION_CACHE_DIR", str(self._folder / "compiled"))
        settings = {
            "EARMARK_TRAINER_PORT": str(port),
            **self._shared_settings,
            **self._store_settings,
            "JAX_COMPILATION_CACHE_DIR": compiled,
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1",
        }
        return self._service(f"trainer-{number}", "trainer", settings | self._trainer_settings, stack)

    async def _gateway(self, number: int, port: int, stack: AsyncExitStack) -> Service:
        name = f"gateway-{number}"
        database = Proxy("postgres link", f"{name} to postgres", self.postgres.connect)
        trainers = [
            Proxy("trainer link", f"{name} to trainer-{index}", _to_port(trainer_port))
            for index, trainer_port in enumerate(self._trainer_ports)
        ]
        for link in (database, *trainers):
            self.inner_links.append(await stack.enter_async_context(link))
        settings = {
            "EARMARK_PORT": str(port),
            **self._shared_settings,
            **self._store_settings,
            "EARMARK_DATABASE_URL": f"postgresql://{ROLE}@{database.address}/postgres?sslmode=disable",
            "EARMARK_TRAINERS": ",".join(link.address for link in trainers),
        }
        return self._service(name, "gateway", settings | self._gateway_settings, stack)

    def _service(self, name: str, module: str, settings: dict[str, str], stack: AsyncExitStack) -> Service:
        if self._clock_library is not None:
            clock = Clock(self._clock_library, self._folder, name)
            self.clocks.append(clock)
            settings |= clock.settings
        if self._has_disks:
            disk = stack.enter_context(Disk(self._folder / f"disk-of-{name}", name))
            self.disks.append(disk)
            settings |= {"EARMARK_DATA_DIR": str(disk.folder), "EARMARK_DISK_RESERVE_MB": RESERVE_MB}
        return Service(name, module, self._folder, settings, self._report_exit)


def _to_port(port: int) -> Connect:
    return lambda: asyncio.open_connection("127.0.0.1", port)


def _free_ports(count: int) -> list[int]:
    free: list[int] = []
    for port in random.sample(PORTS, len(PORTS)):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            free.append(port)
        if len(free) == count:
            return free
    raise RuntimeError(f"fewer than {count} of the ports {PORTS.start} to {PORTS.stop - 1} are free")
