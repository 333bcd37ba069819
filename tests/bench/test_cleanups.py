"""The bench of clean-ups: what its comparison finds, and its clock."""

import os
import time

import pytest
from uuid_utils.compat import uuid7

from bench.cleanups import clock
from bench.cleanups.__main__ import WARM, Flatness, is_flat
from bench.cleanups.comparison import compare
from earmark.gateway import object_keys
from earmark.gateway.dispatcher.orphans import remove_orphans
from earmark.storage.database import Database
from earmark.storage.objects import ObjectStore
from earmark.storage.queries import orphans
from tests.gateway import rows


@pytest.fixture
async def database(database_url):
    async with Database(database_url) as database:
        yield database


@pytest.fixture
def objects(tmp_path):
    return ObjectStore.open(str(tmp_path / "objects")).created()


async def test_the_comparison_finds_all_that_is_left_and_all_that_is_missing(
    database, objects, tmp_path
) -> None:
    folder, uploads = tmp_path / "objects", tmp_path / "uploads"
    async with database.transaction() as connection:
        known = (await rows.dataset(connection, files=1, annotated=())).audio_file_ids[0]
    for key in object_keys.audio_objects("default", known):
        objects.put(key, b"x")
    assert (await compare(database, folder, uploads)).is_clean
    objects.delete(object_keys.features("default", known))
    objects.put("default/audio/other/source", b"x")
    (folder / "default/audio/other/features#1").write_bytes(b"half")
    (folder / "default/jobs/empty").mkdir(parents=True)
    uploads.mkdir()
    (uploads / "left").write_bytes(b"x")
    async with database.transaction() as connection:
        await orphans.add_upload(connection, "audio_file", "default", known)
    found = await compare(database, folder, uploads)
    assert found.without_row == [
        "default/audio/other/features#1",
        "default/audio/other/source",
        "uploads/left",
    ]
    assert found.missing == [object_keys.features("default", known)]
    assert found.empty == ["default/jobs/empty"]
    assert found.queued == 1
    assert not found.is_clean


async def test_the_clock_makes_a_row_due_in_a_thousandth_of_the_time(database, objects) -> None:
    key, lost = "default/audio/{}/source", [uuid7(), uuid7()]
    async with database.transaction() as connection:
        for number, audio_file_id in enumerate(lost):
            objects.put(key.format(audio_file_id), b"x")
            await orphans.add_upload(connection, "audio_file", "default", audio_file_id)
            await connection.execute(
                "UPDATE orphan_candidates SET since = now() - make_interval(secs => $1) WHERE id = $2",
                *((20.0, 22.0)[number], audio_file_id),
            )
    await clock.tick(database, objects.folder)
    await remove_orphans(database, objects)
    assert list(objects.keys("default/audio")) == [key.format(lost[0])]


async def test_the_clock_ages_what_killed_writers_left(database, objects) -> None:
    objects.put("default/audio/a", b"x")
    path = objects.folder / "default/audio/a#1"
    path.write_bytes(b"half")
    written = time.time() - 22
    for each in (path, objects.folder / "default/audio/a"):
        os.utime(each, (written, written))
    await clock.tick(database, objects.folder)
    assert path.stat().st_mtime == pytest.approx(written - 6 * 3600, abs=1)
    assert (objects.folder / "default/audio/a").stat().st_mtime == pytest.approx(written, abs=1)


def test_flatness_is_of_the_first_and_last_fifth() -> None:
    assert Flatness.of([1, 2, 9, *range(20, 30), 7, 8]) == Flatness(2, 8)


@pytest.mark.parametrize(
    ("count", "rss", "opened", "flat"),
    [
        (WARM, (100, 104), (40, 45), True),
        (WARM, (100, 105), (40, 40), False),
        (WARM, (100, 100), (40, 46), False),
        (WARM - 1, (100, 200), (40, 80), True),
    ],
)
def test_a_warm_gateway_that_grows_is_not_flat(count, rss, opened, flat) -> None:
    pairs = {"rss_mib": rss, "open_files": opened}
    figures = {name: {"first": first, "last": last} for name, (first, last) in pairs.items()}
    assert is_flat({"count": count, **figures}) is flat
