"""How the gateway reaches its trainers: one connection each, and what each has free."""

import asyncio
import time
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain, count
from types import TracebackType
from typing import Any, Self

import structlog
from earmark.trainer.v1 import trainer_service_pb2 as pb
from earmark.trainer.v1.trainer_service_pb2_grpc import TrainerServiceStub
from grpc import aio

from gateway.errors import UnavailableError
from gateway.fleet.addresses import Entry, Resolver, parse, resolve
from gateway.fleet.cool_down import CoolDown
from gateway.fleet.waiting import Slots

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
RESOLVE_SECONDS = 5.0

log = structlog.get_logger(__name__)


@dataclass(slots=True, eq=False)
class Trainer:
    """One trainer, here or away. While it is away its capacity is empty."""

    address: str
    # Closes with the last reference: a trainer that is forgotten keeps it for the work that it still has.
    channel: aio.Channel
    stub: TrainerServiceStub
    capacity: pb.Capacity = field(default_factory=pb.Capacity)
    # It answers.
    is_available: bool = False
    # The settings lead to it. Without that it gets no new work.
    is_listed: bool = True
    seen_at: datetime | None = None
    away_because: str = "nothing was heard of it yet"
    cool_down: CoolDown = field(default_factory=CoolDown)

    def record_loss(self) -> None:
        """An attempt on it ended because it was lost."""
        self.cool_down.record_loss(time.monotonic())

    def record_success(self) -> None:
        """An attempt on it got on: a checkpoint, or an end of its own, good or bad."""
        self.cool_down.reset()

    def accepts_jobs(self, now: float) -> bool:
        """Whether training may begin on it; `now` is monotonic."""
        return self.is_available and self.is_listed and not self.cool_down.seconds_left(now)

    def problem(self, now: float) -> str:
        """Why it is given no work, or no training; empty where it is given both. `now` is monotonic."""
        if not self.is_available:
            return self.away_because
        if not self.is_listed:
            return "its name no longer leads to its address: it keeps the work that it has and gets none"
        if left := self.cool_down.seconds_left(now):
            return (
                f"attempts lost on it in a row: {self.cool_down.losses}; "
                f"for {left:.0f} s more, jobs go to other trainers where one is well"
            )
        return ""


@dataclass(frozen=True, slots=True)
class TrainerStatus:
    """A trainer as it is seen now, or an entry of the settings that has led to none."""

    address: str
    capacity: pb.Capacity
    # Answers, and gets new work.
    is_available: bool
    seen_at: datetime | None
    # See `Trainer.problem`.
    problem: str


class Trainers:
    """The trainers that the settings lead to. Each is watched by a task that ends with the `async with`."""

    def __init__(self, entries: Sequence[str], resolve: Resolver = resolve) -> None:
        """`entries`: see `addresses.parse`, which raises ValueError."""
        self._resolve = resolve
        # What each entry leads to, and why it is not known, or not known any more.
        self._addresses: dict[Entry, Sequence[str]] = {
            entry: () if entry.is_name else (str(entry),) for entry in map(parse, entries)
        }
        self._unresolved = {entry: "not resolved yet" for entry in self._addresses if entry.is_name}
        self._trainers: dict[str, Trainer] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._subscribers: set[asyncio.Event] = set()
        self._turns = count()

    async def __aenter__(self) -> Self:
        self._settle()
        for name in self._unresolved:
            self._start(self._discover(name))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for trainer in self._trainers.values():
            await trainer.channel.close()

    def available(self) -> list[Trainer]:
        """The listed trainers that answer, in the order in which they were found."""
        return [t for t in self._trainers.values() if t.is_available and t.is_listed]

    def for_training(self) -> list[Trainer]:
        """The available ones, those that lost fewest attempts in a row first.

        Those in their pause are left out, unless all are: nothing better would come of waiting.
        """
        now, available = time.monotonic(), self.available()
        accepting = [trainer for trainer in available if trainer.accepts_jobs(now)]
        return sorted(accepting or available, key=lambda trainer: trainer.cool_down.losses)

    def slots(self) -> Slots:
        """For training, of the trainers that answer."""
        capacities = [trainer.capacity for trainer in self.available()]
        return Slots(
            tried=tuple(map(str, self._addresses)),
            answering=len(capacities),
            total=sum(capacity.training_slots for capacity in capacities),
            free=sum(capacity.free_training_slots for capacity in capacities),
        )

    def pick_for_detection(self) -> Trainer:
        """The available ones take turns. Raises UnavailableError where none is."""
        available = self.available()
        if not available:
            raise unavailable(self._nobody())
        return available[next(self._turns) % len(available)]

    def _nobody(self) -> str:
        if not self._addresses:
            return "no trainer answers, for the gateway has none: name them in its EARMARK_TRAINERS"
        tried = ", ".join(map(str, self._addresses))
        return f"no trainer answers (tried {tried}): is one running? Try again shortly"

    def statuses(self) -> list[TrainerStatus]:
        """In order of address."""
        now = time.monotonic()
        found = [
            TrainerStatus(t.address, t.capacity, t.is_available and t.is_listed, t.seen_at, t.problem(now))
            for t in self._trainers.values()
        ]
        nowhere = [
            TrainerStatus(str(entry), pb.Capacity(), is_available=False, seen_at=None, problem=problem)
            for entry, problem in self._unresolved.items()
            if not self._addresses[entry]
        ]
        return sorted(found + nowhere, key=lambda status: status.address)

    @contextmanager
    def subscribe(self, event: asyncio.Event | None = None) -> Iterator[asyncio.Event]:
        """An event, or this one, set whenever a trainer comes, goes or changes; clear it before looking."""
        event = event or asyncio.Event()
        self._subscribers.add(event)
        try:
            yield event
        finally:
            self._subscribers.discard(event)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _discover(self, entry: Entry) -> None:
        """Resolves a name again and again. An answer that fails or is empty drops no trainer."""
        while True:
            try:
                found, problem = await self._resolve(entry.host, entry.port), "it has no address"
            except OSError as error:
                found, problem = (), error.strerror or str(error)
            if found:
                self._resolved(entry, found)
            else:
                self._not_resolved(entry, f"cannot be resolved: {problem}")
            await asyncio.sleep(RESOLVE_SECONDS)

    def _resolved(self, entry: Entry, addresses: Sequence[str]) -> None:
        if self._unresolved.pop(entry, None):
            log.info("name is resolved", name=str(entry), trainers=addresses)
        if addresses != self._addresses[entry]:
            self._addresses[entry] = addresses
            self._settle()

    def _not_resolved(self, entry: Entry, problem: str) -> None:
        if self._unresolved.get(entry) != problem:
            self._unresolved[entry] = problem
            kept = self._addresses[entry]
            log.warning("name is not resolved; trainers stay", name=str(entry), reason=problem, trainers=kept)
            self._tell()

    def _settle(self) -> None:
        """Follows each new address. One that is gone keeps its trainer until that stops answering."""
        listed = dict.fromkeys(chain.from_iterable(self._addresses.values()))
        for address in listed:
            if address not in self._trainers:
                channel = aio.insecure_channel(address, options=CHANNEL_OPTIONS)
                self._trainers[address] = Trainer(address, channel, TrainerServiceStub(channel))
                self._start(self._follow(self._trainers[address]))
        for trainer in self._trainers.values():
            if trainer.is_listed != (trainer.address in listed):
                trainer.is_listed = not trainer.is_listed
                log.info(
                    "trainer is listed" if trainer.is_listed else "trainer is no longer listed",
                    trainer=trainer.address,
                )
        self._tell()

    async def _follow(self, trainer: Trainer) -> None:
        pause = FIRST_PAUSE_SECONDS
        while True:
            reason = "it ended the watch of its capacity"
            try:
                async for response in trainer.stub.WatchCapacity(pb.WatchCapacityRequest()):
                    self._here(trainer, response.capacity)
                    pause = FIRST_PAUSE_SECONDS
            except aio.AioRpcError as error:
                reason = f"cannot be reached: {error.code().name}: {error.details()}"
            self._away(trainer, reason)
            if not trainer.is_listed:
                del self._trainers[trainer.address]
                self._tell()
                return
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    def _here(self, trainer: Trainer, capacity: pb.Capacity) -> None:
        trainer.seen_at = datetime.now(UTC)
        if not trainer.is_available:
            log.info("trainer is here", trainer=trainer.address, device=capacity.device)
        if trainer.is_available and trainer.capacity == capacity:
            return
        trainer.capacity, trainer.is_available = capacity, True
        self._tell()

    def _away(self, trainer: Trainer, reason: str) -> None:
        trainer.away_because = reason
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
