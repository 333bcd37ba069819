"""Fixtures of the client's tests."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from earmark.client import Client, connect
from tests.client.both import Reach, ThroughAio, ThroughSync
from tests.client.small_gateway import CONTENT, Gateway, Serve


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start a gateway with servicers and return a client of it; `client.gateway` is the gateway."""
    opened: list[Client] = []

    def start(*servicers: Any) -> Client:
        gateway = Gateway(*servicers)
        client = connect(gateway.address)
        client.gateway = gateway
        opened.append(client)
        return client

    yield start
    for client in opened:
        client.close()
        client.gateway.stop()


@pytest.fixture(params=[ThroughSync, ThroughAio], ids=["sync", "aio"])
def reach(request: pytest.FixtureRequest) -> Iterator[Reach]:
    """Start a gateway with servicers and return it as each of the two clients reaches it, once per client.

    Keyword arguments are for `connect`.
    """
    started: list[Gateway] = []

    def start(*servicers: Any, **arguments: Any) -> Any:
        started.append(Gateway(*servicers))
        return request.param(started[-1], **arguments)

    yield start
    for gateway in started:
        gateway.stop()


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "call.wav"
    path.write_bytes(CONTENT)
    return path
