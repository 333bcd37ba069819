"""How long to wait before trying again, and when to stop trying."""

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Backoff:
    """Waits that double from `initial` to `longest` seconds, until `patience` seconds have passed.

    `first_contact` is the patience while nothing was ever heard from the server: a wrong address should be
    told soon, a restart of the gateway sat out.
    """

    initial: float = 0.2
    longest: float = 5.0
    patience: float = 300.0
    first_contact: float = 10.0

    def pauses(self, *, contacted: bool) -> Iterator[bool]:
        """Sleep before each further try and yield True; end when the patience is used up."""
        deadline = time.monotonic() + (self.patience if contacted else self.first_contact)
        wait = self.initial
        while (left := deadline - time.monotonic()) > 0:
            # Watchers cut off together must not come back together.
            time.sleep(min(left, wait * random.uniform(0.5, 1.0)))  # noqa: S311 (nothing secret)
            yield True
            wait = min(self.longest, wait * 2)
