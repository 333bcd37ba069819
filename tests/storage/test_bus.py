"""The bus between two gateways, on a real server."""

import asyncio
from contextlib import ExitStack

import pytest_asyncio

from earmark.storage import bus
from earmark.storage.bus import Bus
from earmark.storage.database import Database

# Long enough that only a hang exceeds it.
SECONDS = 20


@pytest_asyncio.fixture
async def database(database_url):
    async with Database(database_url) as opened:
        yield opened


@pytest_asyncio.fixture
async def buses(database):
    """The buses of two gateways."""
    async with Bus(database) as one, Bus(database) as other:
        yield one, other


async def woken(event: asyncio.Event) -> None:
    await asyncio.wait_for(event.wait(), SECONDS)
    event.clear()


async def test_a_topic_wakes_its_waiters_in_every_gateway_and_no_others(buses) -> None:
    here, there = buses
    with (
        here.subscribe("job:1") as local,
        there.subscribe("job:1") as remote,
        there.subscribe("job:2") as other,
        there.subscribe("job:last") as last,
    ):
        # Each bus wakes all its waiters when it starts to listen.
        for event in (local, remote, other, last):
            await woken(event)
        here.publish("job:1")
        assert local.is_set()
        await woken(remote)
        here.publish("job:last")
        await woken(last)
        assert not other.is_set()


async def test_many_topics_published_at_once_all_arrive(buses) -> None:
    here, there = buses
    topics = [f"job:{number}" for number in range(500)]
    with ExitStack() as stack:
        events = [stack.enter_context(there.subscribe(topic)) for topic in topics]
        for event in events:
            await woken(event)
        here.publish(*topics)
        for event in events:
            await woken(event)


async def test_a_topic_published_while_it_is_being_sent_is_sent_again(buses) -> None:
    here, there = buses
    with there.subscribe("job:1") as event:
        await woken(event)
        for _ in range(100):
            here.publish("job:1")
            await woken(event)


async def test_all_waiters_are_woken_when_a_lost_connection_is_restored(buses, database, monkeypatch) -> None:
    monkeypatch.setattr(bus, "PING_SECONDS", 0.01)
    here, there = buses
    # Each bus wakes its waiters once when it starts to listen. Both have done so before connections are lost.
    with here.subscribe("job:1") as local, there.subscribe("job:1") as remote:
        await woken(local)
        await woken(remote)
    async with Bus(database) as listening:
        with listening.subscribe("job:1") as event:
            await woken(event)
            async with database.connection() as connection:
                killed = await connection.fetchval(
                    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                    " AND application_name <> 'earmark'"
                )
            assert killed >= 3
            await woken(event)
            buses[0].publish("job:1")
            await woken(event)


async def test_a_subscription_ends_with_its_block(buses) -> None:
    with buses[0].subscribe("job:1") as event:
        await woken(event)
    buses[0].publish("job:1")
    assert not event.is_set()
    assert not buses[0]._waiters
