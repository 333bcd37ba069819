"""Limits how fast an address may try API keys that are none."""

from collections import OrderedDict

from earmark.gateway.errors import QuotaError

# So many at once, and so many a second.
BURST = 20
PER_SECOND = 1.0
# Of so many addresses the failures are counted, those of the latest.
ADDRESSES = 10_000


class Failures:
    """The failures of each address, of which one a second is forgotten."""

    def __init__(self) -> None:
        # The number, as of a time in seconds.
        self._counted: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def check(self, address: str, now: float) -> None:
        """Raises QuotaError if there were too many."""
        if self._left(address, now) > BURST - 1:
            raise QuotaError(
                "address/unknown_api_keys",
                BURST,
                f"{BURST} calls from this address had an API key that is not valid: correct the key, and"
                " wait some seconds",
                BURST / PER_SECOND,
            )

    def add(self, address: str, now: float) -> None:
        self._counted[address] = (self._left(address, now) + 1, now)
        self._counted.move_to_end(address)
        if len(self._counted) > ADDRESSES:
            self._counted.popitem(last=False)

    def _left(self, address: str, now: float) -> float:
        number, at = self._counted.get(address, (0.0, now))
        return max(0.0, number - (now - at) * PER_SECOND)
