"""The plan of the faults, drawn from a seed, and its execution."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from bench.faults.observations import Fault, Observations
from bench.faults.proxy import Proxy
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

Target = Service | Postgres | Proxy


@dataclass(frozen=True, slots=True)
class Step:
    """A planned fault, `gap` seconds after the one before.

    `kind`: kill, stop, pause, cut, stall or lost reply; `target_kind`: one of KINDS or LINKS; `choice`: a
    number from 0 to 1 that selects the target among those of this kind; `seconds`: how long the fault lasts,
    or how long a process stays down.
    """

    kind: str
    target_kind: str
    choice: float
    gap: float
    seconds: float


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
                await self._wait_for_progress()
                target = await self._target(step)
                self._faulty.add(target)
                running.create_task(self._inject(target, step))

    async def _wait_for_progress(self) -> None:
        """Waits up to PROGRESS_SECONDS for an epoch or job to end, which kills could otherwise prevent."""
        self._history.progressed.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(PROGRESS_SECONDS):
                await self._history.progressed.wait()

    async def _target(self, step: Step) -> Target:
        while True:
            self._freed.clear()
            free = [target for target in self._all(step.target_kind) if target not in self._faulty]
            if free:
                return free[int(step.choice * len(free))]
            await self._freed.wait()

    def _all(self, target_kind: str) -> Sequence[Target]:
        targets: tuple[Target, ...] = (*self._system.processes, *self._system.links)
        return [target for target in targets if target.kind == target_kind]

    async def _inject(self, target: Target, step: Step) -> None:
        self.counts[f"{step.kind} {step.target_kind}"] += 1
        fault = Fault(step.kind, target.name, time.time())
        self._history.faults.append(fault)
        if isinstance(target, Proxy):
            await _disturb_link(target, step)
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
