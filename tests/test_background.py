"""The supervisor of long-lived tasks."""

import asyncio

import pytest

from earmark import background
from earmark.background import FAILURES, Background


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(background, "FIRST_PAUSE_SECONDS", 0.0)


class Work:
    """Fails the given number of times, and then runs until it is cancelled."""

    def __init__(self, failures: int) -> None:
        self._failures = failures
        self.runs = asyncio.Event()

    async def __call__(self) -> None:
        if self._failures:
            self._failures -= 1
            raise KeyError("one")
        self.runs.set()
        await asyncio.Event().wait()


async def test_a_task_that_fails_is_started_again() -> None:
    tasks, work = Background(), Work(1)
    task = tasks.start("one", work)
    await work.runs.wait()
    (state,) = tasks.states()
    assert (state.name, state.restarts, state.last_error) == ("one", 1, "KeyError: 'one'")
    assert state.failed_at is not None
    assert not tasks.keeps_failing()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert tasks.states() == ()


async def test_a_task_keeps_failing_until_it_has_run_for_a_while(monkeypatch) -> None:
    tasks, work = Background(), Work(FAILURES)
    task = tasks.start("one", work)
    await work.runs.wait()
    assert tasks.keeps_failing()
    monkeypatch.setattr(background, "STEADY_SECONDS", -1.0)
    assert not tasks.keeps_failing()
    task.cancel()


async def test_the_pauses_grow(monkeypatch) -> None:
    monkeypatch.setattr(background, "FIRST_PAUSE_SECONDS", 0.5)
    state = background.TaskState("one")
    state.start()
    pauses = [state.record_failure(ValueError()) for _ in range(7)]
    assert pauses == [0.5, 1, 2, 4, 8, 10, 10]
    monkeypatch.setattr(background, "STEADY_SECONDS", -1.0)
    assert state.record_failure(ValueError()) == 0.5


async def test_a_task_that_returns_is_not_started_again() -> None:
    tasks, started = Background(), []

    async def work() -> None:
        started.append(1)

    await tasks.start("one", work)
    assert started == [1]
    assert tasks.states() == ()
