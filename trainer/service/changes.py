"""A signal that wakes every coroutine waiting for the next change."""

import asyncio


class Changes:
    """`next` is set by the next change and then replaced, so every waiter wakes exactly once."""

    def __init__(self) -> None:
        self.next = asyncio.Event()

    def notify(self) -> None:
        """Wakes everyone who waits for `next`."""
        self.next.set()
        self.next = asyncio.Event()
