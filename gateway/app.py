"""The objects that all parts of one running gateway share."""

import asyncio
from dataclasses import dataclass, field

from earmark.background import Background
from earmark.gateway.errors import UnavailableError
from earmark.gateway.fleet.trainers import Trainers
from earmark.gateway.loop_watch import LoopWatch
from earmark.gateway.settings import GatewaySettings
from earmark.storage.bus import Bus
from earmark.storage.database import Database
from earmark.storage.objects import ObjectStore


@dataclass(frozen=True, slots=True)
class App:
    """The settings, connections and trainers of one running gateway."""

    settings: GatewaySettings
    database: Database
    bus: Bus
    objects: ObjectStore
    trainers: Trainers
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    background: Background = field(default_factory=Background)
    loop_watch: LoopWatch = field(default_factory=LoopWatch)

    def check_serving(self) -> None:
        """Raises UnavailableError if the gateway is stopping.

        Watches call this, so that they end and their clients resume at another gateway or a moment later.
        """
        if self.stopping.is_set():
            raise UnavailableError(
                "STOPPING", "the gateway is stopping; resume the watch from your last cursor"
            )
