"""WatchTrainingJobs: one stream of all jobs' events that resumes from each of its cursors."""

import asyncio
import base64
from itertools import pairwise

import pytest
from earmark.v1 import training_service_pb2 as pb
from earmark.v1.training_service_pb2_grpc import TrainingServiceStub

from gateway.watching.log_watch import Cursor
from storage.queries import events
from storage.queries.events import LogKey
from tests.gateway import rows
from tests.gateway.calls import opened, refused
from tests.gateway.driven_jobs import driving

CANCELLED = pb.TRAINING_JOB_STATUS_CANCELLED


@pytest.fixture
async def driver(gateway):
    async with driving(gateway) as driver:
        yield driver


def watch(gateway, after_cursor: str = "", **fields):
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


async def test_a_stream_from_now_starts_with_a_cursor_and_yields_later_events(gateway, driver) -> None:
    before = await driver.job()
    call = watch(gateway, from_now=True)
    start = await call.read()
    assert start.HasField("heartbeat")
    after = await driver.job()
    await before.record("on")
    responses = await take(call, 4)
    assert sorted(summaries(responses)) == sorted(
        [(after.id, 1), (after.id, 2), (after.id, 3), (before.id, 4)]
    )
    assert await take(watch(gateway, start.cursor), 4) == responses


async def test_a_stream_from_now_of_an_empty_log_can_be_resumed(gateway, driver) -> None:
    call = watch(gateway, from_now=True)
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
    here = watch(gateway, statuses=[CANCELLED], dataset_id=str(built.dataset_id))
    assert summaries(await take(here, 3)) == [(job.id, 5) for job in jobs]
    of_team = watch(gateway, statuses=[CANCELLED], dataset_id=str(built.dataset_id), metadata={"team": "tts"})
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


async def test_an_event_above_the_watermark_comes_later_without_a_notification(gateway, driver) -> None:
    job = await driver.job()
    call = watch(gateway)
    for _ in range(3):
        await call.read()
    async with gateway.database.transaction() as connection:
        await connection.fetchval("SELECT pg_current_xact_id()")
        reading = asyncio.create_task(call.read())
        await job.record("above the watermark")
        # The job's own watch does not wait for others' transactions.
        assert (await job.watch(after=3).read()).event.revision == 4
        assert not reading.done()
    assert (await reading).event.revision == 4
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


@pytest.mark.parametrize("cursor", ["x", "ünfug", "AAAA", base64.urlsafe_b64encode(bytes(57)).decode()])
async def test_a_malformed_cursor_is_an_invalid_argument(gateway, cursor) -> None:
    refusal = await refused(watch(gateway, cursor).read(), "INVALID_ARGUMENT", "INVALID_FIELD")
    assert "after_cursor" in refusal.fields


async def test_a_cursor_and_from_now_are_refused_together(gateway) -> None:
    refusal = await refused(watch(gateway, "x", from_now=True).read(), "INVALID_ARGUMENT", "INVALID_FIELD")
    assert "not both" in refusal.message


async def test_a_cursor_of_another_log_is_out_of_range(gateway, driver) -> None:
    await driver.job()
    *_, last = await take(watch(gateway), 3)
    cursor = Cursor.parse(last.cursor)
    xid, job_id, revision = cursor.key
    strange = [
        Cursor(cursor.era, 0, LogKey(xid, job_id, revision + 1)),
        Cursor(cursor.era, 0, LogKey(xid + 1, job_id, revision)),
        Cursor(cursor.era, 0, LogKey(2**64 - 1, job_id, 2**63 - 1)),
        Cursor(job_id, 0, cursor.key),
    ]
    for other in strange:
        refusal = await refused(watch(gateway, str(other)).read(), "OUT_OF_RANGE", "CURSOR_OUT_OF_RANGE")
        assert "another log" in refusal.message
    await gateway.execute("UPDATE training_log SET era = gen_random_uuid()")
    await refused(watch(gateway, last.cursor).read(), "OUT_OF_RANGE", "CURSOR_OUT_OF_RANGE")


async def remove_events(gateway, job) -> None:
    """Removes all of the job's events but the last, as too old."""
    await gateway.execute(
        "UPDATE training_jobs SET finished_at = now() - interval '91 days' WHERE id = $1", job.job_id
    )
    async with gateway.database.connection() as connection:
        assert await events.compact(connection, 90, 1) == 1


async def test_a_cursor_from_before_removed_events_is_out_of_range_and_a_later_one_is_not(
    gateway, driver
) -> None:
    old, running = await driver.job(), await driver.job()
    await old.cancel()
    responses = await take(watch(gateway), 7)
    await remove_events(gateway, old)
    kept = [response for response in responses if response.event.training_job_id == running.id]
    last = responses[-1]
    assert summaries([last]) == [(old.id, 4)]
    # After the last removed event, revision 3 of `old`, come the three of `running` and the last of `old`.
    for response in responses[:2]:
        refusal = await refused(watch(gateway, response.cursor).read(), "OUT_OF_RANGE", "CURSOR_OUT_OF_RANGE")
        assert "too old" in refusal.message
    assert summaries(await take(watch(gateway, responses[2].cursor), 4)) == summaries([*kept, last])
    await running.record("on")
    assert summaries(await take(watch(gateway, last.cursor), 1)) == [(running.id, 4)]


async def test_a_replay_of_the_remaining_events_can_be_resumed_until_more_are_removed(
    gateway, driver
) -> None:
    # Only the last events of the first two jobs remain. They precede the last removed event.
    early, late, later = [await driver.job() for _ in range(3)]
    for job in (early, late, later):
        await job.cancel()
    await remove_events(gateway, early)
    await remove_events(gateway, late)
    whole = await take(watch(gateway), 6)
    for number, response in enumerate(whole[:-1], start=1):
        assert summaries(await take(watch(gateway, response.cursor), 6 - number)) == summaries(whole[number:])
    await remove_events(gateway, later)
    await refused(watch(gateway, whole[0].cursor).read(), "OUT_OF_RANGE", "CURSOR_OUT_OF_RANGE")
    assert summaries(await take(watch(gateway), 3)) == [(job.id, 4) for job in (early, late, later)]


async def test_removing_events_that_a_stream_has_not_read_ends_it(gateway, driver) -> None:
    job = await driver.job()
    call, big = watch(gateway), "x" * 100_000
    for _ in range(3):
        await call.read()
    for _ in range(300):
        await job.record(big)
    await job.cancel()
    await remove_events(gateway, job)
    seen = []

    async def read_all() -> None:
        while True:
            seen.append((await call.read()).event.revision)

    await refused(read_all(), "OUT_OF_RANGE", "CURSOR_OUT_OF_RANGE")
    assert seen == list(range(4, 4 + len(seen)))
    assert len(seen) < 300
