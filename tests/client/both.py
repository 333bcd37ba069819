"""A gateway that a test calls through one of the two clients, sync or asyncio, in the same way."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import aclosing, closing
from itertools import islice
from typing import Any

import earmark.client
import earmark.client.aio
from tests.client.small_gateway import Gateway

# Takes a client's module and a client of the gateway, and returns what a helper or a stub of them returns.
Use = Callable[[Any, Any], Any]
Reach = Callable[..., "Reached"]


class Reached(ABC):
    """A gateway, and the arguments for `connect`."""

    def __init__(self, gateway: Gateway, **arguments: Any) -> None:
        self.gateway = gateway
        self.arguments = {"address": gateway.address} | arguments

    @abstractmethod
    def result(self, use: Use) -> Any:
        """Return the result of a call."""

    @abstractmethod
    def items(self, use: Use, count: int | None = None) -> list[Any]:
        """Return the items of a watch, or its first `count` and then close it."""


class ThroughSync(Reached):
    """Uses `earmark.client`."""

    def result(self, use: Use) -> Any:
        with earmark.client.connect(**self.arguments) as client:
            return use(earmark.client, client)

    def items(self, use: Use, count: int | None = None) -> list[Any]:
        with (
            earmark.client.connect(**self.arguments) as client,
            closing(use(earmark.client, client)) as items,
        ):
            return list(islice(items, count))


class ThroughAio(Reached):
    """Uses `earmark.client.aio`."""

    def result(self, use: Use) -> Any:
        async def run() -> Any:
            async with earmark.client.aio.connect(**self.arguments) as client:
                return await use(earmark.client.aio, client)

        return asyncio.run(run())

    def items(self, use: Use, count: int | None = None) -> list[Any]:
        async def run() -> list[Any]:
            received: list[Any] = []
            async with (
                earmark.client.aio.connect(**self.arguments) as client,
                aclosing(use(earmark.client.aio, client)) as items,
            ):
                async for item in items:
                    received.append(item)
                    if len(received) == count:
                        break
            return received

        return asyncio.run(run())
