"""Retry delays: how long to wait before the next try, and when to give up."""

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Backoff:
    """Delays that double from `initial` to `longest` seconds, until `patience` seconds have passed.

    `first_contact` replaces `patience` as long as the server has never answered: a wrong address should be
    reported soon, while a restart of the gateway should be waited for.
    """

    initial: float = 0.2
    longest: float = 5.0
    patience: float = 300.0
    first_contact: float = 10.0

    def pauses(self, *, contacted: bool) -> Iterator[bool]:
        """Sleep and yield True before each further try; end when the patience is used up."""
        deadline = time.monotonic() + (self.patience if contacted else self.first_contact)
        wait = self.initial
        while (remaining := deadline - time.monotonic()) > 0:
            # With a random part, clients that were cut off together do not return together.
            time.sleep(min(remaining, wait * random.uniform(0.5, 1.0)))  # noqa: S311 (nothing secret)
            yield True
            wait = min(self.longest, wait * 2)
