"""What training jobs and detection jobs share: the queue, the attempts and their fencing.

A job's next revision and its event are written together under the lock on the job's row, so events commit in
the order of their revisions.

The attempt number is the fencing token: every write of an attempt carries it and changes nothing once the
attempt is no longer the current one. The lease is the time for which an attempt owns its job. The gateway
renews it; after it expires, another gateway ends the attempt and queues the job again.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from uuid import UUID

import asyncpg

from earmark.storage import sql
from earmark.storage.database import Connection
from earmark.storage.queries import events
from earmark.storage.records import Job

Body = dict[str, Any]
J = TypeVar("J", bound=Job)


@dataclass(frozen=True, slots=True)
class JobCounts:
    """The numbers of all tenants' unfinished jobs of one kind. `waiting` counts pending and queued ones."""

    waiting: int
    running: int


class Jobs(Generic[J]):
    """The jobs of one kind."""

    def __init__(self, kind: str, running: str, job_of: Callable[[asyncpg.Record], J]) -> None:
        """`kind`: training or detection. `running`: the status of a job that is on a trainer."""
        self._sql = sql.load("jobs", kind=kind, running=running)
        self._job_of = job_of

    async def count_waiting(self, connection: Connection, tenant_id: str) -> int:
        """The number of the tenant's pending and queued jobs.

        Nobody else adds one until the transaction ends.
        """
        await connection.execute(self._sql["lock_waiting"], tenant_id)
        waiting: int = await connection.fetchval(self._sql["count_waiting"], tenant_id)
        return waiting

    async def counts(self, connection: Connection) -> JobCounts:
        return JobCounts(**await connection.fetchrow(self._sql["counts"]))

    async def lock_for_update(self, connection: Connection, tenant_id: str, job_id: UUID) -> J | None:
        row = await connection.fetchrow(self._sql["lock_for_update"], tenant_id, job_id)
        return row and self._job_of(row)

    async def queue_pending(self, connection: Connection, event: Body) -> list[J]:
        """Queues up to 100 pending jobs of one tenant: a transaction records events of one tenant only."""
        rows = await connection.fetch(self._sql["queue"])
        return [
            await self.with_event(connection, row, event) for row in sorted(rows, key=lambda row: row["id"])
        ]

    async def claim(
        self, connection: Connection, trainer: str, event: Body, statement: str, *arguments: object
    ) -> J | None:
        """Starts the next attempt of the job that `statement` claims; returns None if no job may start."""
        await connection.execute(self._sql["lock_queue"])
        row = await connection.fetchrow(statement, *arguments)
        if row is None:
            return None
        await connection.execute(self._sql["begin_attempt"], row["id"], row["attempt"], trainer)
        return await self.with_event(connection, row, event)

    async def renew(
        self, connection: Connection, job_id: UUID, attempt: int, lease_seconds: float
    ) -> bool | None:
        """Extends the lease and returns whether a cancellation was requested.

        Returns None if the attempt is no longer the current one.
        """
        cancel_requested: bool | None = await connection.fetchval(
            self._sql["renew"], job_id, attempt, lease_seconds
        )
        return cancel_requested

    async def lock_attempt(self, connection: Connection, job_id: UUID, attempt: int) -> J | None:
        """Locks the job until the transaction ends; None if the attempt is no longer the current one."""
        row = await connection.fetchrow(self._sql["lock_attempt"], job_id, attempt)
        return row and self._job_of(row)

    async def end_attempt(
        self,
        connection: Connection,
        row: asyncpg.Record | None,
        outcome: str,
        reason: str | None,
        event: Body,
    ) -> J | None:
        """Records the outcome of the attempt that has just changed the job to `row`, if it has."""
        if row is None:
            return None
        await connection.execute(self._sql["end_attempt"], row["id"], row["attempt"], outcome, reason)
        return await self.with_event(connection, row, event)

    async def requeue(
        self,
        connection: Connection,
        job_id: UUID,
        attempt: int,
        outcome: str,
        reason: str,
        event: Body,
        *,
        losses: int = 0,
        pause_seconds: float = 0,
    ) -> J | None:
        """Ends the attempt and queues the job again. `outcome`: "lost" or "handed_back".

        `losses`: attempts lost in a row, with this one. `pause_seconds`: the wait before the next attempt.
        """
        row = await connection.fetchrow(self._sql["requeue"], job_id, attempt, pause_seconds, losses)
        return await self.end_attempt(connection, row, outcome, reason, event)

    async def a_trainer_is_well(self, connection: Connection, job_id: UUID, losses: int) -> bool:
        """Whether a trainer of the job's last `losses` attempts has begun and completed another job since."""
        found: bool = await connection.fetchval(self._sql["a_trainer_is_well"], job_id, losses)
        return found

    async def expired(self, connection: Connection) -> list[J]:
        """Up to 100 jobs of one tenant whose lease has expired, locked until the transaction ends."""
        return [self._job_of(row) for row in await connection.fetch(self._sql["expired"])]

    async def request_cancel(self, connection: Connection, tenant_id: str, job_id: UUID) -> J | None:
        """Asks the current attempt to stop. Returns None if the job is not on a trainer."""
        row = await connection.fetchrow(self._sql["request_cancel"], tenant_id, job_id)
        return row and self._job_of(row)

    async def advanced(
        self,
        connection: Connection,
        row: asyncpg.Record | None,
        job_id: UUID,
        attempt: int,
        after_revision: int,
        event: Body,
    ) -> J | None:
        """Records the event of `row`, which the attempt has just advanced from `after_revision`.

        Only the current attempt adds events. So if there is no row and the job is already at the next
        revision, an earlier call committed but its reply was lost, and the event is not recorded again.
        Returns None if the attempt is no longer the current one, or the job is at any other revision.
        """
        if row is not None:
            return await self.with_event(connection, row, event)
        job = await self.lock_attempt(connection, job_id, attempt)
        return job if job is not None and job.revision == after_revision + 1 else None

    async def with_event(self, connection: Connection, row: asyncpg.Record, event: Body) -> J:
        """Records the event of the revision that `row` has just got."""
        job = self._job_of(row)
        await events.record(connection, job, event)
        return job
