"""Writes made speech with the eight faults of bench.quality, for training or for the test.

    python -m bench.accelerator.audio FOLDER MINUTES [--test]

Recordings are about 20 s long. No voice of the training audio is in the test audio. The processes share the
work, so the files depend on the number of cores; the speech is the same everywhere.
"""

import json
import os
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from bench.quality.sets import RECIPES, write
from bench.quality.speech import Clip, clips, split_by_voice, write_synthetic_clips

SPEECH_MINUTES = 20  # that the recordings are joined from


def main(
    folder: Path,
    minutes: float,
    *,
    test: Annotated[bool, typer.Option(help="Use the test's voices.")] = False,
) -> None:
    """Write a folder of audio and annotations.csv."""
    shares = max(1, min(len(os.sched_getaffinity(0)), round(minutes)))
    with tempfile.TemporaryDirectory(prefix="earmark-bench-") as scratch:
        spoken = Path(scratch) / "speech"
        spoken.mkdir()
        write_synthetic_clips(spoken, SPEECH_MINUTES)
        voices = split_by_voice(clips(spoken))[test]
        parts = [Path(scratch) / str(number) for number in range(shares)]
        with ProcessPoolExecutor(shares, mp_context=get_context("spawn")) as pool:
            lengths, seeds = [minutes / shares] * shares, [(number, int(test)) for number in range(shares)]
            list(pool.map(_write, parts, [voices] * shares, lengths, seeds))
        folder.mkdir(parents=True)
        files = join(parts, folder)
    print(json.dumps({"minutes": minutes, "files": files}))


def _write(folder: Path, speech: Sequence[Clip], minutes: float, seed: tuple[int, int]) -> None:
    write(folder, RECIPES["faults"], speech, np.random.default_rng(seed), minutes)


def join(parts: Sequence[Path], folder: Path) -> int:
    """Move the files of all parts into one folder, each named after its part. Returns their number."""
    header, rows, files = "", [], 0
    for part in parts:
        header, *of_part = (part / "annotations.csv").read_text().splitlines(keepends=True)
        rows += [f"{part.name}-{row}" for row in of_part]  # the file's name is the first column
        for path in part.glob("*.flac"):
            (folder / f"{part.name}-{path.name}").write_bytes(path.read_bytes())
            files += 1
    (folder / "annotations.csv").write_text(header + "".join(rows))
    return files


if __name__ == "__main__":
    typer.run(main)
