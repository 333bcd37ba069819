"""Supervises the tasks that run as long as their service: none of them ends silently."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import structlog

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 10.0
# A task that has run for this long has recovered.
STEADY_SECONDS = 60.0
# A task keeps failing if it has failed this often in a row. A single failure may be chance.
FAILURES = 3

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class TaskState:
    """A task, how often it was started again, and its last error: when, and in words."""

    name: str
    restarts: int = 0
    last_error: str = ""
    failed_at: datetime | None = None
    failures_in_a_row: int = 0
    started: float = 0.0

    @property
    def keeps_failing(self) -> bool:
        """Whether it has failed several times in a row and has not run steadily since."""
        return self.failures_in_a_row >= FAILURES and not self._is_steady()

    def start(self) -> None:
        self.started = asyncio.get_running_loop().time()

    def record_failure(self, error: Exception) -> float:
        """Returns the pause in seconds before the next start."""
        self.failures_in_a_row = 1 if self._is_steady() else self.failures_in_a_row + 1
        self.restarts += 1
        self.last_error = f"{type(error).__name__}: {error}"
        self.failed_at = datetime.now(UTC)
        return min(FIRST_PAUSE_SECONDS * 2.0 ** (self.failures_in_a_row - 1), LONGEST_PAUSE_SECONDS)

    def _is_steady(self) -> bool:
        return asyncio.get_running_loop().time() - self.started > STEADY_SECONDS


class Background:
    """The supervised tasks of a service."""

    def __init__(self) -> None:
        self._states: list[TaskState] = []

    def start(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> asyncio.Task[None]:
        """Runs `work` until it returns, and again whenever it raises. Cancel the task to end it."""
        return asyncio.create_task(self._supervise(TaskState(name), work), name=name)

    def states(self) -> Sequence[TaskState]:
        """The tasks that run, in the order of their start."""
        return tuple(self._states)

    def keeps_failing(self) -> bool:
        """Whether any task does."""
        return any(state.keeps_failing for state in self._states)

    async def _supervise(self, state: TaskState, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._states.append(state)
        try:
            while True:
                state.start()
                try:
                    return await work()
                except Exception as error:
                    pause = state.record_failure(error)
                    log.exception(
                        "a background task failed; it is started again",
                        task=state.name,
                        failures_in_a_row=state.failures_in_a_row,
                        seconds=pause,
                    )
                await asyncio.sleep(pause)
        finally:
            self._states.remove(state)
