"""`earmark detect` with several files: against a gateway, with a trainer that finds made-up artifacts."""

import asyncio
import csv
import io
import json
import os
import subprocess
import sys
from contextlib import AsyncExitStack

import pytest

from earmark.gateway.services.scored_files import LearnedType
from earmark.internal.v1 import trainer_service_pb2 as trainer_pb
from earmark.scores import DetectionConfig
from earmark.storage.database import Database
from tests.gateway import model_rows
from tests.gateway import scripted_trainer as script
from tests.gateway.calls import opened
from tests.gateway.detecting_trainer import DetectingTrainer, scores_of


@pytest.fixture
async def run(database_url, tmp_path):
    """Runs the command in a process, since the gateway is in this one."""
    async with AsyncExitStack() as stack:
        trainer = DetectingTrainer()
        async with Database(database_url) as database, database.transaction() as connection:
            model_id = str(await model_rows.model(connection, active=True))
        address = await stack.enter_async_context(script.serving(trainer))
        gateway = await stack.enter_async_context(
            opened(database_url, tmp_path / "data", trainers=address, detection_sources="s3://calls")
        )

        async def run(*arguments, failing: int | None = None):
            trainer.answer = lambda file_id: failure(file_id) if is_number(file_id, failing) else None
            command = [sys.executable, "-m", "earmark.client.cli", "detect", *map(str, arguments)]
            return await asyncio.to_thread(
                subprocess.run,
                [*command, "--model", model_id, "--address", gateway.address],
                env=os.environ | {"COLUMNS": "200"},
                capture_output=True,
                text=True,
                check=False,
            )

        def is_number(file_id: str, number: int | None) -> bool:
            return (
                number is not None
                and [each.file_id for each in trainer.requests[-1]].index(file_id) == number
            )

        run.expected = lambda: sum(len(found_in(each.file_id)) for each in trainer.requests[-1])
        yield run


def found_in(file_id: str):
    return scores_of(file_id).detections([LearnedType("glitch", 30, 0)], DetectionConfig())


def failure(file_id: str):
    return trainer_pb.DetectFilesResponse.Failed(
        file_id=file_id, reason="INVALID_AUDIO", message="it is empty"
    )


@pytest.fixture
def files(tmp_path):
    paths = [tmp_path / name for name in ("b.wav", "a.wav", "c.wav")]
    for path in paths:
        path.write_bytes(path.name.encode())
    return paths


async def test_several_files_are_searched_by_a_job_and_come_in_their_order(run, files):
    result = await run(*files, "--format", "json")
    found = json.loads(result.stdout)
    assert result.returncode == 0
    assert len(found) == run.expected()
    assert list(dict.fromkeys(each["file"] for each in found)) == list(map(str, files))
    assert all(each["end_ms"] > each["start_ms"] and each["confidence"] >= 0.5 for each in found)
    table = await run(*files)
    assert table.returncode == 0
    assert table.stdout.count("glitch") == run.expected()


async def test_a_file_that_cannot_be_used_is_named_and_the_others_are_there(run, files):
    result = await run(*files, "--format", "csv", failing=1)
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert result.returncode == 1
    assert f"{files[1]}: it is empty" in result.stderr
    assert {row["file"] for row in rows} == {str(files[0]), str(files[2])}


@pytest.mark.parametrize(("form", "suffix"), [("audacity", ".txt"), ("raven", ".selections.txt")])
async def test_labels_are_written_for_each_recording(run, files, tmp_path, form, suffix):
    result = await run(*files, "--format", form, "--out", tmp_path / "labels")
    assert result.returncode == 0
    written = sorted((tmp_path / "labels").iterdir())
    assert [path.name for path in written] == sorted(f"{path.stem}{suffix}" for path in files)
    lines = [line for path in written for line in path.read_text().splitlines() if "glitch" in line]
    assert len(lines) == run.expected()
    assert (await run(*files, "--format", form)).returncode == 2


async def test_objects_by_reference_are_searched_by_a_job_and_named_by_their_uris(run, files):
    uris = ["s3://calls/b.wav", "s3://calls/2026/a.wav"]
    result = await run(*uris, "--format", "json")
    assert result.returncode == 0, result.stderr
    assert list(dict.fromkeys(each["file"] for each in json.loads(result.stdout))) == uris
    refused = await run("s3://other/a.wav")
    assert refused.returncode == 1
    assert "is below none of the places" in refused.stderr
    assert (await run(uris[0], files[0])).returncode == 2
