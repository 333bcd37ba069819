"""Slots for which callers wait in turn: a caller with many files does not delay one with a single file."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass(eq=False, slots=True)
class _Waiter:
    caller: str
    of_job: bool
    turn: asyncio.Event = field(default_factory=asyncio.Event)


class FairSlots:
    """So many slots. A free one goes to the caller that has the fewest, among equals to who waits longest.

    If there are several, a file of a job leaves one free: no other file waits for a job.
    """

    def __init__(self, count: int) -> None:
        self.free = count
        self._left_by_jobs = int(count > 1)
        self._used: Counter[str] = Counter()
        # In the order of their arrival.
        self._waiting: list[_Waiter] = []

    @asynccontextmanager
    async def one(self, caller: str, *, of_job: bool) -> AsyncIterator[None]:
        """Waits for a slot, which the body has."""
        waiter = _Waiter(caller, of_job)
        self._waiting.append(waiter)
        self._give()
        try:
            await waiter.turn.wait()
            yield
        finally:
            if waiter.turn.is_set():
                self._take_back(caller)
            else:
                self._waiting.remove(waiter)

    def _give(self) -> None:
        while able := [waiter for waiter in self._waiting if self.free > waiter.of_job * self._left_by_jobs]:
            chosen = min(able, key=lambda waiter: self._used[waiter.caller])
            self._waiting.remove(chosen)
            self._used[chosen.caller] += 1
            self.free -= 1
            chosen.turn.set()

    def _take_back(self, caller: str) -> None:
        self.free += 1
        self._used[caller] -= 1
        if not self._used[caller]:
            del self._used[caller]
        self._give()
