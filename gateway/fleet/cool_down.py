"""The cool-down of a trainer on which attempts were lost in a row."""

from dataclasses import dataclass

# Times the first pause, by the number of losses in a row; the last value applies to all further losses.
FACTORS = (1, 5, 15)


@dataclass(slots=True)
class CoolDown:
    """Grows with each loss in a row and ends with the first success. Times are monotonic, in seconds."""

    first_seconds: float = 1.0
    losses: int = 0
    until: float = 0.0

    def record_loss(self, now: float) -> None:
        """Starts a longer cool-down. Losses during one count as the same loss, so they are ignored."""
        if now < self.until:
            return
        self.losses += 1
        self.until = now + self.first_seconds * FACTORS[min(self.losses, len(FACTORS)) - 1]

    def reset(self) -> None:
        self.losses, self.until = 0, 0.0

    def seconds_left(self, now: float) -> float:
        """The rest of the cool-down; 0 if there is none."""
        return max(0.0, self.until - now)
