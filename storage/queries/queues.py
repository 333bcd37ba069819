"""How much work waits and runs, for those who run Earmark."""

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
