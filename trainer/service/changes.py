"""Waking those who watch something that changes."""

import asyncio


class Changes:
    """Any number of waiters, all woken by the next change."""

    def __init__(self) -> None:
        self.next = asyncio.Event()

    def notify(self) -> None:
        """Something changed."""
        self.next.set()
        self.next = asyncio.Event()
