"""Trains on clean recordings and detects in the same test recordings, changed as people's recordings are.

    python -m bench.recordings --train DIR --test DIR [--train DIR --test DIR] [--seeds 1,2,3] [--out FILE]

A folder has audio and annotations.csv. Prints a table, which bench/README.md describes, and writes FILE. Ends
with status 1 if a change costs more event F1 than is allowed.
"""

import json
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Annotated, Any

import numpy as np
import soundfile  # type: ignore[import-untyped]  # has no stubs
import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from bench.quality.learning import detected, trained
from bench.recordings.changes import AS_IT_IS, CHANGES, CLIPPING
from bench.tools.data import read
from bench.tools.folder import annotations, audio
from bench.tools.scores import scores
from earmark.trainer.data.loading import Dataset
from earmark.trainer.features.stored import FileFeatures, file_features
from earmark.trainer.job import TrainingFile

FILE_WIDTH = 140  # of the table where it is not printed to a terminal

Run = dict[str, Any]


def main(
    *,
    train: Annotated[list[Path], typer.Option(help="A folder to train on; one for each --test.")],
    test: Annotated[list[Path], typer.Option(help="A folder to test on, of other voices.")],
    out: Annotated[Path, typer.Option(help="The figures as JSON.")] = Path("recordings.json"),
    seeds: Annotated[str, typer.Option(help="Seeds of the training jobs.")] = "1,2,3",
) -> None:
    """Measure what other channels, levels, rates and codecs cost."""
    numbers = [int(seed) for seed in seeds.split(",")]
    runs = [run for pair in zip(train, test, strict=True) for run in measure(*pair, numbers)]
    out.write_text(json.dumps(runs, indent=1))
    console = Console(width=None if sys.stdout.isatty() else FILE_WIDTH)
    console.print(table(runs))
    failures = list(missed(runs))
    for failure in failures:
        console.print(failure, style="red", soft_wrap=True)
    sys.exit(1 if failures else 0)


def measure(train: Path, test: Path, seeds: Sequence[int]) -> Iterator[Run]:
    """The figures of a job with each seed for each change."""
    learnt, truth = read(train), annotations(test)
    changed = {name: changed_set(test, name) for name in CHANGES}
    for seed in seeds:
        model = trained(learnt, seed)
        for name, dataset in changed.items():
            durations = {file.audio_file_id: file.duration_ms for file in dataset.files}
            found = scores(truth, detected(model, dataset), durations)
            yield {"test": str(test), "seed": seed, "change": name, **found}
        print(f"{test}: seed {seed} is done", file=sys.stderr)


def changed_set(folder: Path, name: str) -> Dataset:
    """The folder's audio with a change."""
    paths = audio(folder)
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(partial(_features, name=name), paths))
    files = tuple(
        TrainingFile(path.name, "", "", duration, ())
        for path, (_, duration) in zip(paths, results, strict=True)
    )
    return Dataset(files, tuple(values for values, _ in results))


def _features(path: Path, name: str) -> tuple[FileFeatures, int]:
    """The features of a file with a change, and its length in ms."""
    samples, rate = CHANGES[name].apply(*soundfile.read(path, dtype="float32", always_2d=True))
    return file_features(np.ascontiguousarray(samples.T), rate), len(samples) * 1000 // rate


def figure(runs: Sequence[Run], change: str, name: str) -> float:
    """The mean of a figure over the runs with a change; `name` may be one of `event_f1_per_type`."""
    return mean(
        float(run[name]) if name in run else float(run["event_f1_per_type"].get(name, 0))
        for run in runs
        if run["change"] == change
    )


def without_clipping(runs: Sequence[Run], change: str) -> float:
    """The mean of the types' event F1, clipping left out."""
    return mean(figure(runs, change, kind) for kind in _kinds(runs) if kind != CLIPPING)


def _kinds(runs: Sequence[Run]) -> list[str]:
    return sorted(runs[0]["event_f1_per_type"])


def missed(runs: Sequence[Run]) -> Iterator[str]:
    """A sentence for each change that costs more than is allowed."""
    for name, change in CHANGES.items():
        if change.spares_clipping:
            lost = figure(runs, AS_IT_IS, "event_f1") - figure(runs, name, "event_f1")
        else:
            lost = without_clipping(runs, AS_IT_IS) - without_clipping(runs, name)
        if lost > change.allowed:
            yield f"{name}: event F1 falls by {lost:.3f}, {change.allowed} is allowed"


def table(runs: Sequence[Run]) -> Table:
    """One row for each change: micro and macro event F1, that of each type, and macro without clipping."""
    kinds = _kinds(runs)
    rows = Table(
        "change", "micro", "macro", "no clip", *(kind[:6] for kind in kinds), box=SIMPLE, pad_edge=False
    )
    for name in CHANGES:
        values = [
            *(figure(runs, name, each) for each in ("event_f1", "event_f1_macro")),
            without_clipping(runs, name),
            *(figure(runs, name, kind) for kind in kinds),
        ]
        rows.add_row(name, *(f"{value:.3f}" for value in values))
    return rows


if __name__ == "__main__":
    typer.run(main)
