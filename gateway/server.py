"""Starts and stops the gateway's server and everything that it needs."""

import asyncio
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import structlog
from grpc import aio
from grpc_channelz.v1 import channelz, channelz_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from prometheus_client import CollectorRegistry

from earmark.background import Background
from earmark.call_counts import CallCounts
from earmark.configuration import check_folder
from earmark.gateway.app import App
from earmark.gateway.caller import tenant
from earmark.gateway.disk import Disk
from earmark.gateway.dispatcher.dispatcher import Dispatcher
from earmark.gateway.fleet.trainers import Trainers
from earmark.gateway.guard import StandardServices, check_services
from earmark.gateway.interceptors import MESSAGE_BYTES, CallInterceptor
from earmark.gateway.keys import Keys
from earmark.gateway.lane import Lane
from earmark.gateway.loop_watch import LoopWatch
from earmark.gateway.monitoring import GatewayFigures
from earmark.gateway.observed import Observer
from earmark.gateway.quotas import Quotas
from earmark.gateway.services import register
from earmark.gateway.settings import GatewaySettings
from earmark.gateway.shares import Scratch, Shares
from earmark.health import BACKGROUND, DATABASE, DISK, TLS, follow
from earmark.monitoring import Monitor, new_registry
from earmark.reflection import enable_reflection
from earmark.storage.bus import Bus
from earmark.storage.database import Database
from earmark.storage.embedded import EmbeddedPostgres
from earmark.storage.migrations import migrate
from earmark.storage.objects import ObjectStore, ObjectStoreError
from earmark.storage.queries import stores
from earmark.storage.store_check import check_store
from earmark.tls import ServerCertificate
from earmark.tracing import Tracer, tracing

log = structlog.get_logger("gateway")

SERVER_OPTIONS: Sequence[tuple[str, int]] = (
    # A second gateway on the same port must fail instead of sharing the port.
    ("grpc.so_reuseport", 0),
    # The interceptor refuses messages of more than MESSAGE_BYTES in words.
    ("grpc.max_receive_message_length", 4 * MESSAGE_BYTES),
    # Watches can be silent for a long time, so clients may send keepalive pings.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.http2.max_ping_strikes", 0),
    # After a restart all watchers reconnect at once. By default gRPC cancels some of the calls if more than
    # 1,000 have arrived and not started.
    ("grpc.server.max_pending_requests", 50_000),
    ("grpc.server.max_pending_requests_hard_limit", 100_000),
)


# For calls that are cut off when the gateway stops: what they did is recorded when they have ended.
CLEAN_UP_SECONDS = 2.0


class CannotListenError(Exception):
    """The gateway cannot listen on its address."""


async def serve(settings: GatewaySettings) -> None:
    """Runs a gateway until SIGTERM or SIGINT. Prints its address as soon as it serves."""
    stop, started = asyncio.Event(), asyncio.Event()
    starting = asyncio.current_task()

    def ask_to_stop() -> None:
        stop.set()
        if starting is not None and not started.is_set():
            # The gateway may still be waiting for its database.
            starting.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ask_to_stop)
    try:
        async with running(settings) as port:
            started.set()
            print(f"gateway listening on {settings.host}:{port}", flush=True)  # noqa: T201 - parent processes read this line
            await stop.wait()
            log.info("stopping")
    except asyncio.CancelledError:
        if started.is_set():
            raise
        log.info("stopped before serving")


@asynccontextmanager
async def running(
    settings: GatewaySettings,
    interceptors: Sequence[aio.ServerInterceptor] = (),
    loop_watch: LoopWatch | None = None,
) -> AsyncIterator[int]:
    """Runs a gateway inside the block and yields its port.

    Raises SettingsError, DatabaseSetupError, EmbeddedPostgresError, ObjectStoreError or CannotListenError
    if it cannot start. `interceptors` are placed around the gateway's own interceptor. `loop_watch` receives
    the longest steps of the calls.
    """
    async with AsyncExitStack() as stack:
        # First, so that it also sends what happens at the end.
        tracer = await stack.enter_async_context(tracing(settings.traces_endpoint, "earmark-gateway"))
        app = await _open(settings, stack, loop_watch or LoopWatch(), tracer)
        standard, registry = StandardServices(settings.reflection), new_registry()
        calls = CallInterceptor(
            app.loop_watch,
            app.keys,
            app.shares,
            app.quotas,
            standard,
            app.audit,
            Observer(CallCounts(registry), tracer, access_log=settings.access_log),
            idle_seconds=settings.stream_idle_seconds,
        )
        server = _server(*interceptors, calls)
        names = register(app, server)
        check_services(names)
        states = _add_standard_services(server, names)
        # Before the dispatcher takes any work.
        port = _bind(server, settings, app.certificate)
        await _monitor(app, states, registry, stack)
        # The calls have ended when these write the rest.
        await stack.enter_async_context(app.audit.writing(app.system, app.background))
        await stack.enter_async_context(app.detection_counts.writing(app.system, app.background))
        await stack.enter_async_context(Dispatcher(app))
        await server.start()
        stack.push_async_callback(_stop, app, server, states, calls)
        for name in ("", *names):
            await states.set(name, health_pb2.HealthCheckResponse.SERVING)
        checks = {
            DATABASE: lambda: app.bus.is_listening,
            BACKGROUND: lambda: not app.background.keeps_failing(),
            DISK: lambda: not app.disk.problem,
        }
        tasks = {
            "health": lambda: follow(states, checks),
            "measuring the event loop": app.loop_watch.follow_lag,
        }
        if (certificate := app.certificate) is not None:
            checks[TLS] = lambda: not certificate.problem
            tasks["watching the certificate"] = certificate.follow
        for name, work in tasks.items():
            stack.callback(app.background.start(name, work).cancel)
        yield port


async def _monitor(
    app: App, states: health.aio.HealthServicer, registry: CollectorRegistry, stack: AsyncExitStack
) -> None:
    """Serves the metrics, from before the gateway is ready until its last call has ended."""
    await states.set("", health_pb2.HealthCheckResponse.NOT_SERVING)
    figures, settings = GatewayFigures(app), app.settings
    registry.register(figures)
    monitor = Monitor(registry, states, (BACKGROUND, DATABASE, DISK, TLS), figures.read)
    await stack.enter_async_context(
        monitor.serving(settings.metrics_host, settings.metrics_port, "METRICS_PORT")
    )


def _server(*interceptors: aio.ServerInterceptor) -> aio.Server:
    server = aio.server(interceptors=interceptors, options=SERVER_OPTIONS)
    # For every call, grpc.aio searches all registered methods. Generic handlers together are one entry there.
    server.add_registered_method_handlers = lambda *_: None  # type: ignore[method-assign]  # see above
    return server


async def _open(
    settings: GatewaySettings, stack: AsyncExitStack, loop_watch: LoopWatch, tracer: Tracer
) -> App:
    background = Background()
    await asyncio.to_thread(check_folder, settings.data_dir)
    links, tls = await asyncio.to_thread(settings.open_links), settings.tls
    certificate = None if tls is None else await asyncio.to_thread(ServerCertificate, tls)
    await check_store(settings.object_store_url, deletes=True)
    url = settings.database_url
    if url is None:
        postgres = await stack.enter_async_context(
            EmbeddedPostgres(settings.data_dir / "postgres", background=background)
        )
        url = postgres.dsn
    await migrate(url)
    system = await stack.enter_async_context(Database(url, pool_size=settings.database_pool_size))
    lane = await stack.enter_async_context(Lane(url, pool_size=settings.long_call_connections, tenant=tenant))
    bus = await stack.enter_async_context(Bus(system, background))
    objects = await _own_store(settings.object_store_url, system)
    trainers = Trainers(
        settings.trainer_addresses,
        links=links,
        store_id=objects.store_id,
        retry_seconds=settings.retry_seconds,
        background=background,
    )
    disk = await _watched_disk(settings, objects, background, stack)
    keys = Keys(system, bus, settings.host)
    await stack.enter_async_context(keys.watched(background))
    quotas = Quotas(system, bus, settings.tenant_limits)
    await stack.enter_async_context(quotas.followed(background))
    # Last, so that a gateway that cannot start says nothing about trainers.
    await stack.enter_async_context(trainers)
    shares = Shares(settings.caller_limits, settings.max_tenant_callers, lambda name: quotas.of(name).streams)
    scratch = Scratch(settings.max_unfinished_upload_mb << 20)
    return App(
        settings,
        system.seen_by(tenant),
        system,
        lane,
        bus,
        objects,
        trainers,
        keys,
        quotas,
        shares,
        scratch,
        background=background,
        disk=disk,
        loop_watch=loop_watch,
        certificate=certificate,
        tracer=tracer,
    )


async def _watched_disk(
    settings: GatewaySettings, objects: ObjectStore, background: Background, stack: AsyncExitStack
) -> Disk:
    folders = [settings.data_dir] + ([objects.folder] if objects.folder else [])
    disk = Disk(folders, settings.disk_reserve_mb << 20)
    # The health should be right from the start.
    await disk.check()
    watching = background.start("watching the disk", disk.run)
    stack.callback(watching.cancel)
    return disk


async def _own_store(url: str, database: Database) -> ObjectStore:
    """The object store with its id. Raises ObjectStoreError if it belongs to another database."""
    objects = await asyncio.to_thread(ObjectStore.open(url).created)
    async with database.connection() as connection:
        expected = await stores.adopt(connection, objects.store_id)
    if expected != objects.store_id:
        raise ObjectStoreError(
            f"the object store {url} has the id {objects.store_id}, but the objects of this database are in "
            f"the store {expected}: check EARMARK_OBJECT_STORE, EARMARK_DATA_DIR and EARMARK_DATABASE_URL"
        )
    return objects


def _add_standard_services(server: aio.Server, names: Sequence[str]) -> health.aio.HealthServicer:
    states = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(states, server)
    channelz.add_channelz_servicer(server)
    channelz_name = channelz_pb2.DESCRIPTOR.services_by_name["Channelz"].full_name
    enable_reflection(server, (*names, health.SERVICE_NAME, channelz_name))
    return states


def _bind(server: aio.Server, settings: GatewaySettings, certificate: ServerCertificate | None) -> int:
    address = f"{settings.host}:{settings.port}"
    try:
        if certificate is None:
            return server.add_insecure_port(address)
        return server.add_secure_port(address, certificate.credentials())
    except RuntimeError as error:
        raise CannotListenError(
            f"cannot listen on {address}: is another gateway running? Set EARMARK_PORT to a free port, and"
            " EARMARK_HOST to an address of this machine"
        ) from error


async def _stop(
    app: App, server: aio.Server, states: health.aio.HealthServicer, calls: CallInterceptor
) -> None:
    """Refuses new calls, ends the watches and gives other calls the grace period to finish."""
    grace = app.settings.stop_grace_seconds
    await states.enter_graceful_shutdown()
    app.stopping.set()
    app.bus.wake_all()
    await server.stop(grace)
    await calls.ended(grace + CLEAN_UP_SECONDS)
