"""Names of the health service that are not those of an rpc service, for monitors."""

import asyncio
from collections.abc import Callable, Mapping

from grpc_health.v1 import health, health_pb2

# NOT_SERVING while a background task keeps failing, while the database is away, while a disk of the gateway
# has no room for uploads, and while the certificate cannot be replaced by what its files have now. The names
# of the services and "" stay SERVING then: calls get their answer, or an error that says to try again, which
# no other process would do better, and a process manager should not restart this one.
BACKGROUND = "earmark.background"
DATABASE = "earmark.database"
DISK = "earmark.disk"
TLS = "earmark.tls"
CHECK_SECONDS = 0.5


async def follow(states: health.aio.HealthServicer, checks: Mapping[str, Callable[[], bool]]) -> None:
    """Sets the status of each name to what its check returns, until cancelled."""
    while True:
        for name, is_well in checks.items():
            status = health_pb2.HealthCheckResponse
            await states.set(name, status.SERVING if is_well() else status.NOT_SERVING)
        await asyncio.sleep(CHECK_SECONDS)
