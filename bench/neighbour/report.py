"""What was measured beside each abuse, its goals, and the table."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bench.load.figures import percentile
from bench.neighbour.footprint import Footprint
from bench.neighbour.neighbour import DETECT, DISPATCH, FIGURES, GET, WATCH, Times
from bench.neighbour.system import SCRATCH_MB, TRAINERS

CALLS = (GET, WATCH, DISPATCH, DETECT)
MOST_TIMES_QUIET = 3.0
MOST_MS = 250.0
GATEWAY_MEMORY_MB = 1 << 10
# EARMARK_AUDIO_MEMORY_MB for a decoding process, and what all processes of a trainer have without a file.
TRAINER_MEMORY_MB = TRAINERS * (2048 + 2048)
GATEWAY_SCRATCH_MB = 10 << 10  # EARMARK_MAX_UNFINISHED_UPLOAD_MB
# One long file and one short one at a time.
TRAINER_SCRATCH_MB = TRAINERS * 2 * SCRATCH_MB


@dataclass(frozen=True, slots=True)
class Phase:
    """What the neighbour perceived. `statuses` are those that the abuser got."""

    abuse: str
    times: Times
    footprint: Footprint
    statuses: Mapping[str, int]

    def ms(self, figure: str, share: float) -> float:
        """A percentile; infinite if nothing succeeded."""
        seconds = self.times.seconds[figure]
        return 1000 * percentile(seconds, share) if seconds else float("inf")

    def ratio(self, figure: str, quiet: "Phase") -> float:
        """Of the 99th percentiles."""
        return self.ms(figure, 0.99) / quiet.ms(figure, 0.99)

    def missed(self, quiet: "Phase") -> Iterator[str]:
        """The goals that are missed."""
        for figure in FIGURES:
            if (ratio := self.ratio(figure, quiet)) > MOST_TIMES_QUIET:
                yield f"{figure} takes {ratio:.1f} times as long as without abuse"
            if figure in CALLS and (ms := self.ms(figure, 0.99)) > MOST_MS:
                yield f"{figure} takes {ms:.0f} ms"
        yield from (f"{count} times {failure}" for failure, count in self.times.failures.items())
        for name, most in BOUNDS.items():
            if (found := getattr(self.footprint, name) >> 20) > most:
                yield f"{name.replace('_', ' ')}: {found} MiB, at most {most}"


BOUNDS = {
    "gateway_memory": GATEWAY_MEMORY_MB,
    "gateway_scratch": GATEWAY_SCRATCH_MB,
    "trainer_memory": TRAINER_MEMORY_MB,
    "trainer_scratch": TRAINER_SCRATCH_MB,
}


def table(phases: Sequence[Phase]) -> str:
    """As Markdown, with the missed goals below. The first phase is the quiet one."""
    quiet = phases[0]
    head = ["beside", *FIGURES, "gateway, MiB", "trainers, MiB", "scratch, MiB", "the abuser got"]
    lines = [_row(head), "|" + "---|" * len(head)]
    for phase in phases:
        figures = [_cell(phase, figure, quiet) for figure in FIGURES]
        memory = [f"{phase.footprint.gateway_memory >> 20:,}", f"{phase.footprint.trainer_memory >> 20:,}"]
        scratch = f"{phase.footprint.gateway_scratch >> 20:,} + {phase.footprint.trainer_scratch >> 20:,}"
        got = ", ".join(f"{count:,} {status}" for status, count in sorted(phase.statuses.items()))
        lines.append(_row([phase.abuse, *figures, *memory, scratch, got]))
    missed = [f"- {phase.abuse}: {goal}" for phase in phases for goal in phase.missed(quiet)]
    return "\n".join(
        [*lines, "", *(["Goals that are missed:", *missed] if missed else ["All goals are met."])]
    )


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(phase: Phase, figure: str, quiet: Phase) -> str:
    """The percentiles, and how often the 99th is that of the quiet phase."""
    times = "" if phase is quiet else f" ({phase.ratio(figure, quiet):.1f}x)"
    return f"{phase.ms(figure, 0.5):.0f} / {phase.ms(figure, 0.99):.0f}{times}"


def as_json(phases: Sequence[Phase]) -> list[dict[str, object]]:
    """The same figures, by abuse."""
    return [
        {
            "abuse": phase.abuse,
            "ms": {
                figure: {
                    "p50": round(phase.ms(figure, 0.5), 1),
                    "p99": round(phase.ms(figure, 0.99), 1),
                    "ratio": round(phase.ratio(figure, phases[0]), 2),
                    "count": len(phase.times.seconds[figure]),
                }
                for figure in FIGURES
            },
            "mib": {name: getattr(phase.footprint, name) >> 20 for name in BOUNDS},
            "statuses": dict(phase.statuses),
            "missed": list(phase.missed(phases[0])),
        }
        for phase in phases
    ]
