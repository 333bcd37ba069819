"""Calls every rpc of both services with what a seed makes of its descriptor, and counts the answers."""

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import MethodDescriptor

from earmark.reflection import contract
from tests.fuzz.calls import STAY_OPEN, Call, Outcome, make, perform
from tests.fuzz.known import Known
from tests.fuzz.system import System
from tests.fuzz.victim import make_victim

AT_ONCE = 6
# After so many calls there is a new dataset, because calls delete what they can.
NEW_VICTIM_EVERY = 1_000


def methods() -> list[MethodDescriptor]:
    """Every rpc of the contract."""
    pool = descriptor_pool.Default()
    files = (pool.FindFileByName(file.name) for file in contract().file if file.service)
    services = [service for file in files for service in file.services_by_name.values()]
    return [method for service in services for method in service.methods]


@dataclass
class Report:
    """How many calls of each rpc ended in which status, and what must not have happened."""

    seed: int
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    slowest: dict[str, float] = field(default_factory=dict)
    findings: list[str] = field(default_factory=list)

    def add(self, call: Call, outcome: Outcome) -> None:
        self.counts[call.name, outcome.status] += 1
        if call.method.name not in STAY_OPEN:
            self.slowest[call.name] = max(self.slowest.get(call.name, 0.0), outcome.seconds)
        if outcome.problem:
            self.findings.append(f"{call}: {outcome.problem}")

    def table(self) -> Iterable[str]:
        """One line per rpc."""
        for name, group in itertools.groupby(sorted(self.counts), lambda key: key[0]):
            statuses = ", ".join(f"{status} {self.counts[name, status]}" for _, status in group)
            yield f"{name} (slowest {self.slowest.get(name, 0):.1f} s): {statuses}"


class Fuzzer:
    """Makes calls on a running system. The same seed makes the same calls, except for ids."""

    def __init__(self, system: System, seed: int, progress: Callable[[str], None]) -> None:
        self.report = Report(seed)
        self._system = system
        self._progress = progress
        self._methods = methods()
        self._known = Known(system.bystander.ids)

    async def run(self, numbers: Sequence[int]) -> Report:
        """Makes the calls of these numbers, and looks for what they did to others."""
        for start in range(0, len(numbers), NEW_VICTIM_EVERY):
            await self._new_victim()
            waiting = iter(numbers[start : start + NEW_VICTIM_EVERY])
            async with asyncio.TaskGroup() as group:
                for _ in range(AT_ONCE):
                    group.create_task(self._calls(waiting))
            self._progress(f"{self.report.counts.total()} calls, {len(self.report.findings)} findings")
        self.report.findings += await asyncio.to_thread(self._system.bystander.changes)
        self.report.findings += [f"the {name} has died" for name in self._system.dead()]
        return self.report

    async def _calls(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            call = make(self.report.seed, number, self._methods, self._known)
            outcome = await perform(call, self._system.channels[call.package], self._known)
            self.report.add(call, outcome)
            if outcome.problem:
                self._progress(f"{call}: {outcome.problem}")

    async def _new_victim(self) -> None:
        """Adds a dataset that is large enough to train on, and whose ids the calls may name."""
        for reply in await make_victim(self._system.channels["earmark.v1"]):
            self._known.learn(reply)
        for key in self._system.keys()[-100:]:
            self._known.add("key", key)
