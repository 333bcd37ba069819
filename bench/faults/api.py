"""The gateways as one careful client calls them: all is recorded, and tried again until it is answered."""

import asyncio
import random
import time
from collections.abc import Iterable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self

from earmark.v1.annotation_service_pb2_grpc import AnnotationServiceStub
from earmark.v1.audio_service_pb2_grpc import AudioServiceStub
from earmark.v1.dataset_service_pb2_grpc import DatasetServiceStub
from earmark.v1.model_service_pb2_grpc import ModelServiceStub
from earmark.v1.training_service_pb2_grpc import TrainingServiceStub
from google.protobuf.message import Message
from grpc import aio

from bench.faults.history import Call, Failure, History

STUBS = (AnnotationServiceStub, AudioServiceStub, DatasetServiceStub, ModelServiceStub, TrainingServiceStub)
DEADLINE_SECONDS = 10.0
PAUSE = (0.1, 0.5)
# What the transport says of a call that may be tried again.
CUT = frozenset({"UNAVAILABLE", "CANCELLED", "DEADLINE_EXCEEDED"})
OPTIONS = [
    # A connection of its own to each gateway, looked for again at once.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # A stream whose gateway is paused is given up, and opened at the other.
    ("grpc.keepalive_time_ms", 5_000),
    ("grpc.keepalive_timeout_ms", 5_000),
]


class Api:
    """A client by the name of `name`. Its draws are its own."""

    def __init__(self, name: str, addresses: Iterable[str], history: History, rng: random.Random) -> None:
        self.name = name
        self.history = history
        self.rng = rng
        self.addresses = list(addresses)

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            channels = [
                await stack.enter_async_context(aio.insecure_channel(address, options=OPTIONS))
                for address in self.addresses
            ]
            self._methods = [_methods(channel) for channel in channels]
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    @property
    def gateways(self) -> range:
        """Their numbers."""
        return range(len(self.addresses))

    def any_gateway(self) -> int:
        """One of them."""
        return self.rng.choice(self.gateways)

    def stream(self, gateway: int, method: str, request: Message) -> Any:
        """An opened stream; the caller records it, and cancels it."""
        return self._methods[gateway][method](request)

    async def call(
        self,
        method: str,
        request: Message,
        *,
        gateway: int | None = None,
        expected: Iterable[str] = (),
        messages: Iterable[Message] | None = None,
    ) -> Call:
        """One try. `messages`: what a stream of requests sends, of which `request` is recorded."""
        number = self.any_gateway() if gateway is None else gateway
        sent = request if messages is None else iter(messages)
        began, reply, failure = time.time(), None, None
        try:
            reply = await self._methods[number][method](sent, timeout=DEADLINE_SECONDS)
        except aio.AioRpcError as error:
            failure = Failure.of(error)
        call = Call(
            self.name, number, method, request, began, time.time(), reply, failure, frozenset(expected)
        )
        self.history.calls.append(call)
        return call

    async def answer(
        self,
        method: str,
        request: Message,
        *,
        expected: Iterable[str] = (),
        messages: list[Message] | None = None,
    ) -> Any:
        """The reply, however many tries it takes; None where it is refused."""
        while True:
            call = await self.call(method, request, expected=expected, messages=messages)
            if call.failure is None:
                return call.reply
            if call.failure.code not in CUT:
                return None
            await self.pause(*PAUSE)

    async def pause(self, shortest: float, longest: float) -> None:
        """Somewhere in between, in seconds."""
        await asyncio.sleep(self.rng.uniform(shortest, longest))


def _methods(channel: aio.Channel) -> dict[str, Any]:
    """Every rpc by its name, which no two services share."""
    return {name: method for stub in STUBS for name, method in vars(stub(channel)).items()}
