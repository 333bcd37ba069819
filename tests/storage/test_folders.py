"""What stays in the folder of an object store after deletions and killed writers."""

import asyncio
import os
import time
from pathlib import Path

import pytest

from earmark.storage.objects import STORE_ID, ObjectStore, ObjectStoreError

HOUR = 3600.0


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path / "objects"


@pytest.fixture
def objects(folder) -> ObjectStore:
    return ObjectStore.open(str(folder)).created()


def names(folder: Path) -> set[str]:
    """Files and folders."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


async def test_deletions_leave_no_empty_folders(objects, folder) -> None:
    objects.put("audio/1/source", b"x")
    objects.put("audio/1/features", b"x")
    objects.put("audio/2/source", b"x")
    objects.delete("audio/1/source")
    await objects.delete_async("audio/2/source")
    assert names(folder) == {"store-id", "audio", "audio/1", "audio/1/features"}


async def test_what_killed_writers_left_is_removed_with_the_objects(objects, folder) -> None:
    for key in ("audio/1/source", "audio/1/features", "audio/2/source"):
        objects.put(key, b"x")
    (folder / "audio/1/features#1").write_bytes(b"half")
    (folder / "audio/2/source#12").write_bytes(b"half")
    await objects.clear_async("audio/1", ["audio/1/features"])
    assert names(folder) == {
        *("store-id", "audio", "audio/1", "audio/1/features"),
        *("audio/2", "audio/2/source", "audio/2/source#12"),
    }
    await objects.clear_async("audio/2")
    assert names(folder) == {"store-id", "audio", "audio/1", "audio/1/features"}


async def test_what_others_may_still_write_is_left(objects, folder) -> None:
    for key in ("audio/1/a", "audio/1/b"):
        objects.put(key, b"x")
        (folder / f"{key}#1").write_bytes(b"half")
    old = time.time() - 2 * HOUR
    for name in ("a", "a#1"):
        os.utime(folder / "audio/1" / name, (old, old))
    await objects.clear_unfinished_async("audio/1", min_age_seconds=HOUR)
    assert names(folder / "audio/1") == {"a", "b", "b#1"}
    await objects.clear_async("audio/1", min_age_seconds=HOUR)
    assert names(folder / "audio/1") == {"b", "b#1"}


async def test_a_folder_that_a_cancelled_writer_left_empty_is_removed(objects, folder) -> None:
    (folder / "jobs/1/attempt-1").mkdir(parents=True)
    await objects.clear_async("jobs/1")
    assert not (folder / "jobs").exists()


async def test_an_object_that_is_deleted_while_it_is_stored_is_no_failure_of_the_store(objects) -> None:
    async def put() -> None:
        for _ in range(300):
            await objects.put_async("audio/1/source", b"x")
        done.set()

    async def delete() -> None:
        while not done.is_set():
            await objects.delete_async("audio/1/source")
            await objects.clear_unfinished_async("audio/1", min_age_seconds=HOUR)

    done = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(put())
        group.create_task(delete())


@pytest.mark.parametrize("data", [b"\xf4\xff", b"", b"OggS"], ids=repr)
def test_a_damaged_id_of_the_store_is_an_error_of_the_store(objects, data) -> None:
    objects.put(STORE_ID, data)
    with pytest.raises(ObjectStoreError, match="'store-id' is damaged"):
        objects.identified()
