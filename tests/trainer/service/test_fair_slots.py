"""Slots that callers take in turn."""

import asyncio
from contextlib import AsyncExitStack

from hypothesis import given
from hypothesis import strategies as st

from earmark.trainer.service.fair_slots import FairSlots

CALLERS = st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), min_size=1, max_size=20)


@given(count=st.integers(1, 4), waiting=CALLERS, cancelled=st.sets(st.integers(0, 19)))
def test_a_free_slot_goes_to_the_caller_that_has_the_fewest(count, waiting, cancelled) -> None:
    asyncio.run(_all_get_their_turn(count, waiting, cancelled))


async def _all_get_their_turn(count: int, waiting: list[tuple[str, bool]], cancelled: set[int]) -> None:
    slots, having = FairSlots(count), []

    async def use(number: int) -> None:
        caller, of_job = waiting[number]
        async with slots.one(caller, of_job=of_job):
            having.append(number)
            await ends[number].wait()
            having.remove(number)

    async with AsyncExitStack() as stack:
        blocker = stack.enter_async_context
        for _ in range(count):
            await blocker(slots.one("blocker", of_job=False))
        ends = [asyncio.Event() for _ in waiting]
        tasks = [asyncio.create_task(use(number)) for number in range(len(waiting))]
        await _settled()
        assert having == []
        for number in sorted(cancelled & set(range(len(waiting)))):
            tasks[number].cancel()
        await _settled()
    left = set(range(len(waiting))) - cancelled
    while left:
        await _settled()
        assert having
        used = [waiting[number][0] for number in having]
        assert len(used) <= count
        jobs_wait = [number for number in left - set(having) if waiting[number][1]]
        others_wait = [number for number in left - set(having) if not waiting[number][1]]
        # Nothing is free that somebody may have.
        assert not others_wait or len(used) == count
        assert not jobs_wait or len(used) >= count - (count > 1)
        # Nobody waits for a slot while another has two more, when any waiter may have it.
        for number in others_wait:
            assert max(map(used.count, used)) <= used.count(waiting[number][0]) + 1
        ended = having[0]
        ends[ended].set()
        left.discard(ended)
    await asyncio.gather(*tasks, return_exceptions=True)
    assert slots.free == count


async def _settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)
