"""How much work waits and runs, of all tenants."""

from collections.abc import Sequence
from dataclasses import dataclass

from earmark.storage import sql
from earmark.storage.database import Connection

SQL = sql.load("queues")
KINDS = ("training", "detection", "audio")


@dataclass(frozen=True, slots=True)
class Queue:
    """The work of one of KINDS, of all tenants. `leases`: of what runs, as much has a gateway now."""

    kind: str
    waiting: int = 0
    running: int = 0
    leases: int = 0
    oldest_seconds: float = 0.0


async def read(connection: Connection) -> Sequence[Queue]:
    """One queue for each of KINDS."""
    found = {row["kind"]: Queue(**row) for row in await connection.fetch(SQL["read"])}
    return [found.get(kind) or Queue(kind) for kind in KINDS]


@dataclass(frozen=True, slots=True)
class Waiting:
    """Whether jobs of a kind are pending, and whether any are queued."""

    training_pending: bool
    training_queued: bool
    detection_pending: bool
    detection_queued: bool


async def waiting(connection: Connection) -> Waiting:
    """What jobs there are to queue or to claim."""
    return Waiting(**await connection.fetchrow(SQL["waiting"]))
