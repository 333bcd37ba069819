"""A job that a test drives as a gateway would, from beside the one that is watched."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from earmark.v1 import training_service_pb2 as pb
from earmark.v1.training_service_pb2_grpc import TrainingServiceStub

from gateway.convert.event_bodies import notice, status_changed
from gateway.watching import topics
from storage.bus import Bus
from storage.queries import training
from tests.gateway import rows
from tests.gateway.calls import Gateway


class Job:
    """In its first attempt, at revision 3. What happens to it reaches the gateway by NOTIFY alone."""

    def __init__(self, gateway: Gateway, bus: Bus, job_id: UUID) -> None:
        self.id = str(job_id)
        self.job_id = job_id
        self._gateway, self._bus = gateway, bus

    def publish(self) -> None:
        """Tells the gateway that something happened."""
        self._bus.publish(*topics.of_job(rows.TENANT, self.job_id))

    async def say(self, message: str) -> None:
        async with self._gateway.database.transaction() as connection:
            event = notice("LOADING", message)
            job = await training.lock_attempt(connection, self.job_id, 1)
            assert await training.advance(connection, job.id, 1, job.revision, 60, event)
        self.publish()

    async def cancel(self) -> None:
        async with self._gateway.database.transaction() as connection:
            event = status_changed("training", "cancelled", "")
            assert await training.finish(connection, self.job_id, 1, "cancelled", event)
        self.publish()

    def watch(self, after: int = 0):
        stub = TrainingServiceStub(self._gateway.channel)
        return stub.WatchTrainingJob(
            pb.WatchTrainingJobRequest(training_job_id=self.id, after_revision=after)
        )

    async def revisions(self, after: int = 0) -> list[int]:
        """All revisions that a watch sees, to its end."""
        return [r.event.revision async for r in self.watch(after) if r.HasField("event")]


@asynccontextmanager
async def driving(gateway: Gateway) -> AsyncIterator["Driver"]:
    async with Bus(gateway.database) as bus:
        yield Driver(gateway, bus)


class Driver:
    """Makes jobs through the gateway, and starts them beside it."""

    def __init__(self, gateway: Gateway, bus: Bus) -> None:
        self._gateway, self._bus = gateway, bus

    async def job(self, built: rows.Built | None = None, **metadata: str) -> Job:
        """On a dataset of its own where none is given."""
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
        await _queued(stub, job_id)
        async with self._gateway.database.transaction() as connection:
            assert await training.claim(connection, "trainer", 600, status_changed("queued", "training", ""))
        job = Job(self._gateway, self._bus, job_id)
        job.publish()
        return job


async def _queued(stub: TrainingServiceStub, job_id: UUID) -> None:
    """Returns when the gateway's dispatcher has seen the job."""
    watch = stub.WatchTrainingJob(pb.WatchTrainingJobRequest(training_job_id=str(job_id)))
    async for response in watch:
        if response.event.status_changed.to == pb.TRAINING_JOB_STATUS_QUEUED:
            watch.cancel()
            return
