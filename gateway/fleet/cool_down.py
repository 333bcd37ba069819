"""The pause of a trainer on which attempts are lost one after another."""

from dataclasses import dataclass

# By the number of losses in a row; the last holds for any further ones.
PAUSES_SECONDS = (1, 5, 25, 60)


@dataclass(slots=True)
class CoolDown:
    """Longer with every loss in a row, over with the first attempt that is kept. Times are monotonic."""

    losses: int = 0
    until: float = 0.0

    def record_loss(self, now: float) -> None:
        """What falls during the pause fell together with the loss that began it, and is not counted again."""
        if now < self.until:
            return
        self.losses += 1
        self.until = now + PAUSES_SECONDS[min(self.losses, len(PAUSES_SECONDS)) - 1]

    def reset(self) -> None:
        self.losses, self.until = 0, 0.0

    def seconds_left(self, now: float) -> float:
        """0 where nothing is being waited for."""
        return max(0.0, self.until - now)
