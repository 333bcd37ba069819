"""WatchTrainingJobs: one stream of all jobs' events that resumes from each of its cursors."""

import asyncio
import base64
from dataclasses import replace
from itertools import pairwise

import pytest
from grpc import aio

from earmark.gateway.watching import tenant_log
from earmark.gateway.watching.cursor import Cursor
from earmark.storage.queries import events
from earmark.v1 import training_service_pb2 as pb
from earmark.v1.training_service_pb2_grpc import TrainingServiceStub
from tests.gateway import rows
from tests.gateway.calls import opened, refused
from tests.gateway.driven_jobs import driving
from tests.storage import jobs as stored_jobs

DELETED, STATUS_CHANGED = pb.TRAINING_EVENT_KIND_DELETED, pb.TRAINING_EVENT_KIND_STATUS_CHANGED
CANCELLED = pb.TRAINING_JOB_STATUS_CANCELLED


@pytest.fixture
async def driver(gateway):
    async with driving(gateway) as driver:
        yield driver


def watch(gateway, after_cursor: str = "", **fields):
    """A watch after the cursor; without one, from the start unless `from_start` is false."""
    fields = {"from_start": not after_cursor} | fields
    request = pb.WatchTrainingJobsRequest(after_cursor=after_cursor, **fields)
    return TrainingServiceStub(gateway.channel).WatchTrainingJobs(request)


async def take(call, count: int) -> list[pb.WatchTrainingJobsResponse]:
    """Reads this many events and cancels the call."""
    responses = []
    while len(responses) < count:
        response = await call.read()
        if response.HasField("event"):
            responses.append(response)
    call.cancel()
    return responses


def summaries(responses) -> list[tuple[str, int]]:
    """Each event's job and revision."""
    return [(r.event.training_job_id, r.event.revision) for r in responses]


async def test_every_cursor_resumes_right_after_its_event(gateway, driver) -> None:
    whole = watch(gateway)
    first, second = await driver.job(), await driver.job()
    for number in range(3):
        await asyncio.gather(first.record(str(number)), second.record(str(number)))
    await asyncio.gather(first.cancel(), second.cancel())
    responses = await take(whole, 14)
    for job in (first, second):
        assert [revision for job_id, revision in summaries(responses) if job_id == job.id] == list(
            range(1, 8)
        )
    assert responses[0].event.status_changed.to == pb.TRAINING_JOB_STATUS_PENDING
    for number, response in enumerate(responses[:-1], start=1):
        assert await take(watch(gateway, response.cursor), 14 - number) == responses[number:]


async def test_a_stream_begins_now_unless_told_otherwise_and_starts_with_a_cursor(gateway, driver) -> None:
    before = await driver.job()
    call = watch(gateway, from_start=False)
    start = await call.read()
    assert start.HasField("heartbeat")
    after = await driver.job()
    await before.record("on")
    responses = await take(call, 4)
    assert summaries(responses) == [(after.id, 1), (after.id, 2), (after.id, 3), (before.id, 4)]
    assert await take(watch(gateway, start.cursor), 4) == responses


async def test_a_stream_of_an_empty_log_stays_open_and_can_be_resumed(gateway, driver) -> None:
    call = watch(gateway, from_start=False)
    start = await call.read()
    call.cancel()
    job = await driver.job()
    assert summaries(await take(watch(gateway, start.cursor), 3)) == [(job.id, 1), (job.id, 2), (job.id, 3)]


async def test_a_filter_by_final_status_yields_one_event_per_job(gateway, driver) -> None:
    async with gateway.database.transaction() as connection:
        built = await rows.dataset(connection)
    jobs = [await driver.job(built, team=team) for team in ("tts", "asr", "tts")]
    elsewhere = await driver.job(team="tts")
    for job in (*jobs, elsewhere):
        await job.record("on")
        await job.cancel()
    everywhere = await take(watch(gateway, statuses=[CANCELLED]), 4)
    assert summaries(everywhere) == [(job.id, 5) for job in (*jobs, elsewhere)]
    here = watch(gateway, statuses=[CANCELLED], dataset_ids=[str(built.dataset_id)])
    assert summaries(await take(here, 3)) == [(job.id, 5) for job in jobs]
    of_team = watch(
        gateway, statuses=[CANCELLED], dataset_ids=[str(built.dataset_id)], metadata={"team": "tts"}
    )
    assert summaries(await take(of_team, 2)) == [(jobs[0].id, 5), (jobs[2].id, 5)]


async def test_the_cursor_advances_over_events_that_the_filter_excludes(database_url, tmp_path) -> None:
    async with opened(database_url, tmp_path, heartbeat_seconds=0.05) as gateway, driving(gateway) as driver:
        job = await driver.job()
        narrow, last = watch(gateway, statuses=[CANCELLED]), None
        whole = await take(watch(gateway), 3)
        while last is None or last.cursor != whole[-1].cursor:
            last = await narrow.read()
            assert last.HasField("heartbeat")
        await job.cancel()
        # Another filter may be used with the cursor.
        assert summaries(await take(watch(gateway, last.cursor), 1)) == [(job.id, 4)]
        assert summaries(await take(narrow, 1)) == [(job.id, 4)]


async def test_a_filter_by_kind_yields_the_events_of_these_kinds(gateway, driver) -> None:
    job = await driver.job()
    await job.record("on")
    await job.cancel()
    await job.delete()
    changes = await take(watch(gateway, kinds=[STATUS_CHANGED, DELETED]), 5)
    assert summaries(changes) == [(job.id, revision) for revision in (1, 2, 3, 5, 6)]
    final = watch(gateway, kinds=[STATUS_CHANGED], statuses=[CANCELLED])
    assert summaries(await take(final, 1)) == [(job.id, 5)]


async def test_a_deletion_is_an_event_that_ends_the_jobs_own_watch(gateway, driver) -> None:
    job, other = await driver.job(team="tts"), await driver.job()
    call = watch(gateway, from_start=False, kinds=[DELETED], metadata={"team": "tts"})
    await call.read()
    own = job.watch(after=2)
    # The watch has found the job once its first event is here.
    assert (await own.read()).event.revision == 3
    await other.delete()
    await job.delete()
    (response,) = await take(call, 1)
    assert summaries([response]) == [(job.id, 4)]
    assert response.event.HasField("deleted")
    assert (await own.read()).event == response.event
    assert await own.read() == aio.EOF
    await refused(job.watch().read(), "NOT_FOUND", "NOT_FOUND")


async def test_an_event_is_not_delayed_by_a_transaction_that_stays_open(gateway, driver) -> None:
    job = await driver.job()
    call = watch(gateway)
    for _ in range(3):
        await call.read()
    async with gateway.database.transaction() as connection:
        await connection.execute("CREATE TABLE busy AS SELECT pg_current_xact_id()")
        await job.record("on")
        assert (await call.read()).event.revision == 4
    call.cancel()


async def test_events_of_concurrent_writers_come_in_order(gateway, driver) -> None:
    jobs = [await driver.job() for _ in range(5)]
    call = watch(gateway)
    for _ in range(10):
        await asyncio.gather(*(job.record("on") for job in jobs))
    responses = await take(call, 5 * 13)
    for job in jobs:
        assert [revision for job_id, revision in summaries(responses) if job_id == job.id] == list(
            range(1, 14)
        )
    assert all(one.cursor != other.cursor for one, other in pairwise(responses))


@pytest.mark.parametrize("cursor", ["x", "ünfug", "AAAA", base64.urlsafe_b64encode(bytes(25)).decode()])
async def test_a_malformed_cursor_is_an_invalid_argument(gateway, cursor) -> None:
    refusal = await refused(watch(gateway, cursor).read(), "INVALID_ARGUMENT", "INVALID_FIELD")
    assert "after_cursor" in refusal.fields


async def test_a_cursor_and_from_start_are_refused_together(gateway) -> None:
    call = watch(gateway, "x", from_start=True)
    refusal = await refused(call.read(), "INVALID_ARGUMENT", "INVALID_FIELD")
    assert "not both" in refusal.message


async def test_a_cursor_of_another_log_is_out_of_range(gateway, driver) -> None:
    job = await driver.job()
    first, _, last = await take(watch(gateway), 3)
    cursor = Cursor.parse(last.cursor)
    strange = [
        replace(cursor, sequence=cursor.sequence + 1),
        replace(cursor, sequence=cursor.sequence - 1),
        replace(cursor, sequence=2**63 - 1),
        replace(cursor, time=cursor.time + 1),
    ]
    for other in strange:
        refusal = await refused(watch(gateway, str(other)).read(), "OUT_OF_RANGE", "CURSOR_OUT_OF_RANGE")
        assert "another log" in refusal.message
    # A database restored from a backup, in which another event gets the number.
    end = Cursor.parse(first.cursor).sequence
    await gateway.execute(f"DELETE FROM events WHERE sequence > {end}")
    await gateway.execute(f"UPDATE tenant_logs SET last_sequence = {end}")
    await gateway.execute("UPDATE training_jobs SET revision = 1")
    await refused(watch(gateway, last.cursor).read(), "OUT_OF_RANGE", "CURSOR_OUT_OF_RANGE")
    await job.record("on")
    await job.record("on")
    await refused(watch(gateway, last.cursor).read(), "OUT_OF_RANGE", "CURSOR_OUT_OF_RANGE")
    assert summaries(await take(watch(gateway, first.cursor), 2)) == [(job.id, 2), (job.id, 3)]


async def remove_events(gateway, job, revision: int) -> None:
    """Removes what the events up to this one supersede, as too old."""
    async with gateway.database.connection() as connection:
        query = "SELECT sequence FROM events WHERE resource_id = $1 AND revision = $2"
        sequence = await connection.fetchval(query, job.job_id, revision)
        await stored_jobs.age(connection, sequence, 91)
    await events.compact(gateway.database, 90)


async def test_a_cursor_from_before_removed_events_is_out_of_range_and_a_later_one_is_not(
    gateway, driver
) -> None:
    old, running = await driver.job(), await driver.job()
    await old.cancel()
    await running.record("on")
    await remove_events(gateway, old, 4)
    responses = await take(watch(gateway), 3)
    assert summaries(responses) == [(running.id, 3), (old.id, 4), (running.id, 4)]
    # Cursors from before the removal.
    stale, last = [str(replace(Cursor.parse(response.cursor), compacted=0)) for response in responses[:2]]
    refusal = await refused(watch(gateway, stale).read(), "OUT_OF_RANGE", "CURSOR_OUT_OF_RANGE")
    assert "too old" in refusal.message
    assert summaries(await take(watch(gateway, last), 1)) == [(running.id, 4)]


async def test_a_replay_of_the_remaining_events_can_be_resumed_until_more_are_removed(
    gateway, driver
) -> None:
    jobs = [await driver.job() for _ in range(3)]
    for job in jobs:
        await job.cancel()
    await remove_events(gateway, jobs[1], 4)
    whole = await take(watch(gateway), 4)
    assert summaries(whole) == [(jobs[2].id, 3), *((job.id, 4) for job in jobs)]
    for number, response in enumerate(whole[:-1], start=1):
        assert summaries(await take(watch(gateway, response.cursor), 4 - number)) == summaries(whole[number:])
    await remove_events(gateway, jobs[2], 4)
    await refused(watch(gateway, whole[0].cursor).read(), "OUT_OF_RANGE", "CURSOR_OUT_OF_RANGE")
    assert summaries(await take(watch(gateway), 3)) == [(job.id, 4) for job in jobs]


async def test_removing_events_that_a_stream_has_not_read_ends_it(gateway, driver, monkeypatch) -> None:
    monkeypatch.setattr(tenant_log, "KEPT", 20)
    job = await driver.job()
    call, big = watch(gateway), "x" * 100_000
    for _ in range(3):
        await call.read()
    for _ in range(300):
        await job.record(big)
    await remove_events(gateway, job, 303)
    seen = []

    async def read_all() -> None:
        while True:
            seen.append((await call.read()).event.revision)

    await refused(read_all(), "OUT_OF_RANGE", "CURSOR_OUT_OF_RANGE")
    assert seen == list(range(4, 4 + len(seen)))
    assert len(seen) < 300


async def test_all_watches_of_a_tenant_share_one_reader(gateway, driver, monkeypatch) -> None:
    jobs, reads = [await driver.job() for _ in range(3)], 0
    calls = [watch(gateway, from_start=False) for _ in range(20)]
    own = [job.watch(after=2) for job in jobs for _ in range(10)]
    for call in calls:
        assert (await call.read()).HasField("heartbeat")
    for call in own:
        assert (await call.read()).event.revision == 3
    log = events.log

    async def counted(*arguments):
        nonlocal reads
        reads += 1
        return await log(*arguments)

    monkeypatch.setattr(events, "log", counted)
    monkeypatch.setattr(events, "of_job", None)
    for number in range(10):
        for job in jobs:
            await job.record(str(number))
    for call in calls:
        assert len(await take(call, 30)) == 30
    for call in own:
        assert [(await call.read()).event.revision for _ in range(10)] == list(range(4, 14))
        call.cancel()
    assert reads <= 60


async def test_a_slow_stream_misses_nothing_and_delays_nobody(gateway, driver, monkeypatch) -> None:
    monkeypatch.setattr(tenant_log, "KEPT", 20)
    job = await driver.job()
    # More events than are kept in memory, with more bytes than the connection buffers.
    big, many = "x" * 100_000, 100
    slow, quick = watch(gateway, from_start=False), watch(gateway, from_start=False)
    for call in (slow, quick):
        await call.read()
    for _ in range(many):
        await job.record(big)
        await quick.read()
    quick.cancel()
    assert [r.event.revision for r in await take(slow, many)] == list(range(4, 4 + many))
