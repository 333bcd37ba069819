"""Watches: ordered, without gap or duplicate, and resumable from any revision."""

import asyncio
from uuid import UUID

import pytest
from earmark.v1 import training_service_pb2 as pb
from earmark.v1.training_service_pb2_grpc import TrainingServiceStub

from gateway import topics
from gateway.convert.training import notice, status_changed
from storage import training
from storage.bus import Bus
from tests.gateway import build
from tests.gateway.calls import NOWHERE, opened, refused


class Job:
    """A job in its first attempt, driven as a gateway would, from beside the one that is watched."""

    def __init__(self, gateway, bus: Bus, job_id: UUID) -> None:
        self.id = str(job_id)
        self._gateway, self._bus, self._job_id = gateway, bus, job_id

    async def say(self, message: str) -> None:
        async with self._gateway.database.transaction() as connection:
            event = notice("LOADING", message)
            assert await training.advance(connection, self._job_id, 1, 60, event)
        self._bus.publish(topics.job(self._job_id))

    async def cancel(self) -> None:
        async with self._gateway.database.transaction() as connection:
            event = status_changed("training", "cancelled", "")
            assert await training.finish(connection, self._job_id, 1, "cancelled", event)
        self._bus.publish(topics.job(self._job_id))

    def watch(self, after: int = 0):
        stub = TrainingServiceStub(self._gateway.channel)
        return stub.WatchTrainingJob(
            pb.WatchTrainingJobRequest(training_job_id=self.id, after_revision=after)
        )

    async def revisions(self, after: int = 0) -> list[int]:
        """All revisions that a watch sees, to its end."""
        return [r.event.revision async for r in self.watch(after) if r.HasField("event")]


@pytest.fixture
async def job(gateway):
    """Training, at revision 3. What happens to it reaches the gateway by NOTIFY alone."""
    async with gateway.database.transaction() as connection:
        built = await build.dataset(connection)
    stub = TrainingServiceStub(gateway.channel)
    reply = await stub.CreateTrainingJob(
        pb.CreateTrainingJobRequest(
            dataset_id=str(built.dataset_id),
            annotation_set_id=str(built.annotation_set_id),
            config={"artifact_types": ["glitch"]},
        )
    )
    job_id = UUID(reply.training_job.id)
    async for response in stub.WatchTrainingJob(pb.WatchTrainingJobRequest(training_job_id=str(job_id))):
        if response.event.status_changed.to == pb.TRAINING_JOB_STATUS_QUEUED:
            break
    async with gateway.database.transaction() as connection:
        assert await training.claim(connection, 60, status_changed("queued", "training", ""))
    async with Bus(gateway.database) as bus:
        yield Job(gateway, bus, job_id)


async def test_two_watchers_see_the_same_events_each_from_its_revision(job) -> None:
    whole = asyncio.create_task(job.revisions())
    for number in range(40):
        await job.say(str(number))
    middle = asyncio.create_task(job.revisions(after=20))
    for number in range(40):
        await job.say(str(number))
    await job.cancel()
    assert await whole == list(range(1, 85))
    assert await middle == list(range(21, 85))


async def test_a_finished_jobs_watch_has_its_history_and_an_end(job) -> None:
    await job.say("first")
    await job.cancel()
    assert await job.revisions() == [1, 2, 3, 4, 5]
    assert await job.revisions(after=4) == [5]
    assert await job.revisions(after=5) == []


async def test_a_long_history_comes_whole(job) -> None:
    for number in range(450):
        await job.say(str(number))
    await job.cancel()
    assert await job.revisions() == list(range(1, 455))


async def test_an_event_reaches_a_watcher_that_waits(job) -> None:
    watch = job.watch(after=3)
    await job.say("hello")
    response = await watch.read()
    assert (response.event.notice.message, response.event.revision) == ("hello", 4)
    assert response.event.attempt == 1
    watch.cancel()


async def test_a_cursor_from_the_future_is_out_of_range(job) -> None:
    refusal = await refused(job.watch(after=99).read(), "OUT_OF_RANGE", "CURSOR_OUT_OF_RANGE")
    assert dict(refusal.info.metadata) == {"oldest_revision": "1", "latest_revision": "3"}


async def test_watching_an_unknown_job_is_not_found(gateway) -> None:
    stub = TrainingServiceStub(gateway.channel)
    watch = stub.WatchTrainingJob(pb.WatchTrainingJobRequest(training_job_id=NOWHERE))
    await refused(watch.read(), "NOT_FOUND", "NOT_FOUND")


async def test_an_idle_watch_has_heartbeats_with_the_revision(database_url, tmp_path) -> None:
    async with opened(database_url, tmp_path, heartbeat_seconds=0.05) as gateway:
        async with gateway.database.transaction() as connection:
            built = await build.dataset(connection)
        stub = TrainingServiceStub(gateway.channel)
        reply = await stub.CreateTrainingJob(
            pb.CreateTrainingJobRequest(
                dataset_id=str(built.dataset_id),
                annotation_set_id=str(built.annotation_set_id),
                config={"artifact_types": ["glitch"]},
            )
        )
        watch = stub.WatchTrainingJob(pb.WatchTrainingJobRequest(training_job_id=reply.training_job.id))
        beats = [r.heartbeat.revision async for r in _first(watch, 2) if r.HasField("heartbeat")]
        assert beats == [2, 2]


async def _first(watch, beats: int):
    async for response in watch:
        yield response
        beats -= response.HasField("heartbeat")
        if not beats:
            watch.cancel()
            return


async def test_what_a_stale_attempt_writes_changes_nothing(gateway, job) -> None:
    job_id = UUID(job.id)
    async with gateway.database.transaction() as connection:
        assert await training.requeue(
            connection, job_id, 1, status_changed("training", "queued", ""), lost=True
        )
        assert await training.claim(connection, 60, status_changed("queued", "training", ""))
    async with gateway.database.transaction() as connection:
        assert await training.advance(connection, job_id, 1, 60, notice("LOADING", "late")) is None
        assert await training.finish(connection, job_id, 1, "cancelled", {}) is None
        assert await training.requeue(connection, job_id, 1, {}, lost=True) is None
        assert await training.renew(connection, job_id, 1, 60) is None
        assert await training.set_checkpoint(connection, job_id, 1, "late") is None
        current = await training.get(connection, build.TENANT, job_id)
    assert (current.attempt, current.status, current.revision, current.checkpoint) == (2, "training", 5, None)
