"""Who works on which audio file: claims, leases, fencing and the limit on attempts."""

import asyncio
from uuid import UUID

import pytest
import pytest_asyncio

from earmark.storage.database import Database
from earmark.storage.queries import audio
from earmark.storage.records import AudioFile
from tests.gateway import rows

LONG = 600.0
EXPIRED = 0.0


@pytest_asyncio.fixture
async def database(database_url):
    async with Database(database_url) as opened:
        yield opened


@pytest_asyncio.fixture
async def files(database) -> list[UUID]:
    """The ids of three pending files."""
    async with database.transaction() as connection:
        built = await rows.dataset(connection, files=3, audio_status="pending", annotated=())
        await connection.execute("UPDATE datasets SET audio_revision = 3")
    return built.audio_file_ids


async def claim(database, limit: int = 10, lease: float = LONG) -> list[AudioFile]:
    async with database.connection() as connection:
        return await audio.claim(connection, limit, lease)


async def advance(database, file: AudioFile, status: str, **facts) -> AudioFile | None:
    async with database.connection() as connection:
        return await audio.advance(connection, file.id, file.attempt, status, lease_seconds=LONG, **facts)


async def release(database, file: AudioFile) -> AudioFile | None:
    async with database.connection() as connection:
        return await audio.release(connection, file.id, file.attempt)


async def fail_exhausted(database) -> AudioFile | None:
    async with database.connection() as connection:
        return await audio.fail_exhausted(connection)


async def test_claims_are_oldest_first_and_do_not_change_the_status(database, files) -> None:
    first = await claim(database, limit=2)
    assert [file.id for file in first] == files[:2]
    assert {(file.attempt, file.processing_status) for file in first} == {(1, "pending")}
    assert [file.id for file in await claim(database)] == files[2:]
    assert await claim(database) == []


async def test_two_simultaneous_claims_get_different_files(database, files) -> None:
    async with database.transaction() as one, database.transaction() as other:
        mine, theirs = await audio.claim(one, 2, LONG), await audio.claim(other, 2, LONG)
    assert [file.id for file in mine + theirs] == files


async def test_many_simultaneous_claims_get_each_file_once(database, files) -> None:
    claims = await asyncio.gather(*(claim(database, limit=1) for _ in range(8)))
    assert sorted(file.id for claimed in claims for file in claimed) == files


async def test_a_file_with_an_expired_lease_is_claimed_again_in_any_status(database, files) -> None:
    one, other, _ = await claim(database)
    await advance(database, one, "normalizing")
    await advance(database, other, "embedding")
    async with database.connection() as connection:
        await connection.execute("UPDATE audio_files SET lease_until = now()")
    again = await claim(database)
    assert [file.id for file in again] == files
    assert [file.processing_status for file in again] == ["normalizing", "embedding", "pending"]
    assert {file.attempt for file in again} == {2}


@pytest.mark.usefixtures("files")
async def test_each_change_takes_the_next_revision_and_keeps_the_facts(database) -> None:
    file, *_ = await claim(database)
    before = await advance(database, file, "normalizing")
    facts = {"duration_ms": 1234, "sample_rate_hz": 48_000, "channels": 2}
    embedding = await advance(database, file, "embedding", **facts)
    ready = await advance(database, file, "ready")
    assert [f.revision for f in (before, embedding, ready)] == [4, 5, 6]
    assert (ready.duration_ms, ready.sample_rate_hz, ready.channels) == (1234, 48_000, 2)
    async with database.connection() as connection:
        lease = await connection.fetchval("SELECT lease_until FROM audio_files WHERE id = $1", file.id)
    assert lease is None


@pytest.mark.usefixtures("files")
async def test_simultaneous_changes_get_different_revisions(database) -> None:
    claimed = await claim(database)
    changed = await asyncio.gather(*(advance(database, file, "normalizing") for file in claimed))
    assert sorted(file.revision for file in changed) == [4, 5, 6]


@pytest.mark.usefixtures("files")
async def test_a_finished_file_and_a_stale_attempt_cannot_be_changed(database) -> None:
    stale, finished, _ = await claim(database, lease=EXPIRED)
    await advance(database, finished, "failed", error_message="not audio")
    current = next(file for file in await claim(database) if file.id == stale.id)
    assert await advance(database, stale, "ready") is None
    assert await release(database, stale) is None
    assert await advance(database, finished, "ready") is None
    async with database.connection() as connection:
        assert not await audio.renew(connection, stale.id, stale.attempt, LONG)
        assert await audio.renew(connection, current.id, current.attempt, LONG)
        kept = await audio.get(connection, rows.TENANT, finished.id)
    assert (kept.processing_status, kept.error_message) == ("failed", "not audio")


@pytest.mark.usefixtures("files")
async def test_a_renewed_lease_prevents_other_claims(database) -> None:
    file, *_ = await claim(database, lease=EXPIRED)
    async with database.connection() as connection:
        assert await audio.renew(connection, file.id, file.attempt, LONG)
    assert file.id not in [claimed.id for claimed in await claim(database)]


@pytest.mark.usefixtures("files")
async def test_a_released_file_is_pending_again_at_once(database) -> None:
    file, *_ = await claim(database)
    await advance(database, file, "normalizing")
    released = await release(database, file)
    assert (released.processing_status, released.revision) == ("pending", 5)
    again, *_ = await claim(database)
    assert (again.id, again.attempt) == (file.id, 2)


async def test_after_the_last_attempt_a_release_is_a_failure(database, files) -> None:
    for attempt in range(1, audio.MAX_ATTEMPTS + 1):
        file = (await claim(database, limit=1))[0]
        assert (file.id, file.attempt) == (files[0], attempt)
        released = await release(database, file)
    assert released.processing_status == "failed"
    assert "gave up after 5 attempts: the trainer was lost each time" in released.error_message
    assert files[0] not in [claimed.id for claimed in await claim(database)]


@pytest.mark.usefixtures("files")
async def test_only_a_file_whose_last_lease_expired_is_failed(database) -> None:
    async with database.connection() as connection:
        await connection.execute("UPDATE audio_files SET attempt = $1", audio.MAX_ATTEMPTS - 1)
    lost, leased, _ = await claim(database)
    async with database.connection() as connection:
        await connection.execute("UPDATE audio_files SET lease_until = now() WHERE id = $1", lost.id)
    assert await claim(database) == []
    failed = await fail_exhausted(database)
    assert (failed.id, failed.processing_status) == (lost.id, "failed")
    assert await fail_exhausted(database) is None
    assert await advance(database, leased, "normalizing") is not None
    assert await advance(database, lost, "ready") is None


async def test_files_of_several_tenants_are_claimed_together_and_failed_one_by_one(database, files) -> None:
    async with database.transaction() as connection:
        theirs = await rows.dataset(connection, files=1, audio_status="pending", annotated=(), tenant="other")
    ids = [*files, *theirs.audio_file_ids]
    async with database.transaction() as connection:
        # A transaction that recorded events of both tenants would not commit.
        claimed = await audio.claim(connection, 10, LONG)
    assert [(file.id, file.tenant_id) for file in claimed] == [
        *((file_id, rows.TENANT) for file_id in files),
        (theirs.audio_file_ids[0], "other"),
    ]
    async with database.connection() as connection:
        await connection.execute(
            "UPDATE audio_files SET attempt = $1, lease_until = now()", audio.MAX_ATTEMPTS
        )
    failed = []
    for _ in ids:
        async with database.transaction() as connection:
            failed.append(await audio.fail_exhausted(connection))
    assert [file.id for file in failed] == ids
    assert await fail_exhausted(database) is None


async def test_a_file_whose_lease_is_renewed_meanwhile_is_not_failed(database, files) -> None:
    async with database.connection() as connection:
        await connection.execute(
            "UPDATE audio_files SET attempt = $1, lease_until = now() WHERE id = $2",
            *(audio.MAX_ATTEMPTS, files[0]),
        )
    async with database.connection() as observer, database.transaction() as busy:
        await busy.execute("SELECT FROM datasets FOR UPDATE")
        failing = asyncio.create_task(fail_exhausted(database))
        while not await observer.fetchval(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock'"
        ):
            pass
        assert await audio.renew(busy, files[0], audio.MAX_ATTEMPTS, LONG)
    assert await failing is None
