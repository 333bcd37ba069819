"""Fixtures of the client's tests."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from earmark.client import Client, connect

from tests.client.small_gateway import Gateway


@pytest.fixture
def serve() -> Iterator[Callable[..., Client]]:
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
