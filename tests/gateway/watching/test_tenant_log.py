"""A tenant's log is closed when its last watcher ends, however it ends."""

import asyncio
from contextlib import aclosing
from dataclasses import replace
from functools import partial

import pytest
import pytest_asyncio
from uuid_utils.compat import uuid7

from earmark.gateway import lookup
from earmark.gateway.app import App
from earmark.gateway.caller import begin_call, without_key
from earmark.gateway.settings import GatewaySettings
from earmark.gateway.watching import tenant_log, topics
from earmark.gateway.watching.event_filter import EventFilter
from earmark.gateway.watching.job_watch import follow_job
from earmark.gateway.watching.log_watch import LogWatch
from earmark.gateway.watching.tenant_log import TenantLogs
from earmark.storage.bus import Bus
from earmark.storage.database import Database
from earmark.storage.queries import events
from tests.gateway import rows
from tests.storage import jobs

# Only a hang lasts this long.
TIMEOUT_SECONDS = 20


@pytest_asyncio.fixture
async def app(database_url):
    """An app without trainers, objects and server."""
    async with Database(database_url) as database, Bus(database) as bus:
        yield App(GatewaySettings(), database, database, None, bus, None, None, None, None, None, None)


@pytest_asyncio.fixture
async def job_id(app):
    """A job at revision 3."""
    async with app.database.connection() as connection:
        job_id = await jobs.create(connection, await rows.dataset(connection))
        await jobs.start(connection, job_id)
        return job_id


@pytest.fixture
def logs(app):
    return TenantLogs(app)


def follow(logs, job_id, cursor):
    begin_call(without_key("an address"))
    return follow_job(logs, rows.TENANT, job_id, cursor, lookup.training_job)


async def assert_nothing_left(app, logs) -> None:
    """No watch left a reader, a log or a waiter. A cancelled reader needs some turns of the loop to end."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    readers = {task for task in others if task.get_coro().__qualname__ == "TenantLog._read"}
    await asyncio.wait_for(asyncio.gather(*readers, return_exceptions=True), TIMEOUT_SECONDS)
    assert logs._logs == {}
    assert dict(app.bus._waiters) == {}


async def test_a_closed_watch_leaves_nothing(app, job_id, logs) -> None:
    first, second = follow(logs, job_id, 0), follow(logs, job_id, 0)
    assert [(await anext(watch)).event.revision for watch in (first, second)] == [1, 1]
    assert len(logs._logs) == 1
    await first.aclose()
    assert [(await anext(second)).event.revision for _ in range(2)] == [2, 3]
    await second.aclose()
    await assert_nothing_left(app, logs)


async def test_a_watch_cancelled_while_it_waits_raises_and_leaves_nothing(app, job_id, logs) -> None:
    waiting = asyncio.create_task(anext(follow(logs, job_id, 3)))
    await asyncio.sleep(0)  # lets the watch begin
    assert len(logs._logs) == 1
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await assert_nothing_left(app, logs)


async def test_a_watch_that_reached_the_jobs_end_leaves_nothing(app, job_id, logs) -> None:
    async with app.database.transaction() as connection:
        await jobs.cancel(connection, job_id)
    assert [entry.event.revision async for entry in follow(logs, job_id, 0)] == [1, 2, 3, 4]
    await assert_nothing_left(app, logs)


async def test_a_watch_that_starts_after_another_failed_is_served(app, job_id, logs, monkeypatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(events, "log_end", None)
        first = follow(logs, job_id, 2)
        with pytest.raises(TypeError):
            await anext(first)
    await assert_nothing_left(app, logs)
    async with aclosing(follow(logs, job_id, 2)) as second:
        assert (await anext(second)).event.revision == 3
    await assert_nothing_left(app, logs)


async def test_an_event_that_was_not_published_is_read_at_the_next_heartbeat(app, job_id) -> None:
    quick = replace(app, settings=GatewaySettings(heartbeat_seconds=0.02))
    watch = follow(TenantLogs(quick), job_id, 3)
    assert await anext(watch) == 3
    async with app.database.transaction() as connection:
        await jobs.add_event(connection, job_id)
    while (item := await anext(watch)) == 3:
        pass
    assert item.event.revision == 4
    await watch.aclose()


async def test_watches_of_several_kinds_share_a_log(app, job_id, logs) -> None:
    everything = LogWatch(logs, rows.TENANT, EventFilter(frozenset({"training_job"})))
    start = await everything.start("", from_start=True)
    async with aclosing(everything.follow(start)) as all_events, aclosing(follow(logs, job_id, 0)) as of_job:
        for revision in (1, 2, 3):
            entry, _ = await anext(all_events)
            assert entry is await anext(of_job)
            assert entry.event.revision == revision
        assert len(logs._logs) == 1
    await assert_nothing_left(app, logs)


async def test_an_event_wakes_its_jobs_watcher_and_no_other_jobs(app, job_id, logs) -> None:
    with logs.subscribe(rows.TENANT) as log:
        await log.started()
        mine, everything, others = log.changed(job_id), log.changed(), log.changed(uuid7())
        async with app.database.transaction() as connection:
            await jobs.add_event(connection, job_id)
        app.bus.publish(topics.events(rows.TENANT))
        await asyncio.wait_for(everything.wait(), TIMEOUT_SECONDS)
        assert mine.is_set()
        assert not others.is_set()


async def test_an_event_is_dropped_from_memory_for_the_watch_of_its_job_too(
    app, job_id, logs, monkeypatch
) -> None:
    monkeypatch.setattr(tenant_log, "KEPT", 4)
    with logs.subscribe(rows.TENANT) as log:
        await log.started()
        changed = log.changed(job_id)
        async with app.database.transaction() as connection:
            for _ in range(6):
                await jobs.add_event(connection, job_id)
        app.bus.publish(topics.events(rows.TENANT))
        await asyncio.wait_for(changed.wait(), TIMEOUT_SECONDS)
        # Revision 9 is the last.
        kept = [entry.event.revision for entry in map(partial(log.next_of, job_id), range(9)) if entry]
        assert kept == [6, 7, 8, 9]


async def test_an_event_that_was_dropped_before_its_watcher_ran_is_read(
    app, job_id, logs, monkeypatch
) -> None:
    monkeypatch.setattr(tenant_log, "KEPT", 4)
    async with app.database.connection() as connection:
        other = await jobs.create(connection, await rows.dataset(connection))
        await jobs.start(connection, other)
    watch = follow(logs, job_id, 2)
    assert (await anext(watch)).event.revision == 3
    following = asyncio.create_task(anext(watch))
    await asyncio.sleep(0)  # lets the watch wait for the next event
    async with app.database.transaction() as connection:
        for job in (job_id, *[other] * 10):
            await jobs.add_event(connection, job)
    app.bus.publish(topics.events(rows.TENANT))
    assert (await asyncio.wait_for(following, TIMEOUT_SECONDS)).event.revision == 4
    await watch.aclose()
