"""The load bench: its clients, its bare server and its arithmetic."""

import asyncio

import pytest
from grpc import aio

from bench.load.__main__ import table
from bench.load.client import Client
from bench.load.figures import Figure, percentile
from bench.load.methods import GET, PUBLISH, WATCH
from bench.load.system import server
from bench.soak import Sample, growth
from earmark.v1 import training_service_pb2 as pb


@pytest.fixture
async def bare():
    """A bare server whose replies have 7 bytes."""
    async with server("bench.load.bare", "7") as running:
        yield running


@pytest.fixture
async def channel(bare):
    async with aio.insecure_channel(bare.address) as opened:
        yield opened


@pytest.fixture
async def client():
    async with Client() as started:
        yield started


def event(revision: int) -> bytes:
    return pb.WatchTrainingJobResponse(event={"revision": revision}).SerializeToString()


async def test_the_bare_server_replies_with_the_number_of_bytes_in_its_argument(channel) -> None:
    assert len(await channel.unary_unary(GET)(b"")) == 7


async def test_a_watcher_of_the_bare_server_receives_the_latest_message_and_all_later_ones(channel) -> None:
    publish = channel.unary_unary(PUBLISH)
    for revision in (1, 2):
        await publish(event(revision))
    watches = [channel.unary_stream(WATCH)(b"") for _ in range(3)]
    assert await asyncio.gather(*(watch.read() for watch in watches)) == [event(2)] * 3
    for revision in (3, 4):
        await publish(event(revision))
    assert [[await watch.read(), await watch.read()] for watch in watches] == [[event(3), event(4)]] * 3


async def test_a_client_returns_the_seconds_of_each_call(bare, client) -> None:
    used = bare.cpu_seconds()
    durations = await client.ask("call", bare.address, GET, [b"", b""], 0.2)
    assert len(durations) > 2
    assert all(seconds > 0 for seconds in durations)
    assert sum(durations) < 2 * (0.2 + max(durations))
    assert bare.cpu_seconds() > used


async def test_an_event_is_served_when_the_last_watch_has_received_it(bare, channel, client) -> None:
    publish = channel.unary_unary(PUBLISH)
    await publish(event(1))
    opened = await client.ask("watch", bare.address, b"", 20, 1)
    await client.ask("watch", bare.address, b"", 30, 1)
    await publish(event(2))
    assert await client.ask("served", 2) > opened
    await client.ask("close")


async def test_a_call_that_fails_ends_the_client(client) -> None:
    with pytest.raises(EOFError):
        await client.ask("call", "127.0.0.1:1", GET, [b""], 0.1)


def test_a_percentile_is_one_of_the_values() -> None:
    values = [float(value) for value in range(100, 0, -1)]
    assert [percentile(values, share) for share in (0, 0.5, 0.99, 1)] == [1, 51, 100, 100]
    assert percentile([3.0], 0.99) == 3


def test_the_table_has_a_line_for_each_figure_and_shows_missed_goals() -> None:
    figures = [
        Figure("calls", "calls/s", ">= 50 % of bare", met=True, measured=1500.0, bare=2000.0),
        Figure(
            "dispatch", "ms", "<= 100 ms", met=False, measured=120.0, bare=None, details={"p99_ms": 300.0}
        ),
    ]
    lines = table(figures).splitlines()
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[2:4]]
    assert cells == [
        ["calls", ">= 50 % of bare", "1,500.0 calls/s", "2,000.0", "0.75", "met"],
        ["dispatch", "<= 100 ms", "120.0 ms", "", "", "NOT met"],
    ]
    assert lines[-1] == "dispatch: p99_ms 300.0"


def test_growth_is_counted_after_the_first_watches() -> None:
    mebibytes = [50, 80, 100, 110, 105, 104, 109, 115]
    samples = [Sample(5_000 * number, each) for number, each in enumerate(mebibytes)]
    assert growth(samples) == pytest.approx(0.15)
    assert growth(samples, of=3) == pytest.approx(109 / 105 - 1)
