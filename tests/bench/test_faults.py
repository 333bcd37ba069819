"""The plan of a drill, and the proxy on its links."""

import asyncio
from collections import Counter
from contextlib import suppress

import pytest

from bench.faults import dependencies
from bench.faults.faults import KINDS, plan
from bench.faults.proxy import Proxy


def test_a_seed_decides_the_plan() -> None:
    assert list(plan(7, 30)) == list(plan(7, 30))
    assert list(plan(7, 30)) != list(plan(8, 30))


@pytest.mark.parametrize("kills", [1, 2, 6, 30, 32])
def test_the_plan_has_the_requested_kills_spread_evenly(kills) -> None:
    killed = Counter(step.target_kind for step in plan(1, kills) if step.kind == "kill")
    assert killed.total() == kills
    assert max(killed.values()) - min(killed[kind] for kind in KINDS) <= 1


def test_a_seed_decides_the_faults_of_dependencies_of_which_each_comes_equally_often() -> None:
    twice = 2 * len(dependencies.FAULTS)
    steps = list(dependencies.plan(7, twice))
    assert steps == list(dependencies.plan(7, twice))
    assert steps != list(dependencies.plan(8, twice))
    assert Counter(step.kind for step in steps) == dict.fromkeys(dependencies.KINDS, 2)


class Link:
    """A connection through a proxy to an echo server; `arrived` has the data that the server received."""

    def __init__(self, proxy: Proxy, arrived: asyncio.Queue[bytes]) -> None:
        self.proxy, self.arrived = proxy, arrived

    async def open(self) -> None:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.proxy.port)

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def close(self) -> None:
        self.writer.close()
        with suppress(OSError):
            await self.writer.wait_closed()

    async def assert_ended(self) -> None:
        assert await self.reader.read() == b""


@pytest.fixture
async def link():
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        closed = asyncio.Event()
        ends.append(closed.wait())
        with suppress(OSError):
            while data := await reader.read(100):
                arrived.put_nowait(data)
                writer.write(data)
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
        closed.set()

    arrived, ends = asyncio.Queue(), []
    async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with Proxy("link", "echo", lambda: asyncio.open_connection("127.0.0.1", port)) as proxy:
            link = Link(proxy, arrived)
            await link.open()
            yield link
            await link.close()
        await asyncio.gather(*ends)


async def test_a_proxy_forwards_both_ways(link) -> None:
    await link.send(b"hello")
    assert await link.reader.readexactly(5) == b"hello"


async def test_a_cut_ends_connections_and_new_ones_are_accepted(link) -> None:
    await link.send(b"hello")
    await link.reader.readexactly(5)
    link.proxy.cut()
    await link.assert_ended()
    await link.close()
    await link.open()
    await link.send(b"hello again")
    assert await link.reader.readexactly(11) == b"hello again"


async def test_data_sent_while_a_link_is_stalled_arrives_afterwards(link) -> None:
    with link.proxy.stalled():
        await link.send(b"hello")
        assert link.arrived.empty()
    assert await link.reader.readexactly(5) == b"hello"


async def test_a_cut_while_replies_are_stalled_loses_the_reply_and_not_the_request(link) -> None:
    with link.proxy.replies_stalled():
        await link.send(b"hello")
        assert await link.arrived.get() == b"hello"
        link.proxy.cut()
    await link.assert_ended()


async def test_a_link_to_nowhere_ends_its_connections() -> None:
    async def nowhere():
        raise ConnectionRefusedError

    async with Proxy("link", "nowhere", nowhere) as proxy:
        link = Link(proxy, asyncio.Queue())
        await link.open()
        await link.assert_ended()
        await link.close()
