"""The bus between two gateways, on a real server."""

import asyncio
from contextlib import ExitStack
from urllib.parse import urlsplit
from uuid import uuid4

import pytest_asyncio
import structlog

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
                await connection.execute("RESET ROLE")
                killed = await connection.fetchval(
                    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                    " AND application_name <> 'earmark'"
                )
            assert killed >= 3
            await woken(event)
            buses[0].publish("job:1")
            await woken(event)


async def test_while_the_login_is_refused_the_bus_waits_and_then_works_again(
    database, database_url, monkeypatch
) -> None:
    refused = asyncio.Event()
    logger = structlog.wrap_logger(
        structlog.PrintLogger(), processors=[lambda *_: refused.set() or "refused"]
    )
    monkeypatch.setattr(bus, "log", logger)
    monkeypatch.setattr(bus, "PING_SECONDS", 0.01)
    monkeypatch.setattr(bus, "RECONNECT_SECONDS", 0.01)
    name = f"earmark_test_{uuid4().hex}"
    url = urlsplit(database_url)._replace(netloc=f"{name}@").geturl()
    async with database.connection() as owner:
        await owner.execute("RESET ROLE")
        await owner.execute(f"CREATE ROLE {name} LOGIN")
        async with Bus(Database(url)) as here, Bus(database) as there:
            with (
                here.subscribe("job:1") as local,
                there.subscribe("job:1") as remote,
                here.subscribe("job:2") as answer,
            ):
                for event in (local, remote, answer):
                    await woken(event)
                here.publish("job:1")
                await woken(remote)
                for change in ("RENAME TO gone", "NOLOGIN"):
                    await owner.execute(f"ALTER ROLE {name} {change}")
                    await owner.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = ANY($1)",
                        [name, "gone"],
                    )
                    refused.clear()
                    here.publish("job:1")
                    await woken(local)
                    await asyncio.wait_for(refused.wait(), SECONDS)
                    assert not remote.is_set()
                    back = "gone RENAME TO " + name if change.startswith("RENAME") else f"{name} LOGIN"
                    await owner.execute(f"ALTER ROLE {back}")
                    await woken(local)
                    await woken(remote)
                    assert here.is_listening
                    answer.clear()
                    there.publish("job:2")
                    await woken(answer)
        await owner.execute(f"DROP ROLE {name}")


async def test_many_topics_become_one_for_everything_while_the_database_is_away(buses, monkeypatch) -> None:
    monkeypatch.setattr(bus, "MOST_OUTGOING", 10)
    here, there = buses
    with there.subscribe("job:last") as event:
        await woken(event)
        # Nothing is sent before this coroutine waits.
        for number in range(1_000):
            here.publish(f"job:{number}")
            assert len(here._outgoing) <= 10
        assert bus.EVERYTHING in here._outgoing
        await woken(event)


async def test_a_subscription_ends_with_its_block(buses) -> None:
    with buses[0].subscribe("job:1") as event:
        await woken(event)
    buses[0].publish("job:1")
    assert not event.is_set()
    assert not buses[0]._waiters
