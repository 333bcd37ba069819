"""The tables of figures."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from statistics import mean
from typing import Any

from rich.box import SIMPLE
from rich.table import Table

Figures = Sequence[Mapping[str, Any]]

# The figures of the summary, and their short titles: the table fits into 80 columns.
COLUMNS = {
    "event_f1": "event",
    "event_f1_macro": "macro",
    "segment_f1": "segment",
    "edit_distance": "edit",
    "frame_accuracy": "frame",
    "onset_error_ms": "onset",
    "offset_error_ms": "offset",
    "seconds": "seconds",
}
MOST_TYPES = 10


def summary(figures: Figures) -> Table:
    """One row for each set and seed, and the mean over the seeds of each set."""
    table = Table("set", "seed", box=SIMPLE, pad_edge=False, collapse_padding=True)
    for title in COLUMNS.values():
        table.add_column(title, justify="right")
    for name, group in groupby(figures, itemgetter("set")):
        runs = list(group)
        for run in runs:
            table.add_row(name, str(run["seed"]), *(_number(run[figure]) for figure in COLUMNS))
        table.add_row(name, "mean", *(_number(_mean(runs, figure)) for figure in COLUMNS), end_section=True)
    return table


def types_table(name: str, figures: Figures) -> Table:
    """Event F1 of each type in the set `name`, with one column for each seed: the MOST_TYPES lowest."""
    runs = [run for run in figures if run["set"] == name]
    per_type = {
        kind: [run["event_f1_per_type"][kind] for run in runs] for kind in runs[0]["event_f1_per_type"]
    }
    lowest = sorted(per_type, key=lambda kind: sum(per_type[kind]))[:MOST_TYPES]
    table = Table(f"event F1: {name}", box=SIMPLE, pad_edge=False, collapse_padding=True)
    for run in runs:
        table.add_column(f"seed {run['seed']}", justify="right")
    for kind in lowest:
        table.add_row(kind, *map(_number, per_type[kind]))
    return table


def _mean(runs: Figures, figure: str) -> float | None:
    values = [run[figure] for run in runs if run[figure] is not None]
    return mean(values) if values else None


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}" if value <= 1 else f"{value:.1f}"
