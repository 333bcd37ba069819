"""How many calls of one tenant are worked on at a time, so that a flood of them delays no other tenant.

The event loop works on all calls that have begun in turn. What a tenant sends beyond its share waits before
it begins, and then costs nothing. A tenant that is alone has no share: the loop works best on many calls.

gRPC takes in calls in the order of their arrival, one in one or two passes of the loop. If the loop worked on
a flood as fast as it takes it in, most of it would wait there, and all other calls behind it. So a call that
has waited for its turn begins when the loop has taken in what has arrived meanwhile.
"""

import asyncio
from collections import Counter, defaultdict, deque
from typing import Self

CALLS_AT_ONCE = 2
# If no call comes in so many passes of the loop, none waits to be taken in.
PASSES = 8
# Others arrive all the time: so many times PASSES is enough.
MOST_ROUNDS = 50
# So long after a call, its tenant is not gone.
PRESENT_SECONDS = 1.0
# A call that takes longer waits for something, and leaves the loop to others.
LONG_SECONDS = 0.2
# Opening a stream takes its turn, and is over at the first reply. Many wait for an event, or for the caller.
OPENING_SECONDS = 0.05


class Turns:
    """The calls of every tenant, or of every address where no key is needed."""

    def __init__(self, at_once: int = CALLS_AT_ONCE) -> None:
        """`at_once`: how many that are not long yet are worked on, of each tenant that is not alone."""
        self._at_once = at_once
        self._arrived = 0
        self._last = ""
        self._others_until = 0.0
        self._working: Counter[str] = Counter()
        self._waiting: defaultdict[str, deque[asyncio.Future[None]]] = defaultdict(deque)

    def turn(self, key: str, long_seconds: float = LONG_SECONDS, kind: str = "") -> "Turn":
        """The turn of a call, as a context: it waits for its turn, which it has until it leaves or is long.

        Each `kind` of a tenant's calls has its own turns.
        """
        return Turn(self, key, f"{kind} {key}", long_seconds)

    async def enter(self, key: str, line: str) -> None:
        """Waits for a place among the calls of this line that are worked on."""
        now = asyncio.get_running_loop().time()
        self._arrived += 1
        if key != self._last:
            if self._last:
                self._others_until = now + PRESENT_SECONDS
            self._last = key
        if now < self._others_until and self._working[line] >= self._at_once:
            await self._wait(line)
        else:
            self._working[line] += 1

    async def _wait(self, line: str) -> None:
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[line].append(place)
        try:
            await place
            await self._take_in()
        except asyncio.CancelledError:
            if not place.cancelled():
                self.release(line)
            raise

    async def _take_in(self) -> None:
        """Returns when the loop has taken in the calls that have arrived."""
        for _ in range(MOST_ROUNDS):
            arrived = self._arrived
            for _ in range(PASSES):
                await asyncio.sleep(0)
            if arrived == self._arrived:
                return

    def release(self, line: str) -> None:
        """Gives a place to the next call that still waits."""
        self._working[line] -= 1
        waiting = self._waiting.get(line)
        while waiting and self._working[line] < self._at_once:
            place = waiting.popleft()
            if not place.done():
                self._working[line] += 1
                place.set_result(None)
        if not waiting:
            self._waiting.pop(line, None)
        if not self._working[line]:
            del self._working[line]


class Turn:
    """The place of one call among those that are worked on."""

    __slots__ = ("_becomes_long", "_has_left", "_key", "_line", "_long_seconds", "_turns")

    def __init__(self, turns: Turns, key: str, line: str, long_seconds: float) -> None:
        self._turns = turns
        self._key = key
        self._line = line
        self._long_seconds = long_seconds
        self._has_left = True
        self._becomes_long: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        await self._turns.enter(self._key, self._line)
        self._has_left = False
        self._becomes_long = asyncio.get_running_loop().call_later(self._long_seconds, self.leave)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.leave()

    def leave(self) -> None:
        """Gives the place to the next call, once."""
        if self._has_left:
            return
        self._has_left = True
        if self._becomes_long is not None:
            self._becomes_long.cancel()
        self._turns.release(self._line)
