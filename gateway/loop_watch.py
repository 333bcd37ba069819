"""Measures how long single pieces of work keep the event loop from all others.

Steps of calls are measured in CPU time of the loop's thread, so that other processes do not count. The lag of
the loop is what callers perceive: how late it does what was due, for whatever reason.
"""

import asyncio
import gc
import threading
import time
import types
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

# What AdminService shows is the largest of this time.
WINDOW_SECONDS = 300.0
_TICK_SECONDS = 0.05
# Shorter steps are not remembered.
_NOTABLE_SECONDS = 0.001
_OLDEST = 2  # generation of the garbage collector

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Step:
    """A piece of work that ran without a pause, such as what a call does between two waits."""

    name: str
    seconds: float


class LongestSteps:
    """The longest step of the last WINDOW_SECONDS."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        # Each is shorter than the one before it: what is older and shorter is never the longest again.
        self._steps: deque[tuple[float, Step]] = deque()

    def add(self, name: str, seconds: float) -> None:
        while self._steps and self._steps[-1][1].seconds <= seconds:
            self._steps.pop()
        self._steps.append((self._now(), Step(name, seconds)))

    def longest(self) -> Step:
        """The step; one of no name and no time if there was none."""
        while self._steps and self._steps[0][0] < self._now() - WINDOW_SECONDS:
            self._steps.popleft()
        return self._steps[0][1] if self._steps else Step("", 0.0)


class LoopWatch:
    """The longest step of calls, in CPU seconds, and the largest lag of the event loop, in seconds."""

    def __init__(self) -> None:
        self.calls = LongestSteps()
        self.lags = LongestSteps()
        # CPU time of the garbage collector on the loop's thread, which no call is to blame for.
        self._collecting_since = 0.0
        self._collected = 0.0

    @types.coroutine
    def measured(self, work: Coroutine[Any, Any, T], name: str) -> Generator[Any, Any, T]:
        """Awaits `work` and measures its steps under this name."""
        error: BaseException | None = None
        while True:
            began = time.thread_time() - self._collected
            try:
                waits_for = work.send(None) if error is None else work.throw(error)
            except StopIteration as end:
                result: T = end.value
                return result
            finally:
                seconds = time.thread_time() - self._collected - began
                if seconds > _NOTABLE_SECONDS:
                    self.calls.add(name, seconds)
            error = None
            try:
                yield waits_for
            except GeneratorExit:
                work.close()
                raise
            except BaseException as thrown:  # noqa: BLE001 it is for the work
                error = thrown

    async def follow_lag(self) -> None:
        """Measures the loop's lag, and what the garbage collector takes, until it is cancelled."""
        loop, collection = asyncio.get_running_loop(), partial(self._collection, threading.get_ident())
        gc.callbacks.append(collection)
        try:
            while True:
                due = loop.time() + _TICK_SECONDS
                await asyncio.sleep(_TICK_SECONDS)
                if (late := loop.time() - due) > _NOTABLE_SECONDS:
                    self.lags.add("", late)
        finally:
            gc.callbacks.remove(collection)

    def _collection(self, thread: int, phase: str, info: Mapping[str, int]) -> None:
        # Only the oldest generation takes long; the youngest is collected during nearly every call.
        if info["generation"] < _OLDEST or threading.get_ident() != thread:
            return
        if phase == "start":
            self._collecting_since = time.thread_time()
        else:
            self._collected += time.thread_time() - self._collecting_since
