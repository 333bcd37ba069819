"""Jobs and events in the tables, without a gateway."""

from uuid import UUID

from uuid_utils.compat import uuid7

from storage.database import Connection
from storage.queries import events, training
from storage.queries.events import LogFilter, LogKey, LogPage
from tests.gateway import rows

ALL = LogFilter(None, (), {})
ATTEMPT = 1


def status_changed(to: str) -> dict:
    return {"status_changed": {"from": "x", "to": f"TRAINING_JOB_STATUS_{to.upper()}", "reason": ""}}


async def create(connection: Connection, built: rows.Built, tenant: str = rows.TENANT, **metadata) -> UUID:
    """A pending job's id."""
    job_id = uuid7()
    dataset_id, set_id = built.dataset_id, built.annotation_set_id
    body = status_changed("pending")
    await training.create(connection, tenant, job_id, dataset_id, set_id, {"epochs": 2}, metadata, body)
    return job_id


async def start(connection: Connection, *job_ids: UUID) -> None:
    """Pending jobs are in their first attempt, at revision 3."""
    await training.queue_pending(connection, status_changed("queued"))
    for _ in job_ids:
        assert await training.claim(connection, "trainer", 600, status_changed("training"))


async def add_event(connection: Connection, job_id: UUID) -> None:
    """One more event."""
    job = await training.lock_attempt(connection, job_id, ATTEMPT)
    assert await training.advance(
        connection, job_id, ATTEMPT, job.revision, 600, {"notice": {"message": "on"}}
    )


async def cancel(connection: Connection, job_id: UUID) -> None:
    """The job's last event."""
    body = status_changed("cancelled")
    assert await training.finish(connection, job_id, ATTEMPT, "cancelled", body)


async def page(
    connection: Connection,
    after: LogKey = events.START,
    wanted: LogFilter = ALL,
    tenant: str = rows.TENANT,
    limit: int = 1000,
) -> LogPage:
    return await events.log(connection, tenant, after, limit, wanted)


async def logged(connection: Connection, wanted: LogFilter = ALL, **arguments) -> list[tuple[UUID, int]]:
    """The job and the revision of each event that the filter lets through."""
    found = await page(connection, wanted=wanted, **arguments)
    return [(event.training_job_id, event.revision) for _, event in found.entries if event]
