"""Retry delays: how long to wait before the next try, and when to give up."""

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import grpc

from earmark.client.errors import explain

# Codes of a connection that a proxy or the network cut; if Earmark itself sends them, they carry a reason.
_CUT = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.CANCELLED}


def was_cut_off(error: grpc.RpcError) -> bool:
    """Return whether a stream ended with `error` because its gateway or the connection went away."""
    code = error.code()
    return code is grpc.StatusCode.UNAVAILABLE or (code in _CUT and not explain(error).reason)


def broke_off(error: grpc.RpcError) -> bool:
    """Return whether a watch can be resumed after `error`: it was cut off, or its reader was too slow."""
    return was_cut_off(error) or error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


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

    def delays(self, *, contacted: bool) -> Iterator[float]:
        """Yield how many seconds to wait before each further try; end when the patience is used up."""
        deadline = time.monotonic() + (self.patience if contacted else self.first_contact)
        wait = self.initial
        while (remaining := deadline - time.monotonic()) > 0:
            # With a random part, clients that were cut off together do not return together.
            yield min(remaining, wait * random.uniform(0.5, 1.0))  # noqa: S311 (nothing secret)
            wait = min(self.longest, wait * 2)


class Retries:
    """Decides after each failure of an operation whether, and when, to try again.

    Only errors for which `is_temporary` is true are worth another try.
    """

    def __init__(self, backoff: Backoff | None, is_temporary: Callable[[grpc.RpcError], bool]) -> None:
        self._backoff = backoff or Backoff()
        self._is_temporary = is_temporary
        self._contacted = False
        self._delays: Iterator[float] | None = None

    def answered(self) -> None:
        """Note that the server has answered, so that its next failure is met with the whole patience."""
        self._contacted, self._delays = True, None

    def delay(self, failure: Exception) -> float:
        """Return how many seconds to wait before the next try; raise `failure` if there is none."""
        if isinstance(failure, grpc.RpcError):
            if not self._is_temporary(failure):
                raise failure
            if not self._contacted and explain(failure).reason:
                # Only a gateway gives a reason, so the address is right.
                self.answered()
        self._delays = self._delays or self._backoff.delays(contacted=self._contacted)
        delay = next(self._delays, None)
        if delay is None:
            raise failure
        return delay
