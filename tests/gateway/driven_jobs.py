"""A job whose events a test writes itself, as another gateway than the watched one would."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from earmark.gateway.convert.event_bodies import notice, status_changed
from earmark.gateway.watching import topics
from earmark.storage.bus import Bus
from earmark.storage.queries import training
from earmark.v1 import training_service_pb2 as pb
from earmark.v1.training_service_pb2_grpc import TrainingServiceStub
from tests.gateway import rows
from tests.gateway.calls import Gateway


class Job:
    """A job in its first attempt, at revision 3. The watched gateway learns of its events by NOTIFY only."""

    def __init__(self, gateway: Gateway, bus: Bus, job_id: UUID) -> None:
        self.id = str(job_id)
        self.job_id = job_id
        self._gateway, self._bus = gateway, bus

    def publish(self) -> None:
        """Notifies the gateway of a change."""
        self._bus.publish(topics.events(rows.TENANT))

    async def record(self, message: str) -> None:
        """Records a notice."""
        async with self._gateway.database.transaction() as connection:
            event = notice("LOADING", message)
            job = await training.JOBS.lock_attempt(connection, self.job_id, 1)
            assert await training.advance(connection, job.id, 1, job.revision, 60, event)
        self.publish()

    async def cancel(self, reason: str = "") -> None:
        async with self._gateway.database.transaction() as connection:
            event = status_changed("training", "cancelled", reason)
            assert await training.finish(connection, self.job_id, 1, "cancelled", event)
        self.publish()

    async def delete(self) -> None:
        async with self._gateway.database.transaction() as connection:
            await connection.execute("DELETE FROM training_attempts WHERE training_job_id = $1", self.job_id)
            await connection.execute("DELETE FROM training_jobs WHERE id = $1", self.job_id)
        self.publish()

    def watch(self, after: int = 0, **fields):
        stub = TrainingServiceStub(self._gateway.channel)
        return stub.WatchTrainingJob(
            pb.WatchTrainingJobRequest(training_job_id=self.id, after_revision=after, **fields)
        )

    async def revisions(self, after: int = 0, **fields) -> list[int]:
        """The revisions of all events of a watch, up to its end."""
        return [r.event.revision async for r in self.watch(after, **fields) if r.HasField("event")]


@asynccontextmanager
async def driving(gateway: Gateway) -> AsyncIterator["Driver"]:
    """Yields a driver with a bus of its own."""
    async with Bus(gateway.database) as bus:
        yield Driver(gateway, bus)


class Driver:
    """Creates jobs through the gateway and starts them without it."""

    def __init__(self, gateway: Gateway, bus: Bus) -> None:
        self._gateway, self._bus = gateway, bus

    async def job(self, built: rows.Built | None = None, **metadata: str) -> Job:
        """Creates and starts a job. `built`: its dataset; None for a new one."""
        if built is None:
            async with self._gateway.database.transaction() as connection:
                built = await rows.dataset(connection)
        stub = TrainingServiceStub(self._gateway.channel)
        request = pb.CreateTrainingJobRequest(
            dataset_id=str(built.dataset_id),
            annotation_set_id=str(built.annotation_set_id),
            config={"artifact_types": ["glitch"]},
            metadata=metadata,
        )
        job_id = UUID((await stub.CreateTrainingJob(request)).training_job.id)
        await _until_queued(stub, job_id)
        async with self._gateway.database.transaction() as connection:
            assert await training.claim(
                connection, "trainer", 600, status_changed("queued", "training", ""), frontend=""
            )
        job = Job(self._gateway, self._bus, job_id)
        job.publish()
        return job


async def _until_queued(stub: TrainingServiceStub, job_id: UUID) -> None:
    """Waits until the gateway's dispatcher has queued the job."""
    watch = stub.WatchTrainingJob(pb.WatchTrainingJobRequest(training_job_id=str(job_id)))
    async for response in watch:
        if response.event.status_changed.to == pb.TRAINING_JOB_STATUS_QUEUED:
            watch.cancel()
            return
