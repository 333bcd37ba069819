"""The nodes of a Ray cluster, each with an actor that works there. Nothing else imports Ray."""

import asyncio
import logging
import os
import signal
import socket
import threading
from collections import Counter
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import structlog

from earmark.background import Background
from earmark.configuration import SettingsError
from earmark.trainer.service.changes import Changes
from earmark.trainer.service.errors import CallError
from earmark.trainer.service.ray_node import CallFailure, RayNode, Report, settings_of_node
from earmark.trainer.settings import TrainerSettings

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it tells nobody about itself

import ray  # it reads the variable
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

NODES_SECONDS = 2.0  # between two looks at which nodes there are
CLOSE_SECONDS = 5.0
CONNECT_SECONDS = 5.0
# The items of a call that wait to be read; the node waits before it makes more.
UNREAD_ITEMS = 16

log = structlog.get_logger()


class NodeLostError(Exception):
    """The node, its actor or the way to it was lost. The message is for the log: it names the node."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where an actor lies and what it has: all CPUs of the node, or its part of them and some of its GPUs."""

    node_id: str
    number: int
    cpus: int
    gpus: int


def places_on(node_id: str, resources: Mapping[str, float], device: str) -> list[Place]:
    """One actor for each GPU of the node; one for all of them if `device` is "cuda:all", or if there is none.

    A node without CPUs, as heads of clusters often are, gets no actor. See TrainerSettings for `device`.
    """
    cpus = int(resources.get("CPU", 0))
    gpus = 0 if device == "cpu" else int(resources.get("GPU", 0))
    if not cpus or (device.startswith("cuda") and not gpus):
        return []
    count = 1 if device == "cuda:all" or not gpus else min(gpus, cpus)
    return [Place(node_id, number, cpus // count, gpus // count) for number in range(count)]


class Stream:
    """The items of one call of a node. Close it: the work ends with it."""

    def __init__(self, node: "Node", generator: Any) -> None:
        self._node = node
        self._generator = generator
        self._reading: asyncio.Task[Any] | None = None
        self._ended = False

    async def next(self, seconds: float | None = None, failure: asyncio.Future[None] | None = None) -> Any:
        """Returns the next item, None after the last.

        Raises TimeoutError if none arrives within `seconds`, CallError if the call failed, NodeLostError, and
        the exception of `failure` as soon as it has one.
        """
        if self._reading is None:
            self._reading = asyncio.create_task(self._read())
            ignore_unread(self._reading)
        # A read that is cancelled loses its item.
        waited = {self._reading} if failure is None else {self._reading, failure}
        done, _ = await asyncio.wait(waited, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if failure in done:
            failure.result()
        if not done:
            raise TimeoutError
        reading, self._reading = self._reading, None
        item = reading.result()
        if isinstance(item, CallFailure):
            raise CallError(item.reason, item.message, item.field)
        return item

    def close(self) -> None:
        """Ends the work, unless it has ended."""
        if not self._ended:
            self._ended = True
            ray.cancel(self._generator)

    async def _read(self) -> Any:
        try:
            reference = await anext(self._generator, None)
            item = None if reference is None else await reference
        except RayError as error:
            if self._ended:  # it was closed
                raise NodeLostError(str(error)) from error
            self._ended = True
            raise self._node.lost(error) from error
        self._ended = self._ended or item is None or isinstance(item, CallFailure)
        return item


def ignore_unread(future: asyncio.Future[Any]) -> None:
    """Retrieves its exception, which asyncio would otherwise report if nobody waits for it any more."""
    future.add_done_callback(lambda done: done.cancelled() or done.exception())


class Node:
    """An actor, and what it does for this front. `report` is None before it answers, and once it is lost."""

    def __init__(self, name: str, actor: Any, changes: Changes) -> None:
        self.name = name
        self.report: Report | None = None
        self.running: Counter[str] = Counter()
        self._actor = actor
        self._changes = changes

    def free(self, kind: str) -> int:
        """How much more work of this kind it can begin. What it was given counts before it says so."""
        if self.report is None:
            return 0
        left = self.report.slots[kind] - self.running[kind]
        return max(0, min(left, self.report.free_slots[kind]))

    @contextmanager
    def working(self, kind: str) -> Iterator[None]:
        """Counts a piece of work for the block."""
        self.running[kind] += 1
        self._changes.notify()
        try:
            yield
        finally:
            self.running[kind] -= 1
            self._changes.notify()

    def stream(self, method: str, *arguments: object) -> Stream:
        """Begins a call of this method of RayNode."""
        bound = getattr(self._actor, method).options(_generator_backpressure_num_objects=UNREAD_ITEMS)
        return Stream(self, bound.remote(*arguments))

    async def call(self, method: str, *arguments: object) -> None:
        """Calls this method of RayNode, which returns nothing. Raises NodeLostError."""
        try:
            await getattr(self._actor, method).remote(*arguments)
        except RayError as error:
            raise self.lost(error) from error

    def lost(self, error: RayError) -> NodeLostError:
        """Takes note that the node does not answer. Ends its actor, which may still work, for all calls."""
        self.report = None
        self._changes.notify()
        self.kill()
        return NodeLostError(f"{self.name}: {type(error).__name__}: {str(error).partition(chr(10))[0]}")

    def kill(self) -> None:
        """Ends the actor's process, if it still runs."""
        with suppress(RayError, ValueError):
            ray.kill(self._actor)


class Cluster:
    """The nodes that there are, as they come and go. An actor that is lost is replaced while its node lives.

    The new one knows nothing of the work of the one before, like a trainer that is started again. The actors
    end with this process, however it ends.
    """

    def __init__(self, settings: TrainerSettings, changes: Changes, background: Background) -> None:
        self.nodes: dict[Place, Node] = {}
        self._settings = settings
        self._changes = changes
        self._background = background
        self._following: set[asyncio.Task[None]] = set()
        self._lost = asyncio.Event()

    @classmethod
    @asynccontextmanager
    async def open(
        cls, settings: TrainerSettings, changes: Changes, background: Background
    ) -> AsyncGenerator[Self]:
        """Joins the cluster. Raises SettingsError if it does not answer."""
        await asyncio.to_thread(_join, settings)
        _take_signals_back()
        cluster = cls(settings, changes, background)
        watching = background.start("watching the nodes of the Ray cluster", cluster.run)
        try:
            yield cluster
        finally:
            tasks = {watching, *cluster._following}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await cluster._close()
            await asyncio.to_thread(ray.shutdown)

    async def run(self) -> None:
        """Looks which nodes there are until cancelled."""
        while True:
            self._lost.clear()
            found = await asyncio.to_thread(ray.nodes)
            places = [
                place
                for node in found
                if node["Alive"]
                for place in places_on(node["NodeID"], node["Resources"], self._settings.device)
            ]
            for place in places:
                if place not in self.nodes:
                    self._add(place)
            with suppress(TimeoutError):
                async with asyncio.timeout(NODES_SECONDS):
                    await self._lost.wait()

    def _add(self, place: Place) -> None:
        actor = (
            ray.remote(RayNode)
            .options(
                num_cpus=place.cpus,
                num_gpus=place.gpus,
                scheduling_strategy=NodeAffinitySchedulingStrategy(place.node_id, soft=False),
            )
            .remote(settings_of_node(self._settings, place.cpus))
        )
        node = self.nodes[place] = Node(f"node {place.node_id} actor {place.number}", actor, self._changes)
        task = self._background.start(f"following {node.name}", partial(self._follow, place, node))
        self._following.add(task)
        task.add_done_callback(self._following.discard)

    async def _follow(self, place: Place, node: Node) -> None:
        """Keeps the node's report up to date until it is lost."""
        try:
            with closing(node.stream("reports")) as reports:
                while (report := await reports.next()) is not None:
                    if node.report is None:
                        log.info("a node of the cluster works", node=node.name, device=report.device)
                    node.report = report
                    self._changes.notify()
        except NodeLostError as error:
            log.warning("a node of the cluster is lost", error=str(error))
        node.kill()
        del self.nodes[place]
        self._lost.set()

    async def _close(self) -> None:
        nodes = list(self.nodes.values())
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await asyncio.gather(*(node.call("close") for node in nodes), return_exceptions=True)
        for node in nodes:
            node.kill()


def _join(settings: TrainerSettings) -> None:
    """In a thread: in the main thread, Ray takes SIGTERM, which drains the trainer."""
    address = settings.ray_address or "auto"
    logging.getLogger("ray").setLevel(logging.ERROR)
    try:
        if settings.ray_address:  # Ray itself tries for minutes
            host, _, port = address.rpartition(":")
            socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
        ray.init(
            address=address,
            namespace="earmark",
            log_to_driver=False,
            logging_level=logging.ERROR,
            configure_logging=False,
        )
    except (OSError, RuntimeError, ValueError, RayError) as error:
        raise SettingsError(
            f"EARMARK_EXECUTOR is ray, and no Ray cluster answers at {address}: start one with `ray start`,"
            f" and set EARMARK_RAY_ADDRESS to the HOST:PORT of its head ({error})"
        ) from error


def _take_signals_back() -> None:
    """Ray's library logs a crash at a signal that stops a service; Python's own handlers do not."""
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.getsignal(number))
