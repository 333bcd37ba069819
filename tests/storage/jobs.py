"""Helpers that write jobs and events to the tables without a gateway."""

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
    """Creates a pending job and returns its id."""
    job_id = uuid7()
    dataset_id, set_id = built.dataset_id, built.annotation_set_id
    body = status_changed("pending")
    await training.create(connection, tenant, job_id, dataset_id, set_id, {"epochs": 2}, metadata, body)
    return job_id


async def start(connection: Connection, *job_ids: UUID) -> None:
    """Starts the first attempt of the pending jobs, which are then at revision 3."""
    await training.queue_pending(connection, status_changed("queued"))
    for _ in job_ids:
        assert await training.claim(connection, "trainer", 600, status_changed("training"))


async def add_event(connection: Connection, job_id: UUID) -> None:
    """Adds one event to the job's first attempt."""
    job = await training.lock_attempt(connection, job_id, ATTEMPT)
    assert await training.advance(
        connection, job_id, ATTEMPT, job.revision, 600, {"notice": {"message": "on"}}
    )


async def cancel(connection: Connection, job_id: UUID) -> None:
    """Cancels the job in its first attempt, which adds the job's last event."""
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
    """The job and the revision of each event that matches the filter."""
    log_page = await page(connection, wanted=wanted, **arguments)
    return [(event.training_job_id, event.revision) for _, event in log_page.entries if event]
