"""Helpers that write jobs and events to the tables without a gateway."""

from uuid import UUID

from uuid_utils.compat import uuid7

from earmark.storage.database import Connection
from earmark.storage.queries import events, training
from tests.gateway import rows

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
    await training.JOBS.queue_pending(connection, status_changed("queued"))
    for _ in job_ids:
        assert await training.claim(connection, "trainer", 600, status_changed("training"), frontend="")


async def add_event(connection: Connection, job_id: UUID) -> None:
    """Adds one event to the job's first attempt."""
    job = await training.JOBS.lock_attempt(connection, job_id, ATTEMPT)
    assert await training.advance(
        connection, job_id, ATTEMPT, job.revision, 600, {"notice": {"message": "on"}}
    )


async def cancel(connection: Connection, job_id: UUID) -> None:
    """Cancels the job in its first attempt, which adds the job's last event."""
    body = status_changed("cancelled")
    assert await training.finish(connection, job_id, ATTEMPT, "cancelled", body)


async def age(connection: Connection, up_to: int, days: float) -> None:
    """Makes the events up to this number `days` old."""
    await connection.execute(
        "UPDATE events SET time = time - $2::float8 * interval '1 day' WHERE sequence <= $1", up_to, days
    )


async def logged(connection: Connection, tenant: str = rows.TENANT) -> list[tuple[int, UUID, int]]:
    """The number, the job and the revision of each event that is kept."""
    page = await events.log(connection, tenant, 0, 10_000)
    return [(event.sequence, event.resource_id, event.revision) for event in page.events]
