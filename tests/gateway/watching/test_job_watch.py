"""WatchTrainingJob: events come in order, without gaps or duplicates, and resume from any revision."""

import asyncio
from uuid import UUID

import pytest
from grpc import aio

from earmark.gateway.convert.event_bodies import notice, status_changed
from earmark.gateway.watching import tenant_log
from earmark.storage.queries import events, training
from earmark.v1 import training_service_pb2 as pb
from earmark.v1.training_service_pb2_grpc import TrainingServiceStub
from tests.gateway import rows
from tests.gateway.calls import NOWHERE, opened, refused
from tests.gateway.driven_jobs import driving


@pytest.fixture
async def job(gateway):
    """A job in training, at revision 3."""
    async with driving(gateway) as driver:
        yield await driver.job()


async def test_two_watchers_receive_the_same_events_each_from_its_revision(job) -> None:
    whole = asyncio.create_task(job.revisions())
    for number in range(40):
        await job.record(str(number))
    middle = asyncio.create_task(job.revisions(after=20))
    for number in range(40):
        await job.record(str(number))
    await job.cancel()
    assert await whole == list(range(1, 85))
    assert await middle == list(range(21, 85))


async def test_a_watch_of_a_finished_job_yields_its_history_and_ends(job) -> None:
    await job.record("first")
    await job.cancel()
    assert await job.revisions() == [1, 2, 3, 4, 5]
    assert await job.revisions(after=4) == [5]
    assert await job.revisions(after=5) == []


async def test_a_long_history_is_complete(job) -> None:
    for number in range(450):
        await job.record(str(number))
    await job.cancel()
    assert await job.revisions() == list(range(1, 455))


async def test_a_filter_by_kind_yields_the_events_of_these_kinds_and_ends_with_the_job(job) -> None:
    await job.record("first")
    waiting = job.watch(kinds=[pb.TRAINING_EVENT_KIND_NOTICE])
    assert (await waiting.read()).event.revision == 4
    await job.record("second")
    await job.cancel()
    assert (await waiting.read()).event.revision == 5
    assert await waiting.read() == aio.EOF
    assert await job.revisions(kinds=[pb.TRAINING_EVENT_KIND_STATUS_CHANGED]) == [1, 2, 3, 6]
    assert await job.revisions(after=5, kinds=[pb.TRAINING_EVENT_KIND_NOTICE]) == []


async def test_heartbeats_of_a_filtered_watch_advance(database_url, tmp_path) -> None:
    async with opened(database_url, tmp_path, heartbeat_seconds=0.02) as gateway, driving(gateway) as driver:
        job = await driver.job()
        watch = job.watch(kinds=[pb.TRAINING_EVENT_KIND_NOTICE])
        while (await watch.read()).heartbeat.revision != 3:
            pass
        await job.record("on")
        while not (response := await watch.read()).HasField("event"):
            pass
        assert response.event.revision == 4
        watch.cancel()


async def test_a_waiting_watcher_receives_an_event(job) -> None:
    watch = job.watch(after=3)
    await job.record("hello")
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


async def test_an_idle_watch_sends_heartbeats_with_the_revision(database_url, tmp_path) -> None:
    async with opened(database_url, tmp_path, heartbeat_seconds=0.05) as gateway:
        async with gateway.database.transaction() as connection:
            built = await rows.dataset(connection)
        stub = TrainingServiceStub(gateway.channel)
        reply = await stub.CreateTrainingJob(
            pb.CreateTrainingJobRequest(
                dataset_id=str(built.dataset_id),
                annotation_set_id=str(built.annotation_set_id),
                config={"artifact_types": ["glitch"]},
            )
        )
        watch = stub.WatchTrainingJob(pb.WatchTrainingJobRequest(training_job_id=reply.training_job.id))
        beats = [r.heartbeat.revision async for r in _until_heartbeats(watch, 2) if r.HasField("heartbeat")]
        assert beats == [2, 2]


async def _until_heartbeats(watch, beats: int):
    async for response in watch:
        yield response
        beats -= response.HasField("heartbeat")
        if not beats:
            watch.cancel()
            return


async def test_a_slow_watcher_misses_nothing_and_delays_nobody(job, monkeypatch) -> None:
    monkeypatch.setattr(tenant_log, "KEPT", 64)
    # More events than are kept in memory, with more bytes than the connection buffers.
    big, many = "x" * 100_000, 94
    slow, quick = job.watch(after=3), job.watch(after=3)
    for number in range(many):
        await job.record(f"{number} {big}")
        assert (await quick.read()).event.revision == 4 + number
    await job.cancel()
    assert [r.event.revision async for r in slow] == list(range(4, 5 + many))
    quick.cancel()


async def test_watches_end_when_the_database_fails_and_later_ones_are_served(gateway, job) -> None:
    watches = [job.watch(after=3) for _ in range(3)]
    await job.record("first")
    for watch in watches:
        await watch.read()
    async with gateway.database.transaction() as connection:
        await connection.execute("LOCK TABLE events")
        job.publish()
        await _kill_waiting_connection(connection)
        for watch in watches:
            await refused(watch.read(), "UNAVAILABLE", "DATABASE_UNAVAILABLE")
    late = [job.watch(after=4), job.watch(after=3)]
    assert (await late[1].read()).event.revision == 4
    await job.record("second")
    for watch in late:
        assert (await watch.read()).event.revision == 5
        watch.cancel()


async def _kill_waiting_connection(connection) -> None:
    """Waits until a connection waits for a lock, and terminates it."""
    await connection.execute("RESET ROLE")
    # Not pg_stat_activity: a transaction reads it once.
    while not await connection.fetchval(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_locks WHERE NOT granted"
    ):
        pass


async def test_a_revision_before_removed_events_is_out_of_range(gateway, job) -> None:
    await job.record("first")
    await job.cancel()
    await gateway.execute("UPDATE events SET time = now() - interval '91 days'")
    await events.compact(gateway.database, 90)
    for revision in (0, 3):
        refusal = await refused(job.watch(revision).read(), "OUT_OF_RANGE", "CURSOR_OUT_OF_RANGE")
        assert dict(refusal.info.metadata) == {"oldest_revision": "5", "latest_revision": "5"}
        assert "watch from 4" in refusal.message
    assert await job.revisions(after=4) == [5]
    assert await job.revisions(after=5) == []


async def test_removing_events_that_a_watcher_has_not_read_ends_its_watch(gateway, job, monkeypatch) -> None:
    monkeypatch.setattr(tenant_log, "KEPT", 64)
    big, many = "x" * 100_000, 304
    watch = job.watch(after=3)
    await job.record(f"0 {big}")
    assert (await watch.read()).event.revision == 4
    for number in range(many):
        await job.record(f"{number} {big}")
    await job.cancel()
    await gateway.execute("UPDATE events SET time = now() - interval '91 days'")
    await events.compact(gateway.database, 90)
    seen = []

    async def read_all() -> None:
        while True:
            seen.append((await watch.read()).event.revision)

    await refused(read_all(), "OUT_OF_RANGE", "CURSOR_OUT_OF_RANGE")
    assert seen == list(range(5, 5 + len(seen)))
    assert len(seen) < many


async def test_writes_of_a_stale_attempt_change_nothing(gateway, job) -> None:
    job_id = UUID(job.id)
    async with gateway.database.transaction() as connection:
        queued = status_changed("training", "queued", "")
        assert await training.JOBS.requeue(connection, job_id, 1, "lost", "why", queued)
        begun = await training.claim(
            connection, "trainer", 60, status_changed("queued", "training", ""), frontend=""
        )
    async with gateway.database.transaction() as connection:
        late = notice("LOADING", "late")
        for revision in (begun.revision - 1, begun.revision):
            assert await training.advance(connection, job_id, 1, revision, 60, late) is None
        assert await training.JOBS.lock_attempt(connection, job_id, 1) is None
        assert await training.finish(connection, job_id, 1, "cancelled", {}) is None
        assert await training.JOBS.requeue(connection, job_id, 1, "lost", "", {}) is None
        assert await training.JOBS.renew(connection, job_id, 1, 60) is None
        assert not await training.set_checkpoint(connection, job_id, 1, "late")
        current = await training.get(connection, rows.TENANT, job_id)
    assert (current.attempt, current.status, current.revision, current.checkpoint) == (2, "training", 5, None)
    assert [(a.number, a.outcome, a.reason) for a in current.attempts] == [
        (1, "lost", "why"),
        (2, None, None),
    ]


async def test_an_event_whose_commit_was_not_confirmed_is_recorded_once(gateway, job) -> None:
    job_id, event = UUID(job.id), notice("LOADING", "once")
    for _ in range(2):
        async with gateway.database.transaction() as connection:
            updated = await training.advance(connection, job_id, 1, 3, 60, event)
            assert updated.revision == 4
    await job.cancel()
    assert await job.revisions() == [1, 2, 3, 4, 5]
