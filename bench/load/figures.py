"""What is measured, each figure against its bare counterpart in turn."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.load.client import Client
from bench.load.rows import Dataset
from bench.load.system import Server, System


@dataclass(frozen=True, slots=True)
class Bench:
    """What the figures are measured on."""

    system: System
    bare: Server
    clients: Sequence[Client]
    small: Dataset
    large: Dataset


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table. Where there are rounds, `measured` and `bare` are medians of theirs."""

    name: str
    unit: str
    goal: str
    met: bool
    measured: float
    bare: float | None
    details: dict[str, float] = field(default_factory=dict)

    @property
    def ratio(self) -> float | None:
        """Of the gateway to the bare server."""
        return self.measured / self.bare if self.bare else None


def percentile(values: Sequence[float], share: float) -> float:
    """The value that so large a share of them does not exceed."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]
