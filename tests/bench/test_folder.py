"""Folders of audio with a table of annotations, and the table of what was detected in them."""

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile

from bench.tools.data import read
from bench.tools.folder import COLUMNS, detection_rows, write
from earmark.trainer.scoring.findings import Detection

RATE = 16_000


@pytest.mark.parametrize(
    ("header", "rows", "channels"),
    [
        ("start_ms,end_ms", ["100,200", "300,400"], [None, None]),
        ("start_ms,end_ms,channel", ["100,200,", "300,400,1", "500,600,0"], [None, 1, 0]),
    ],
)
def test_annotations_may_have_a_channel(
    tmp_path: Path, header: str, rows: list[str], channels: list[int | None]
) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, (RATE, 2))
    soundfile.write(tmp_path / "call.wav", noise, RATE)
    lines = [f"filename,artifact_type,{header}", *(f"call.wav,hum,{row}" for row in rows)]
    (tmp_path / "annotations.csv").write_text("\n".join(lines))
    [file] = read(tmp_path).files
    assert [annotation.channel for annotation in file.annotations] == channels


def test_the_table_of_detections_has_their_channels(tmp_path: Path) -> None:
    write(tmp_path / "found.csv", detection_rows("call.wav", [Detection("hum", 10, 90, 0.5, (0, 2))]))
    with (tmp_path / "found.csv").open(newline="") as file:
        [row] = csv.DictReader(file)
    values = ("call.wav", "hum", "10", "90", "0.500", "0 2")
    assert row == dict(zip(COLUMNS, values, strict=True))
