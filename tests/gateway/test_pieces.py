"""Long work of many calls leaves the event loop to others."""

import asyncio

from earmark.gateway.pieces import pause


class Passes:
    """Counts the passes of the loop until it is stopped."""

    def __init__(self) -> None:
        self.count = 0
        self._loop = asyncio.get_running_loop()
        self._next = self._loop.call_soon(self._count)

    def _count(self) -> None:
        self.count += 1
        self._next = self._loop.call_soon(self._count)

    def stop(self) -> None:
        self._next.cancel()


async def pauses(name: str, times: int, seen: list[tuple[str, int]], passes: Passes) -> None:
    for _ in range(times):
        await pause()
        seen.append((name, passes.count))


async def test_each_pass_of_the_loop_has_a_piece_of_one_work() -> None:
    passes, seen = Passes(), []
    await asyncio.gather(*(pauses(name, 3, seen, passes) for name in "abcd"))
    passes.stop()
    assert "".join(name for name, _ in seen) == "abcd" * 3
    at = [count for _, count in seen]
    assert len(set(at)) == len(at)


async def test_work_that_is_cancelled_gives_way_to_the_next() -> None:
    passes, seen = Passes(), []
    tasks = [asyncio.create_task(pauses(name, 1, seen, passes)) for name in "abcd"]
    await asyncio.sleep(0)
    for cancelled in tasks[:3]:
        cancelled.cancel()
    await tasks[3]
    passes.stop()
    assert [name for name, _ in seen] == ["d"]
    await pauses("e", 1, seen, passes)
    assert [name for name, _ in seen] == ["d", "e"]
