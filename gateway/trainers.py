"""How the gateway reaches its trainers: one connection each, and what each has free."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from types import TracebackType
from typing import Any, Self

import structlog
from earmark.trainer.v1 import trainer_service_pb2 as pb
from earmark.trainer.v1.trainer_service_pb2_grpc import TrainerServiceStub
from grpc import aio

from gateway.errors import UnavailableError

CHANNEL_OPTIONS: Sequence[tuple[str, int]] = (
    # A trainer whose machine vanished, or that hangs, is noticed within 10 seconds.
    ("grpc.keepalive_time_ms", 5_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_receive_message_length", 8 << 20),
    # By default a lost trainer is looked for less and less, up to every two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
)
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 2.0

log = structlog.get_logger(__name__)


@dataclass(slots=True, eq=False)
class Trainer:
    """One trainer, here or away. While it is away its capacity is empty."""

    address: str
    stub: TrainerServiceStub
    capacity: pb.Capacity = field(default_factory=pb.Capacity)
    is_available: bool = False


class Trainers:
    """The configured trainers. Each is watched by a task that ends with the `async with`."""

    def __init__(self, addresses: Sequence[str]) -> None:
        """`addresses`: host:port each."""
        self._addresses = addresses
        self._subscribers: set[asyncio.Event] = set()
        self._turns = count()

    async def __aenter__(self) -> Self:
        self._channels = [aio.insecure_channel(a, options=CHANNEL_OPTIONS) for a in self._addresses]
        self._trainers = [
            Trainer(address, TrainerServiceStub(channel))
            for address, channel in zip(self._addresses, self._channels, strict=True)
        ]
        self._tasks = [asyncio.create_task(self._follow(trainer)) for trainer in self._trainers]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for channel in self._channels:
            await channel.close()

    def available(self) -> list[Trainer]:
        """The trainers that answer, in the order of the settings."""
        return [trainer for trainer in self._trainers if trainer.is_available]

    def pick_for_detection(self) -> Trainer:
        """The available ones take turns. Raises UnavailableError where none is."""
        available = self.available()
        if not available:
            tried = ", ".join(self._addresses)
            raise unavailable(f"no trainer answers (tried {tried}): is one running? Try again shortly")
        return available[next(self._turns) % len(available)]

    @contextmanager
    def subscribe(self, event: asyncio.Event | None = None) -> Iterator[asyncio.Event]:
        """An event, or this one, set whenever a trainer comes, goes or changes; clear it before looking."""
        event = event or asyncio.Event()
        self._subscribers.add(event)
        try:
            yield event
        finally:
            self._subscribers.discard(event)

    async def _follow(self, trainer: Trainer) -> None:
        pause = FIRST_PAUSE_SECONDS
        while True:
            reason = "the trainer ended the watch"
            try:
                async for response in trainer.stub.WatchCapacity(pb.WatchCapacityRequest()):
                    self._here(trainer, response.capacity)
                    pause = FIRST_PAUSE_SECONDS
            except aio.AioRpcError as error:
                reason = f"{error.code().name}: {error.details()}"
            self._away(trainer, reason)
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    def _here(self, trainer: Trainer, capacity: pb.Capacity) -> None:
        if not trainer.is_available:
            log.info("trainer is here", trainer=trainer.address, device=capacity.device)
        if trainer.is_available and trainer.capacity == capacity:
            return
        trainer.capacity, trainer.is_available = capacity, True
        self._tell()

    def _away(self, trainer: Trainer, reason: str) -> None:
        if not trainer.is_available:
            log.debug("trainer is still away", trainer=trainer.address, reason=reason)
            return
        log.warning("trainer is away", trainer=trainer.address, reason=reason)
        trainer.capacity, trainer.is_available = pb.Capacity(), False
        self._tell()

    def _tell(self) -> None:
        for event in self._subscribers:
            event.set()


class TrainerLostError(Exception):
    """The call was over before everything was sent; grpc does not say why."""


async def send(call: Any, request: Any) -> None:
    """Writes one request of a stream to a trainer. Raises TrainerLostError where the call is over.

    grpc reports a write that fails as INTERNAL, and forgets the status that the trainer gave (grpc #36066):
    a trainer that refuses a stream should read it to its end first.
    """
    try:
        await call.write(request)
    except (aio.AioRpcError, asyncio.InvalidStateError) as error:
        raise TrainerLostError from error


def unavailable(message: str) -> UnavailableError:
    """No trainer, or no longer one."""
    return UnavailableError("TRAINER_UNAVAILABLE", message)
