"""The figures, and what they are measured on."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.load.client import Client
from bench.load.rows import Dataset
from bench.load.system import Server, System


@dataclass(frozen=True, slots=True)
class Bench:
    """The system, its bare counterpart, the clients of both, and two datasets."""

    system: System
    bare: Server
    clients: Sequence[Client]
    small: Dataset
    large: Dataset


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table. `measured` and `bare` are medians if the figure has rounds."""

    name: str
    unit: str
    goal: str
    met: bool
    measured: float
    bare: float | None
    details: dict[str, float] = field(default_factory=dict)

    @property
    def ratio(self) -> float | None:
        """The gateway's value divided by the bare one; None if there is no bare value."""
        return self.measured / self.bare if self.bare else None


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that `share` (0-1) of the values do not exceed."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]
