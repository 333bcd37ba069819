"""A job's feed is closed when its last watcher ends, however it ends."""

import asyncio

import pytest
import pytest_asyncio

from gateway.app import App
from gateway.settings import GatewaySettings
from gateway.watching.job_watch import JobWatches
from storage.bus import Bus
from storage.database import Database
from storage.queries import training
from tests.gateway import rows
from tests.storage import jobs

# Only a hang lasts this long.
TIMEOUT_SECONDS = 20


@pytest_asyncio.fixture
async def app(database_url):
    """An app without trainers, objects and server."""
    async with Database(database_url) as database, Bus(database) as bus:
        yield App(GatewaySettings(), database, bus, None, None)


@pytest_asyncio.fixture
async def job(app):
    """A job at revision 3."""
    async with app.database.connection() as connection:
        job_id = await jobs.create(connection, await rows.dataset(connection))
        await jobs.start(connection, job_id)
        return await training.get(connection, rows.TENANT, job_id)


@pytest.fixture
def watches(app):
    return JobWatches(app, lambda event: event)


async def cancel(app, job) -> None:
    async with app.database.transaction() as connection:
        await jobs.cancel(connection, job.id)
    app.bus.publish(f"job:{job.id}")


async def assert_nothing_left(app, watches) -> None:
    """No watch left a reader, a feed or a waiter. A cancelled reader needs some turns of the loop to end."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    readers = {task for task in others if task.get_coro().__qualname__ == "Feed._read"}
    await asyncio.wait_for(asyncio.gather(*readers, return_exceptions=True), TIMEOUT_SECONDS)
    assert watches._feeds._feeds == {}
    assert dict(app.bus._waiters) == {}


async def test_a_closed_watch_leaves_nothing(app, job, watches) -> None:
    first, second = watches.follow(job, 0), watches.follow(job, 0)
    assert [(await anext(first)).revision, (await anext(second)).revision] == [1, 1]
    assert len(watches._feeds._feeds) == 1
    await first.aclose()
    assert [event.revision for event in [await anext(second), await anext(second)]] == [2, 3]
    await second.aclose()
    await assert_nothing_left(app, watches)


async def test_a_watch_cancelled_while_it_waits_raises_and_leaves_nothing(app, job, watches) -> None:
    waiting = asyncio.create_task(anext(watches.follow(job, 3)))
    await asyncio.sleep(0)
    assert len(watches._feeds._feeds) == 1
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await assert_nothing_left(app, watches)


async def test_a_watch_that_reached_the_jobs_end_leaves_nothing(app, job, watches) -> None:
    await cancel(app, job)
    assert [event.revision async for event in watches.follow(job, 0)] == [1, 2, 3, 4]
    await assert_nothing_left(app, watches)


async def test_a_watch_that_starts_after_another_failed_is_served(app, job) -> None:
    broken = JobWatches(app, lambda event: event.body["no such key"])
    first = broken.follow(job, 2)
    with pytest.raises(KeyError):
        await anext(first)
    await assert_nothing_left(app, broken)
    broken._feeds._convert = lambda event: event
    second = broken.follow(job, 2)
    assert (await anext(second)).revision == 3
    await second.aclose()
    await assert_nothing_left(app, broken)


async def test_an_event_that_was_not_published_is_read_at_the_next_heartbeat(app, job) -> None:
    quick = App(GatewaySettings(heartbeat_seconds=0.02), app.database, app.bus, None, None)
    watch = JobWatches(quick, lambda event: event).follow(job, 3)
    assert await anext(watch) == 3
    async with app.database.transaction() as connection:
        await jobs.add_event(connection, job.id)
    while (item := await anext(watch)) == 3:
        pass
    assert item.revision == 4
    await watch.aclose()
