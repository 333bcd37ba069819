"""The plan of the faults, drawn from a seed, and its execution."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress

from bench.faults import dependencies
from bench.faults.clock import Clock
from bench.faults.observations import Fault, Observations
from bench.faults.proxy import Proxy
from bench.faults.step import Step
from bench.faults.store import Store
from bench.faults.system import Postgres, Service, System

KINDS = ("gateway", "trainer", "postgres")
LINKS = ("client link", "trainer link", "postgres link")
# Pauses and lost replies are the most frequent, since they are the hardest faults to handle correctly.
OTHERS = ("pause", "pause", "pause", "cut", "cut", "stall", "lost reply", "lost reply", "stop")
OTHERS_PER_KILL = 0.8
# Longer than a lease of the drill: a process that resumes may have lost its jobs to others.
LONGEST_PAUSE = 8.0
LONGEST_STALL = 5.0
LONGEST_RESTART = 3.0
GAP = (0.3, 2.0)
PROGRESS_SECONDS = 6.0
# The same after a fault of a plan whose faults come one after the other.
LONGEST_RECOVERY = 30.0

Target = Service | Postgres | Proxy | Store | Clock


def plan(seed: int, kills: int) -> Iterator[Step]:
    """`kills` kills with other faults in between. Each three kills have targets of three kinds."""
    rng = random.Random(seed)
    done = 0
    while done < kills:
        for target_kind in rng.sample(KINDS, len(KINDS))[: kills - done]:
            if rng.random() < OTHERS_PER_KILL:
                yield _other(rng)
            yield _step(rng, "kill", target_kind, LONGEST_RESTART)
            done += 1


def _other(rng: random.Random) -> Step:
    kind = rng.choice(OTHERS)
    if kind == "pause":
        return _step(rng, kind, rng.choice(("gateway", "gateway", "trainer")), LONGEST_PAUSE, 0.5)
    if kind == "stop":
        return _step(rng, kind, rng.choice(KINDS), LONGEST_RESTART)
    return _step(rng, kind, rng.choice(LINKS), LONGEST_STALL)


def _step(rng: random.Random, kind: str, target_kind: str, longest: float, shortest: float = 0.0) -> Step:
    return Step(kind, target_kind, rng.random(), rng.uniform(*GAP), rng.uniform(shortest, longest))


class Faults:
    """Executes a plan on a system. Faults may overlap, but a target has only one at a time."""

    def __init__(self, system: System, observed: Observations) -> None:
        self._system = system
        self._history = observed
        self._faulty: set[Target] = set()
        self._freed = asyncio.Event()
        self.counts: Counter[str] = Counter()

    async def run(self, steps: Iterator[Step]) -> None:
        """Injects all faults. Returns when all of them are over."""
        async with asyncio.TaskGroup() as running:
            for step in steps:
                await asyncio.sleep(step.gap)
                await self._wait_for_progress(PROGRESS_SECONDS)
                target = await self._target(step)
                running.create_task(self._inject(target, step))

    async def run_in_turn(self, steps: Iterator[Step]) -> None:
        """Injects one fault after the other, each when work goes on after the one before."""
        for step in steps:
            await asyncio.sleep(step.gap)
            await self._inject(await self._target(step), step)
            await self._wait_for_progress(LONGEST_RECOVERY)

    async def _wait_for_progress(self, seconds: float) -> None:
        """Waits so long for an epoch or job to end, which the next fault could otherwise prevent."""
        self._history.progressed.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._history.progressed.wait()

    async def _target(self, step: Step) -> Target:
        """Reserves a target of the step that has no fault."""
        while True:
            self._freed.clear()
            free = [target for target in self._all(step.target_kind) if target not in self._faulty]
            if free:
                target = free[int(step.choice * len(free))]
                self._faulty.add(target)
                return target
            await self._freed.wait()

    def _all(self, target_kind: str) -> Sequence[Target]:
        system = self._system
        targets: tuple[Target, ...] = (*system.processes, *system.links, *system.stores, *system.clocks)
        return [target for target in targets if target.kind == target_kind]

    async def _inject(self, target: Target, step: Step) -> None:
        self.counts[f"{step.kind} {step.target_kind}"] += 1
        fault = Fault(step.kind, target.name, time.time())
        self._history.faults.append(fault)
        if isinstance(target, Proxy):
            await _disturb_link(target, step)
        elif isinstance(target, Store | Clock) or step.kind in dependencies.KINDS:
            await dependencies.disturb(self._system, target, step)
        else:
            await _disturb_process(target, step)
        fault.ended = time.time()
        self._faulty.discard(target)
        self._freed.set()


async def _disturb_link(link: Proxy, step: Step) -> None:
    match step.kind:
        case "cut":
            link.cut()
        case "stall":
            with link.stalled():
                await asyncio.sleep(step.seconds)
        case "lost reply":
            with link.replies_stalled():
                await asyncio.sleep(step.seconds)
                link.cut()


async def _disturb_process(process: Service | Postgres, step: Step) -> None:
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
