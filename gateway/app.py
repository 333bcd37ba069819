"""The objects that all parts of one running gateway share."""

import asyncio
from dataclasses import dataclass, field

from earmark.background import Background
from earmark.gateway.audit import Audit
from earmark.gateway.detection_counts import DetectionCounts
from earmark.gateway.disk import Disk
from earmark.gateway.errors import UnavailableError
from earmark.gateway.fleet.trainers import Trainers
from earmark.gateway.keys import Keys
from earmark.gateway.lane import Lane
from earmark.gateway.loop_watch import LoopWatch
from earmark.gateway.quotas import Quotas
from earmark.gateway.settings import GatewaySettings
from earmark.gateway.shares import Scratch, Shares
from earmark.storage.bus import Bus
from earmark.storage.database import Database
from earmark.storage.objects import ObjectStore
from earmark.tls import ServerCertificate
from earmark.tracing import Tracer

# A page of more rows may take long, if they are large.
LONG_PAGE = 100


@dataclass(frozen=True, slots=True)
class App:
    """The settings, connections and trainers of one running gateway."""

    settings: GatewaySettings
    # For calls: connections see the rows of the call's tenant.
    database: Database
    # The same connections for the gateway's own work, which sees the rows of all tenants.
    system: Database
    # For calls that take long.
    lane: Lane
    bus: Bus
    objects: ObjectStore
    trainers: Trainers
    keys: Keys
    quotas: Quotas
    shares: Shares
    scratch: Scratch
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    background: Background = field(default_factory=Background)
    disk: Disk = field(default_factory=Disk)
    loop_watch: LoopWatch = field(default_factory=LoopWatch)
    detection_counts: DetectionCounts = field(default_factory=DetectionCounts)
    audit: Audit = field(default_factory=Audit)
    tracer: Tracer = field(default_factory=Tracer)
    # None if connections of clients are not encrypted.
    certificate: ServerCertificate | None = None

    def lane_for(self, rows: int) -> Database:
        """The database for a list of so many rows, which may be large."""
        return self.lane if rows > LONG_PAGE else self.database

    def check_serving(self) -> None:
        """Raises UnavailableError if the gateway is stopping.

        Watches call this, so that they end and their clients resume at another gateway or a moment later.
        """
        if self.stopping.is_set():
            raise UnavailableError(
                "STOPPING", "the gateway is stopping; resume the watch from your last cursor"
            )
