"""A client of the gateways that records every call and retries it until it is answered."""

import asyncio
import random
import time
from collections.abc import Iterable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self

from google.protobuf.message import Message
from grpc import aio

from bench.faults.observations import Call, Failure, Observations
from earmark.v1.admin_service_pb2_grpc import AdminServiceStub
from earmark.v1.annotation_service_pb2_grpc import AnnotationServiceStub
from earmark.v1.audio_service_pb2_grpc import AudioServiceStub
from earmark.v1.dataset_service_pb2_grpc import DatasetServiceStub
from earmark.v1.detection_service_pb2_grpc import DetectionServiceStub
from earmark.v1.model_service_pb2_grpc import ModelServiceStub
from earmark.v1.training_service_pb2_grpc import TrainingServiceStub

STUBS = (
    AdminServiceStub,
    AnnotationServiceStub,
    AudioServiceStub,
    DatasetServiceStub,
    DetectionServiceStub,
    ModelServiceStub,
    TrainingServiceStub,
)
DEADLINE_SECONDS = 10.0
PAUSE = (0.1, 0.5)
# The status codes of connections that break; the call may be retried.
DISCONNECTED = frozenset({"UNAVAILABLE", "CANCELLED", "DEADLINE_EXCEEDED"})
OPTIONS = [
    # Each client has its own connection to each gateway, and reconnects quickly.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # A stream of a paused gateway ends soon, and is opened again at another gateway.
    ("grpc.keepalive_time_ms", 5_000),
    ("grpc.keepalive_timeout_ms", 5_000),
]


class Api:
    """A client called `name`, with its own random numbers, and with an API key if the gateways need one."""

    def __init__(
        self,
        name: str,
        addresses: Iterable[str],
        observed: Observations,
        rng: random.Random,
        key: str | None = None,
    ) -> None:
        self.name = name
        self.key = key
        self._metadata = (("authorization", f"Bearer {key}"),) if key else ()
        self.observed = observed
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
        """The numbers of the gateways."""
        return range(len(self.addresses))

    def any_gateway(self) -> int:
        """The number of a random gateway."""
        return self.rng.choice(self.gateways)

    def stream(self, gateway: int, method: str, request: Message) -> Any:
        """Opens a stream. The caller must record it and cancel it."""
        return self._methods[gateway][method](request, metadata=self._metadata)

    async def call(
        self,
        method: str,
        request: Message,
        *,
        gateway: int | None = None,
        expected: Iterable[str] = (),
        messages: Iterable[Message] | None = None,
    ) -> Call:
        """Makes one attempt and records it. `messages`: a stream of requests, recorded as `request`."""
        number = self.any_gateway() if gateway is None else gateway
        sent = request if messages is None else iter(messages)
        began, reply, failure = time.time(), None, None
        try:
            reply = await self._methods[number][method](
                sent, timeout=DEADLINE_SECONDS, metadata=self._metadata
            )
        except aio.AioRpcError as error:
            failure = Failure.from_error(error)
        call = Call(
            self.name, number, method, request, began, time.time(), reply, failure, frozenset(expected)
        )
        self.observed.calls.append(call)
        return call

    async def answer(
        self,
        method: str,
        request: Message,
        *,
        expected: Iterable[str] = (),
        messages: list[Message] | None = None,
    ) -> Any:
        """Retries the call until it is answered. Returns the reply, or None if the call is refused."""
        while True:
            call = await self.call(method, request, expected=expected, messages=messages)
            if call.failure is None:
                return call.reply
            if call.failure.code not in DISCONNECTED:
                return None
            await self.pause(*PAUSE)

    async def pause(self, shortest: float, longest: float) -> None:
        """Sleeps for a random time between the two, in seconds."""
        await asyncio.sleep(self.rng.uniform(shortest, longest))


def _methods(channel: aio.Channel) -> dict[str, Any]:
    """Every rpc by its name; no two services share a name."""
    return {name: method for stub in STUBS for name, method in vars(stub(channel)).items()}
