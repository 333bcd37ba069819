"""Which refused calls have an entry in the audit log: few of an address, so that a flood does not fill it."""

from collections import OrderedDict
from dataclasses import dataclass

# So many at once, and so many a second: of an address, and of all together.
BURST = 20
PER_SECOND = 1 / 60
BURST_OF_ALL = 500
PER_SECOND_OF_ALL = 5.0
# The addresses that are counted, those of the latest.
ADDRESSES = 10_000


@dataclass(slots=True)
class _Room:
    """How many entries there is room for, as of a time in seconds; how many calls were left out since one."""

    entries: float
    at: float
    left_out: int = 0

    def fill(self, now: float, burst: float, per_second: float) -> None:
        self.entries = min(burst, self.entries + (now - self.at) * per_second)
        self.at = now


class Refusals:
    """The room for entries of refused calls. `left_out` is how many calls got none."""

    def __init__(self) -> None:
        self.left_out = 0
        self._all: _Room | None = None
        self._rooms: OrderedDict[str, _Room] = OrderedDict()

    def take(self, address: str, now: float) -> int | None:
        """Takes room for an entry, `now` in seconds. None if there is none.

        Otherwise, how many calls of the address were left out since its last entry.
        """
        room = self._rooms.setdefault(address, _Room(BURST, now))
        self._rooms.move_to_end(address)
        if len(self._rooms) > ADDRESSES:
            self._rooms.popitem(last=False)
        if self._all is None:
            self._all = _Room(BURST_OF_ALL, now)
        room.fill(now, BURST, PER_SECOND)
        self._all.fill(now, BURST_OF_ALL, PER_SECOND_OF_ALL)
        if min(room.entries, self._all.entries) < 1:
            room.left_out += 1
            self.left_out += 1
            return None
        room.entries -= 1
        self._all.entries -= 1
        left_out, room.left_out = room.left_out, 0
        return left_out
