"""Orphans in the object store are removed; every object that a row names stays."""

import os
import time
from pathlib import Path
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from earmark.gateway.dispatcher.orphans import remove_orphans
from earmark.storage.database import Database
from earmark.storage.objects import ObjectStore
from earmark.storage.queries import audio, deletions, orphans, training
from earmark.v1 import audio_service_pb2 as audio_pb
from tests.gateway import model_rows, rows
from tests.gateway.calls import dataset, upload

EVENT = {"status_changed": {}}
OLD = "now() - interval '6 hours 1 second'"


@pytest.fixture
async def database(database_url):
    async with Database(database_url) as database:
        yield database


@pytest.fixture
def objects(tmp_path):
    return ObjectStore.open(str(tmp_path))


def put(objects: ObjectStore, *keys: str) -> set[str]:
    for key in keys:
        objects.put(key, b"x")
    return set(keys)


async def test_audio_without_a_row_is_removed_some_hours_later(database, objects) -> None:
    lost, fresh, unknown = uuid7(), uuid7(), uuid7()
    async with database.transaction() as connection:
        known = (await rows.dataset(connection)).audio_file_ids[0]
        for audio_file_id in (lost, known):
            await orphans.add_upload(connection, "audio_file", "default", audio_file_id)
        await connection.execute(f"UPDATE orphan_candidates SET since = {OLD}")
        await orphans.add_upload(connection, "audio_file", "default", fresh)
    kept = put(objects, *(f"default/audio/{one}/source" for one in (known, fresh, unknown)))
    put(objects, f"default/audio/{lost}/source", f"default/audio/{lost}/features")
    await remove_orphans(database, objects)
    assert set(objects.keys("default/audio")) == kept
    async with database.connection() as connection:
        assert await connection.fetchval("SELECT array_agg(id) FROM orphan_candidates") == [fresh]


async def test_an_upload_and_a_deletion_record_a_candidate(gateway) -> None:
    async def candidates() -> list[str]:
        async with gateway.database.connection() as connection:
            return [str(row["id"]) for row in await connection.fetch("SELECT * FROM orphan_candidates")]

    file = await upload(gateway, await dataset(gateway))
    assert await candidates() == [file.id]
    await gateway.execute("DELETE FROM orphan_candidates")
    await gateway.audio.DeleteAudioFile(audio_pb.DeleteAudioFileRequest(audio_file_id=file.id))
    assert await candidates() == [file.id]


async def test_what_was_deleted_is_removed_at_once_and_once_more_some_hours_later(database, objects) -> None:
    file_id, job_id, kept_id = uuid7(), uuid7(), uuid7()
    kept = put(objects, f"default/audio/{kept_id}/source", f"default/jobs/{kept_id}/attempt-1/model.json")

    async def removed(*keys: str) -> bool:
        put(objects, *keys)
        await remove_orphans(database, objects)
        return {*objects.keys("default/audio"), *objects.keys("default/jobs")} == kept

    async with database.transaction() as connection:
        await orphans.add_upload(connection, "audio_file", "default", file_id)
        await orphans.add_deleted(connection, "audio_file", "default", [file_id])
        await orphans.add_deleted(connection, "training_job", "default", [job_id])
    late = f"default/audio/{file_id}/features", f"default/jobs/{job_id}/attempt-1/model.json"
    assert await removed(f"default/audio/{file_id}/source", *late)
    # A trainer that was still at work stores more objects.
    assert not await removed(*late)
    async with database.connection() as connection:
        await connection.execute(f"UPDATE orphan_candidates SET since = {OLD}")
    assert await removed()
    async with database.connection() as connection:
        assert await connection.fetchval("SELECT count(*) FROM orphan_candidates") == 0


async def test_of_a_finished_job_only_the_models_objects_stay(database, objects) -> None:
    async with database.transaction() as connection:
        unfinished, fresh, failed = [await job(connection) for _ in range(3)]
        model_id = await model_rows.model(connection)
        row = await connection.fetchrow("SELECT * FROM models WHERE id = $1", model_id)
        done = row["training_job_id"]
        end = "UPDATE training_jobs SET status = $2, finished_at = {}, {} WHERE id = $1"
        await connection.execute(end.format(OLD, f"model_id = '{model_id}'"), done, "completed")
        await connection.execute(end.format(OLD, "error_reason = 'x'"), failed, "failed")
        await connection.execute(end.format("now()", "error_reason = 'x'"), fresh, "failed")
    kept = put(
        objects,
        row["weights"],
        row["model_config"],
        f"default/jobs/{unfinished}/attempt-1/checkpoint-0001",
        f"default/jobs/{fresh}/attempt-1/checkpoint-0001",
        f"default/jobs/{uuid7()}/attempt-1/model.json",
    )
    put(
        objects,
        f"default/jobs/{done}/attempt-1/model.safetensors",
        f"default/jobs/{failed}/attempt-1/checkpoint-0001",
    )
    await remove_orphans(database, objects)
    assert set(objects.keys("default/jobs")) == kept
    late = put(objects, f"default/jobs/{done}/attempt-1/late")
    await remove_orphans(database, objects)
    # A job is swept only once.
    assert set(objects.keys("default/jobs")) == kept | late


async def job(connection) -> UUID:
    built, job_id = await rows.dataset(connection), uuid7()
    fields = (job_id, built.dataset_id, built.annotation_set_id, {"epochs": 1}, {}, EVENT)
    await training.create(connection, rows.TENANT, *fields)
    return job_id


async def test_an_object_that_cannot_be_removed_is_left_and_stops_nothing_else(
    database, objects, tmp_path
) -> None:
    stuck, other = uuid7(), uuid7()
    async with database.transaction() as connection:
        await orphans.add_deleted(connection, "audio_file", "default", [stuck])
        await orphans.add_deleted(connection, "audio_file", "default", [other])
    put(objects, f"default/audio/{other}/source")
    # A link to itself: the store fails when it looks there.
    (tmp_path / "default/audio" / str(stuck)).symlink_to(str(stuck))
    await remove_orphans(database, objects)
    assert not (tmp_path / "default/audio" / str(other)).exists()
    async with database.connection() as connection:
        due = await orphans.due_candidates(connection, 3600)
    assert [candidate.id for candidate in due] == [stuck]
    (tmp_path / "default/audio" / str(stuck)).unlink()
    await remove_orphans(database, objects)
    async with database.connection() as connection:
        assert await orphans.due_candidates(connection, 3600) == []


def unfinished(folder: Path, key: str, *, hours: float = 7) -> str:
    """A part of an object, as a process leaves it that was killed so many hours ago."""
    path = folder / f"{key}#1"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"half")
    written = time.time() - 3600 * hours
    os.utime(path, (written, written))
    return f"{key}#1"


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


async def test_what_a_killed_writer_left_is_removed(database, objects, tmp_path) -> None:
    lost, deleted_job = uuid7(), uuid7()
    async with database.transaction() as connection:
        known = (await rows.dataset(connection)).audio_file_ids[0]
        failed = await job(connection)
        for audio_file_id in (lost, known):
            await orphans.add_upload(connection, "audio_file", "default", audio_file_id)
        await connection.execute(f"UPDATE orphan_candidates SET since = {OLD}")
        await orphans.add_deleted(connection, "training_job", "default", [deleted_job])
        end = f"status = 'failed', finished_at = {OLD}, error_reason = 'x'"
        await connection.execute(f"UPDATE training_jobs SET {end} WHERE id = $1", failed)
    kept = put(objects, f"default/audio/{known}/source")
    kept.add(unfinished(tmp_path, f"default/audio/{known}/features", hours=1))
    # The clock of the store is behind that of the database.
    unfinished(tmp_path, f"default/audio/{known}/source", hours=5.9)
    for key in (
        f"default/audio/{known}/normalized.flac",
        f"default/audio/{lost}/source",
        f"default/jobs/{failed}/attempt-1/model.safetensors",
        f"default/jobs/{deleted_job}/attempt-1/checkpoint-0001-000000.safetensors",
        "probes/one",
    ):
        unfinished(tmp_path, key)
    await remove_orphans(database, objects)
    assert files(tmp_path) == kept


async def test_a_file_that_is_tried_again_is_looked_at_some_hours_later(database, objects, tmp_path) -> None:
    async with database.transaction() as connection:
        file_id = (await rows.dataset(connection, audio_status="pending", annotated=())).audio_file_ids[0]
        await audio.claim(connection, 1, 0)
        assert await connection.fetchval("SELECT count(*) FROM orphan_candidates") == 0
    async with database.transaction() as connection:
        # Its trainer and its gateway were killed, and the lease has expired.
        await audio.claim(connection, 1, 60)
        await connection.execute(f"UPDATE orphan_candidates SET since = {OLD}")
    unfinished(tmp_path, f"default/audio/{file_id}/features")
    await remove_orphans(database, objects)
    assert files(tmp_path) == set()


async def test_a_deletion_during_the_check_of_its_upload_is_due_at_once(database) -> None:
    async with database.transaction() as connection:
        file_id = (await rows.dataset(connection, annotated=())).audio_file_ids[0]
        await orphans.add_upload(connection, "audio_file", "default", file_id)
        await connection.execute(f"UPDATE orphan_candidates SET since = {OLD}")
        checked = await orphans.due_candidates(connection, 6 * 3600)
    async with database.transaction() as connection:
        await deletions.delete(connection, "default", deletions.Removal(audio_file_ids=[file_id]), "")
    async with database.transaction() as connection:
        await orphans.mark_checked(connection, 6 * 3600, checked)
        assert [due.id for due in await orphans.due_candidates(connection, 6 * 3600)] == [file_id]


async def test_a_model_that_is_deleted_during_the_sweep_of_its_job_leaves_nothing(database, objects) -> None:
    async with database.transaction() as connection:
        model_id = await model_rows.model(connection)
        row = await connection.fetchrow("SELECT * FROM models WHERE id = $1", model_id)
        end = f"status = 'completed', finished_at = {OLD}, model_id = '{model_id}'"
        await connection.execute(f"UPDATE training_jobs SET {end} WHERE id = $1", row["training_job_id"])
        # Two gateways sweep at the same time.
        swept = await orphans.unswept_jobs(connection, 6 * 3600)
        await orphans.mark_swept(connection, swept)
    async with database.transaction() as connection:
        await deletions.delete(connection, "default", await deletions.of_model(connection, model_id), "")
    async with database.transaction() as connection:
        await orphans.mark_swept(connection, swept)
    put(objects, row["weights"], row["model_config"])
    await remove_orphans(database, objects)
    assert set(objects.keys("default/jobs")) == set()


async def test_what_is_left_of_the_starts_of_services_is_removed(database, objects, tmp_path) -> None:
    put(objects, "probes/old", "probes/new")
    old = time.time() - 7 * 3600
    os.utime(tmp_path / "probes/old", (old, old))
    await remove_orphans(database, objects)
    assert files(tmp_path) == {"probes/new"}
