"""Calls every rpc of both services with what a seed makes of its descriptor, and counts the answers."""

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import MethodDescriptor
from grpc import aio

from earmark.reflection import contract
from earmark.v1.model_service_pb2 import Model
from tests.fuzz.callers import OTHER
from tests.fuzz.calls import CALL_SECONDS, STAY_OPEN, Call, Outcome, make, perform
from tests.fuzz.known import SHORT_FILE, Known
from tests.fuzz.system import System
from tests.fuzz.victim import Victim, active_models, make_victim

AT_ONCE = 16
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

    def without_success(self) -> list[str]:
        """The rpcs of which no call ended with OK, or stayed open until the fuzzer cancelled it."""
        names = {f"{method.containing_service.name}.{method.name}" for method in methods()}
        return sorted(names - {name for name, status in self.counts if status in _success(name)})

    def table(self) -> Iterable[str]:
        """One line per rpc, with the share of its calls that succeeded."""
        for name, group in itertools.groupby(sorted(self.counts), lambda key: key[0]):
            counts = {status: self.counts[name, status] for _, status in group}
            share = sum(counts.get(status, 0) for status in _success(name)) / sum(counts.values())
            statuses = ", ".join(f"{status} {count}" for status, count in counts.items())
            yield f"{name} ({share:.0%}, slowest {self.slowest.get(name, 0):.1f} s): {statuses}"


def _success(name: str) -> tuple[str, ...]:
    return ("OK", "CANCELLED") if name.partition(".")[2] in STAY_OPEN else ("OK",)


class Fuzzer:
    """Makes calls on a running system. The same seed makes the same calls, except for ids."""

    def __init__(
        self, system: System, seed: int, progress: Callable[[str], None], call_seconds: float = CALL_SECONDS
    ) -> None:
        """`call_seconds`: how long a call may take that neither stays open nor works."""
        self.report = Report(seed)
        self._call_seconds = call_seconds
        self._system = system
        self._progress = progress
        self._methods = methods()
        self._known = Known(system.callers.spared)

    async def run(self, numbers: Sequence[int]) -> Report:
        """Makes the calls of these numbers, and looks for what they did to others."""
        named = await asyncio.to_thread(lambda: self._system.bystander.ids)
        for kind, value in (*named, ("tenant_id", OTHER)):
            self._known.add(kind, value)
        self._learn(self._system.victim, self._system.models)
        for start in range(0, len(numbers), NEW_VICTIM_EVERY):
            if start:
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
            call = make(self.report.seed, number, self._methods, self._known, self._call_seconds)
            channel = self._system.channels[call.package]
            outcome = await perform(call, channel, self._known, self._system.signer, self._system.callers)
            self.report.add(call, outcome)
            if outcome.problem:
                self._progress(f"{call}: {outcome.problem}")

    async def _new_victim(self) -> None:
        channel = self._system.own_channel
        try:
            victim = await make_victim(channel)
            self._learn(victim, await active_models(channel))
        except aio.AioRpcError as error:
            self.report.findings.append(f"no dataset can be made: {error.code().name}: {error.details()}")

    def _learn(self, victim: Victim, models: Iterable[Model]) -> None:
        """What the calls may name: a dataset that is large enough to train on, and models to detect with."""
        for reply in (*victim.replies, *models):
            self._known.learn(reply)
        self._known.add(SHORT_FILE, victim.short_file_id)
        self._known.learn_objects(self._system.objects)
