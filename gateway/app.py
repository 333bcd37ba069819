"""What the gateway's parts share."""

from dataclasses import dataclass

from gateway.settings import Settings
from gateway.trainers import Trainers
from storage.bus import Bus
from storage.database import Database
from storage.objects import ObjectStore


@dataclass(frozen=True, slots=True)
class App:
    """One running gateway."""

    settings: Settings
    database: Database
    bus: Bus
    objects: ObjectStore
    trainers: Trainers
