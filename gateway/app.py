"""What the gateway's parts share."""

import asyncio
from dataclasses import dataclass, field

from gateway.errors import UnavailableError
from gateway.fleet.trainers import Trainers
from gateway.settings import GatewaySettings
from storage.bus import Bus
from storage.database import Database
from storage.objects import ObjectStore


@dataclass(frozen=True, slots=True)
class App:
    """One running gateway."""

    settings: GatewaySettings
    database: Database
    bus: Bus
    objects: ObjectStore
    trainers: Trainers
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    def check_serving(self) -> None:
        """Ends a watch when the gateway stops, so that its client resumes elsewhere or a moment later."""
        if self.stopping.is_set():
            raise UnavailableError(
                "STOPPING", "the gateway is stopping; resume the watch from your last cursor"
            )
