"""The longest steps: of awaited work, and of the last minutes only."""

import asyncio
import time

import pytest

from earmark.gateway.loop_watch import WINDOW_SECONDS, LongestSteps, LoopWatch


def spend(seconds: float) -> None:
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


async def test_each_step_of_the_work_counts_alone_and_its_waits_do_not() -> None:
    async def work() -> str:
        spend(0.01)
        await asyncio.sleep(0)
        spend(0.02)
        await asyncio.sleep(0.1)
        return "done"

    watch = LoopWatch()
    assert await watch.measured(work(), "work") == "done"
    longest = watch.calls.longest()
    assert longest.name == "work"
    assert 0.02 <= longest.seconds < 0.1


async def test_errors_and_cancels_reach_the_work_and_its_errors_the_caller() -> None:
    seen = []

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise KeyError("of the work") from None

    task = asyncio.create_task(LoopWatch().measured(work(), "work"))  # type: ignore[arg-type]  # as grpc does
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(KeyError, match="of the work"):
        await task
    assert seen == ["cancelled"]


def test_the_longest_step_is_that_of_the_last_minutes() -> None:
    time_now = 0.0
    steps = LongestSteps(lambda: time_now)
    assert steps.longest().seconds == 0
    for name, seconds in (("long", 3.0), ("short", 1.0), ("middle", 2.0)):
        steps.add(name, seconds)
        time_now += 10
    assert steps.longest().name == "long"
    time_now += WINDOW_SECONDS - 25
    assert steps.longest().name == "middle"
    time_now += WINDOW_SECONDS
    assert steps.longest().name == ""
