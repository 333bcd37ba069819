"""What is done to the system, drawn from a seed, and the doing of it."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from bench.faults.history import Fault, History
from bench.faults.proxy import Proxy
from bench.faults.system import Postgres, Service, System

KINDS = ("gateway", "trainer", "postgres")
LINKS = ("client link", "trainer link", "postgres link")
# A gateway that sleeps too long and a reply that is lost leave most to get wrong.
OTHERS = ("pause", "pause", "pause", "cut", "cut", "stall", "deaf", "deaf", "stop")
OTHERS_PER_KILL = 0.8
# Longer than a lease of the drill: who wakes up may find its work in other hands.
LONGEST_PAUSE = 8.0
LONGEST_STALL = 5.0
LONGEST_RESTART = 3.0
GAP = (0.3, 2.0)
PROGRESS_SECONDS = 6.0

Target = Service | Postgres | Proxy


@dataclass(frozen=True, slots=True)
class Step:
    """A fault to come, `gap` seconds after the one before.

    `kind`: kill, stop, pause, cut, stall or deaf; `of`: one of KINDS or LINKS; `which`: 0 to 1, among those;
    `seconds`: that it lasts, before the restart of a process.
    """

    kind: str
    of: str
    which: float
    gap: float
    seconds: float


def plan(seed: int, kills: int) -> Iterator[Step]:
    """`kills` kills, every three of them of three kinds, with other faults in between."""
    rng = random.Random(seed)
    done = 0
    while done < kills:
        for of in rng.sample(KINDS, len(KINDS))[: kills - done]:
            if rng.random() < OTHERS_PER_KILL:
                yield _other(rng)
            yield _step(rng, "kill", of, LONGEST_RESTART)
            done += 1


def _other(rng: random.Random) -> Step:
    kind = rng.choice(OTHERS)
    if kind == "pause":
        return _step(rng, kind, rng.choice(("gateway", "gateway", "trainer")), LONGEST_PAUSE, 0.5)
    if kind == "stop":
        return _step(rng, kind, rng.choice(KINDS), LONGEST_RESTART)
    return _step(rng, kind, rng.choice(LINKS), LONGEST_STALL)


def _step(rng: random.Random, kind: str, of: str, longest: float, shortest: float = 0.0) -> Step:
    return Step(kind, of, rng.random(), rng.uniform(*GAP), rng.uniform(shortest, longest))


class Faults:
    """Carries a plan out on a system. One fault at a time on each target, several on different ones."""

    def __init__(self, system: System, history: History) -> None:
        self._system = system
        self._history = history
        self._struck: set[Target] = set()
        self._freed = asyncio.Event()
        self.counts: Counter[str] = Counter()

    async def run(self, steps: Iterator[Step]) -> None:
        """Returns when all is done and undone."""
        async with asyncio.TaskGroup() as running:
            for step in steps:
                await asyncio.sleep(step.gap)
                await self._progress()
                target = await self._target(step)
                self._struck.add(target)
                running.create_task(self._strike(target, step))

    async def _progress(self) -> None:
        """So much is killed that nothing would ever end, were it not waited for now and then."""
        self._history.progressed.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(PROGRESS_SECONDS):
                await self._history.progressed.wait()

    async def _target(self, step: Step) -> Target:
        while True:
            self._freed.clear()
            free = [target for target in self._all(step.of) if target not in self._struck]
            if free:
                return free[int(step.which * len(free))]
            await self._freed.wait()

    def _all(self, of: str) -> Sequence[Target]:
        everything = (*self._system.processes, *self._system.links)
        return [target for target in everything if target.kind == of]

    async def _strike(self, target: Target, step: Step) -> None:
        self.counts[f"{step.kind} {step.of}"] += 1
        fault = Fault(step.kind, target.name, time.time())
        self._history.faults.append(fault)
        if isinstance(target, Proxy):
            await _disturb(target, step)
        else:
            await _fell(target, step)
        fault.ended = time.time()
        self._struck.discard(target)
        self._freed.set()


async def _disturb(link: Proxy, step: Step) -> None:
    match step.kind:
        case "cut":
            link.cut()
        case "stall":
            with link.stalled():
                await asyncio.sleep(step.seconds)
        case "deaf":
            with link.deaf():
                await asyncio.sleep(step.seconds)
                link.cut()


async def _fell(process: Service | Postgres, step: Step) -> None:
    if step.kind == "pause" and isinstance(process, Service):
        process.pause()
        try:
            await asyncio.sleep(step.seconds)
        finally:
            process.resume()
        return
    await (process.kill() if step.kind == "kill" else process.stop())
    await asyncio.sleep(step.seconds)
    await process.start()
