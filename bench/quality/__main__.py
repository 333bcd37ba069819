"""Measures how well the defaults learn, on sets that are made from clean speech or on a set that exists.

    python -m bench.quality --speech DIR [--out DIR] [--seeds 1,2,3] [--sets faults,clicks,long,fifty]
    python -m bench.quality --train DIR --test DIR

Without --speech, the voices are the demo's synthetic ones. Prints tables, which bench/README.md describes,
and writes OUT/quality.json. Ends with status 1 if a figure is below its bound.
"""

import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from bench.quality.bounds import missed
from bench.quality.learning import Marks, detected, trained
from bench.quality.report import summary, types_table
from bench.quality.sets import RECIPES, write_set
from bench.quality.speech import clips, split_by_voice, write_synthetic_clips
from bench.tools.data import minutes_of, read
from bench.tools.folder import annotations
from bench.tools.scores import scores

OUTPUT = Path("quality-output")
SYNTHETIC_MINUTES = 40


@dataclass(frozen=True, slots=True)
class Folders:
    """A set: folders of audio and annotations.csv to train on and to test on."""

    name: str
    train: Path
    test: Path


def main(
    *,
    speech: Annotated[Path | None, typer.Option(help="Folder of clean mono speech, VOICE_NUMBER.*.")] = None,
    train: Annotated[Path | None, typer.Option(help="Folder to train on, instead of making sets.")] = None,
    test: Annotated[Path | None, typer.Option(help="Folder to test on, with --train.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for the sets and quality.json.")] = OUTPUT,
    seeds: Annotated[str, typer.Option(help="Seeds of the training jobs.")] = "1,2,3",
    sets: Annotated[str, typer.Option(help="The sets to make.")] = ",".join(RECIPES),
    minutes: Annotated[float | None, typer.Option(help="Training audio of each set.")] = None,
    jitter_ms: Annotated[int, typer.Option(help="Largest error of an edge of a training annotation.")] = 0,
    drop: Annotated[float, typer.Option(help="Share of the training annotations to leave out.")] = 0.0,
) -> None:
    """Measure how well the defaults learn."""
    out.mkdir(parents=True, exist_ok=True)
    if train and test:
        folders = [Folders(train.name, train, test)]
    elif train or test:
        raise SystemExit("--train and --test belong together")
    else:
        with speech_folder(speech) as spoken:
            folders = list(make_sets(spoken, out, sets.split(","), minutes))
    marks = Marks(jitter_ms, drop)
    figures = [
        run for each in folders for run in measure(each, [int(seed) for seed in seeds.split(",")], marks)
    ]
    console = Console()
    console.print(summary(figures))
    for each in folders:
        console.print(types_table(each.name, figures))
    given = {"speech": speech, "train": train, "test": test}
    folders_given = {name: folder and str(folder) for name, folder in given.items()}
    settings = {**folders_given, "minutes": minutes, **asdict(marks)}
    (out / "quality.json").write_text(json.dumps({"settings": settings, "figures": figures}, indent=1))
    # A set that exists, and another amount of audio, have no bounds.
    failures = [] if train or minutes else missed(figures, marks)
    for failure in failures:
        console.print(failure, style="red", soft_wrap=True)
    sys.exit(1 if failures else 0)


@contextmanager
def speech_folder(given: Path | None) -> Iterator[Path]:
    """The folder of clips: the given one, or a temporary one with synthetic voices."""
    if given is not None:
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="earmark-bench-") as folder:
        write_synthetic_clips(Path(folder), SYNTHETIC_MINUTES)
        yield Path(folder)


def make_sets(speech: Path, out: Path, names: Sequence[str], minutes: float | None) -> Iterator[Folders]:
    """Writes each set into its folder below `out`, in place of an earlier one."""
    if unknown := sorted(set(names) - set(RECIPES)):
        raise SystemExit(f"no set {', '.join(unknown)}; there are {', '.join(RECIPES)}")
    sides = split_by_voice(clips(speech))
    voices = [len({clip.voice for clip in side}) for side in sides]
    print(f"{voices[0]} voices to train on and {voices[1]} others to test on", file=sys.stderr)
    for name in names:
        recipe, folder = RECIPES[name], out / name
        shutil.rmtree(folder, ignore_errors=True)
        write_set(folder, recipe, *sides, scale=minutes / recipe.train_minutes if minutes else 1)
        yield Folders(name, folder / "train", folder / "test")


def measure(folders: Folders, seeds: Sequence[int], marks: Marks) -> Iterator[dict[str, Any]]:
    """The figures of a job with each seed. The features are computed once."""
    learnt, new = marks.inexact(read(folders.train)), read(folders.test)
    truth = annotations(folders.test)
    durations = {file.audio_file_id: file.duration_ms for file in new.files}
    marked = sum(len(file.annotations) for file in learnt.files)
    about = f"{marked} annotations in {minutes_of(learnt):.1f} minutes, {len(truth)} in {minutes_of(new):.1f}"
    print(f"{folders.name}: {about} minutes of test audio", file=sys.stderr)
    for seed in seeds:
        started = time.perf_counter()
        model = trained(learnt, seed)
        seconds = time.perf_counter() - started
        found = scores(truth, detected(model, new), durations)
        yield {"set": folders.name, "seed": seed, **found, "seconds": round(seconds, 1)}


if __name__ == "__main__":
    typer.run(main)
