"""The gateway's connections to its trainers: one channel each, and the capacity that each reports."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from itertools import count
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import structlog
from grpc import aio

from earmark.background import Background
from earmark.gateway.errors import UnavailableError
from earmark.gateway.fleet.addresses import Resolver, resolve
from earmark.gateway.fleet.cool_down import CoolDown
from earmark.gateway.fleet.discovery import Discovery
from earmark.gateway.fleet.failures import failure_of
from earmark.gateway.fleet.links import Links
from earmark.gateway.fleet.queue_state import Slots
from earmark.grants import Signer
from earmark.internal.v1 import trainer_service_pb2 as pb
from earmark.internal.v1.trainer_service_pb2_grpc import TrainerServiceStub

if TYPE_CHECKING:
    from earmark.internal.v1.trainer_service_pb2_grpc import TrainerServiceAsyncStub

FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 2.0
NOT_TRIED = "it has not answered yet"
OTHER_STORE = (
    "it has another object store than this gateway: "
    "give both the same EARMARK_OBJECT_STORE or EARMARK_DATA_DIR"
)

log = structlog.get_logger(__name__)


@dataclass(slots=True, eq=False)
class Trainer:
    """One trainer. Its capacity is empty while it is not available."""

    address: str
    # Closes with the last reference: work that still runs on a removed trainer keeps the channel open.
    channel: aio.Channel
    stub: "TrainerServiceAsyncStub"
    # Makes the metadata that every call of the stub needs.
    signer: Signer = field(default_factory=Signer)
    capacity: pb.Capacity = field(default_factory=pb.Capacity)
    # True while the trainer reports its capacity.
    is_available: bool = False
    # False once no entry of the settings has its address. The trainer then gets no new work.
    is_configured: bool = True
    seen_at: datetime | None = None
    unavailable_reason: str = NOT_TRIED
    # Of training jobs, and of audio files: a file that ends its decoder says nothing about training.
    cool_down: CoolDown = field(default_factory=CoolDown)
    audio_cool_down: CoolDown = field(default_factory=CoolDown)

    def watch_capacity(self) -> "aio.UnaryStreamCall[pb.WatchCapacityRequest, pb.WatchCapacityResponse]":
        """Begins to watch its capacity."""
        request = pb.WatchCapacityRequest()
        return self.stub.WatchCapacity(
            request, metadata=self.signer.metadata("WatchCapacity", request.SerializeToString())
        )

    def record_loss(self) -> None:
        """Records that an attempt ended because this trainer was lost or is not well."""
        self.cool_down.record_loss(time.monotonic())

    def record_success(self) -> None:
        """Records that an attempt stored a checkpoint, completed, or failed by itself."""
        self.cool_down.reset()

    def accepts_jobs(self, now: float) -> bool:
        """Whether training may start on it; `now` is monotonic, in seconds."""
        return self.is_available and self.is_configured and not self.cool_down.seconds_left(now)

    def problem(self, now: float) -> str:
        """Why it gets no work or no training jobs; empty if it gets both. `now` is monotonic, in seconds."""
        if not self.is_available:
            return self.unavailable_reason
        if not self.is_configured:
            return "no name resolves to its address now: it finishes its work and gets no new work"
        if self.capacity.problem:
            return self.capacity.problem
        if seconds := self.cool_down.seconds_left(now):
            return f"attempts lost on it in a row: {self.cool_down.losses}; it gets none for {seconds:.0f} s"
        return ""


@dataclass(frozen=True, slots=True)
class TrainerState:
    """The state of a trainer, or of a configured name that was never resolved."""

    address: str
    capacity: pb.Capacity
    # True if it answers and gets new work.
    is_available: bool
    seen_at: datetime | None
    # See `Trainer.problem`.
    problem: str


class Trainers:
    """The configured trainers. Tasks watch their capacity until the `async with` block ends."""

    def __init__(
        self,
        entries: Sequence[str],
        resolve: Resolver = resolve,
        *,
        links: Links | None = None,
        store_id: str = "",
        retry_seconds: float = 1.0,
        background: Background | None = None,
    ) -> None:
        """`entries`: see `addresses.parse`, which raises ValueError. `store_id`: of the gateway's store.

        `links`: how they are called; without encryption and without a secret by default.
        `retry_seconds`: the cool-down of a trainer after a first loss.
        """
        self._links = links or Links()
        self._retry_seconds = retry_seconds
        self._store_id = store_id
        self._discovery = Discovery(entries, resolve, self._apply_addresses)
        self._trainers: dict[str, Trainer] = {}
        self._background = background or Background()
        self._tasks: set[asyncio.Task[None]] = set()
        self._subscribers: set[asyncio.Event] = set()
        self._detections = count()

    async def __aenter__(self) -> Self:
        self._apply_addresses()
        for name in self._discovery.names():
            self._start(f"resolving {name}", partial(self._discovery.follow, name))
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
        """The configured trainers that answer, in the order in which they were discovered."""
        return [t for t in self._trainers.values() if t.is_available and t.is_configured]

    def for_training(self) -> list[Trainer]:
        """The available trainers that are not in a cool-down, those with the fewest losses in a row first."""
        now = time.monotonic()
        accepting = [trainer for trainer in self.available() if trainer.accepts_jobs(now)]
        return sorted(accepting, key=lambda trainer: trainer.cool_down.losses)

    def for_audio(self) -> list[Trainer]:
        """The available trainers that are not in a cool-down of audio files."""
        now = time.monotonic()
        return [trainer for trainer in self.available() if not trainer.audio_cool_down.seconds_left(now)]

    def slots(self) -> Slots:
        """The training slots of the available trainers that are well and in no cool-down."""
        capacities = [trainer.capacity for trainer in self.for_training() if not trainer.capacity.problem]
        return Slots(
            answering=len(capacities),
            total=sum(capacity.training_slots for capacity in capacities),
            free=sum(capacity.free_training_slots for capacity in capacities),
            frontends={capacity.frontend for capacity in capacities},
        )

    def frontend(self) -> str | None:
        """The version of the available trainers' front end; None if they differ or none is available.

        Also None until each trainer has answered or failed to: the first to answer may be another one.
        """
        configured = [trainer for trainer in self._trainers.values() if trainer.is_configured]
        if any(not t.is_available and t.unavailable_reason == NOT_TRIED for t in configured):
            return None
        versions = {trainer.capacity.frontend for trainer in self.available()}
        return versions.pop() if len(versions) == 1 else None

    def pick_for_detection(self) -> Trainer:
        """Picks the available trainers that are well in turn, also for an export.

        Raises UnavailableError if there are none.
        """
        available = [trainer for trainer in self.available() if not trainer.capacity.problem]
        if not available:
            log.warning("no trainer for a detection", entries=self._discovery.entries())
            raise unavailable("no trainer answers: try again shortly")
        return available[next(self._detections) % len(available)]

    def states(self) -> list[TrainerState]:
        """In order of address."""
        now = time.monotonic()
        discovered = [
            TrainerState(t.address, t.capacity, t.is_available and t.is_configured, t.seen_at, t.problem(now))
            for t in self._trainers.values()
        ]
        unresolved = [
            TrainerState(name, pb.Capacity(), is_available=False, seen_at=None, problem=problem)
            for name, problem in self._discovery.without_address().items()
        ]
        return sorted(discovered + unresolved, key=lambda state: state.address)

    @contextmanager
    def subscribe(self, event: asyncio.Event | None = None) -> Iterator[asyncio.Event]:
        """Sets `event` (None: a new one) whenever any trainer changes; clear it before you read."""
        event = event or asyncio.Event()
        self._subscribers.add(event)
        try:
            yield event
        finally:
            self._subscribers.discard(event)

    def _start(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        task = self._background.start(name, work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _apply_addresses(self) -> None:
        """Adds a trainer for each new address. A trainer without one stays until it stops answering."""
        addresses = self._discovery.addresses()
        for address in addresses:
            if address not in self._trainers:
                channel = self._links.channel(address)
                trainer = Trainer(
                    address,
                    channel,
                    TrainerServiceStub(channel),
                    self._links.signer,
                    cool_down=CoolDown(self._retry_seconds),
                    audio_cool_down=CoolDown(self._retry_seconds),
                )
                self._trainers[address] = trainer
                self._start(f"watching trainer {address}", partial(self._watch_capacity, trainer))
        for trainer in self._trainers.values():
            if trainer.is_configured != (trainer.address in addresses):
                trainer.is_configured = not trainer.is_configured
                log.info(
                    "trainer is configured again"
                    if trainer.is_configured
                    else "trainer is no longer configured",
                    trainer=trainer.address,
                )
        self._notify()

    async def _watch_capacity(self, trainer: Trainer) -> None:
        pause = FIRST_PAUSE_SECONDS
        while True:
            reason = "it ended the watch of its capacity"
            try:
                async for response in trainer.watch_capacity():
                    pause = FIRST_PAUSE_SECONDS
                    if response.capacity.store_id in ("", self._store_id):
                        self._mark_available(trainer, response.capacity)
                    else:
                        self._mark_unavailable(trainer, OTHER_STORE)
            except aio.AioRpcError as error:
                reason = _reason(error)
            except Exception as error:
                self._mark_unavailable(trainer, f"its capacity cannot be read: {error!r}")
                raise
            self._mark_unavailable(trainer, reason)
            if not trainer.is_configured:
                del self._trainers[trainer.address]
                self._notify()
                return
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    def _mark_available(self, trainer: Trainer, capacity: pb.Capacity) -> None:
        trainer.seen_at = datetime.now(UTC)
        if not trainer.is_available:
            log.info("trainer is available", trainer=trainer.address, device=capacity.device)
        if trainer.is_available and trainer.capacity == capacity:
            return
        trainer.capacity, trainer.is_available = capacity, True
        self._notify()

    def _mark_unavailable(self, trainer: Trainer, reason: str) -> None:
        was_tried, trainer.unavailable_reason = trainer.unavailable_reason != NOT_TRIED, reason
        if not trainer.is_available:
            level = logging.DEBUG if was_tried else logging.WARNING
            log.log(level, "trainer does not answer", trainer=trainer.address, reason=reason)
            if not was_tried:
                self._notify()
            return
        log.warning("trainer is away", trainer=trainer.address, reason=reason)
        trainer.capacity, trainer.is_available = pb.Capacity(), False
        self._notify()

    def _notify(self) -> None:
        for event in self._subscribers:
            event.set()


def _reason(error: aio.AioRpcError) -> str:
    if failure_of(error).reason == "GRANT_REFUSED":
        return f"refuses this gateway: {error.details()}"
    return f"cannot be reached: {error.code().name}: {error.details()}"


class TrainerLostError(Exception):
    """The call ended before everything was sent; grpc does not say why."""


async def send(call: Any, request: Any) -> None:
    """Writes one request of a stream to a trainer. Raises TrainerLostError if the call has ended.

    grpc reports a failed write as INTERNAL and discards the status that the trainer sent (grpc #36066).
    Therefore a trainer that refuses a stream should first read it to its end.
    """
    try:
        await call.write(request)
    except (aio.AioRpcError, asyncio.InvalidStateError) as error:
        raise TrainerLostError from error


def unavailable(message: str) -> UnavailableError:
    """The error for a call that needs a trainer when none is available, or when its trainer was lost."""
    return UnavailableError("TRAINER_UNAVAILABLE", message)
