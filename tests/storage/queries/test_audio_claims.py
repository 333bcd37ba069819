"""Who works on which audio file: claims, leases, fencing and the limit on attempts."""

import asyncio
import json
from uuid import UUID

import pytest
import pytest_asyncio

from earmark.storage.database import Database
from earmark.storage.queries import audio
from earmark.storage.records import AudioFile
from tests.gateway import rows

LONG = 60.0
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


async def lose(database, file: AudioFile, pause: float = 0.0) -> AudioFile | None:
    """Ends the file's attempt as lost; `pause`: seconds until the next one."""
    async with database.transaction() as connection:
        return await audio.release_lost(connection, file.id, file.attempt, lambda _: pause)


async def test_claims_are_oldest_first_and_do_not_change_the_status(database, files) -> None:
    first = await claim(database, limit=2)
    assert [file.id for file in first] == files[:2]
    assert {(file.attempt, file.processing_status) for file in first} == {(1, "pending")}
    assert [file.id for file in await claim(database)] == files[2:]
    assert await claim(database) == []


async def test_a_claim_waits_for_the_one_before_it(database, files) -> None:
    async with database.transaction() as one:
        mine = await audio.claim(one, 2, LONG)
        second = asyncio.create_task(claim(database, limit=2))
        while not await one.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
            pass
    assert [file.id for file in mine + await second] == files


async def test_a_claim_passes_by_a_file_that_is_locked(database, files) -> None:
    async with database.transaction() as other:
        await other.execute("SELECT FROM audio_files WHERE id = $1 FOR UPDATE", files[0])
        assert [file.id for file in await claim(database)] == files[1:]


async def test_the_many_files_of_a_tenant_do_not_delay_the_one_of_another(database) -> None:
    """Also with one slot, which is given again only after each file."""
    async with database.transaction() as connection:
        many = await rows.dataset(connection, files=500, audio_status="pending", annotated=(), tenant="many")
        await connection.execute("UPDATE datasets SET audio_revision = 500")
    order = [file for _ in range(3) for file in await claim(database, limit=1)]
    assert [file.id for file in order] == many.audio_file_ids[:3]
    async with database.transaction() as connection:
        few = await rows.dataset(connection, files=1, audio_status="pending", annotated=(), tenant="few")
    [next_one] = await claim(database, limit=1)
    assert [next_one.id] == few.audio_file_ids
    assert [file.id for file in await claim(database, limit=2)] == many.audio_file_ids[3:5]


async def test_tenants_take_turns_also_within_a_claim(database) -> None:
    built = {}
    for tenant, files in (("a", 4), ("b", 2), ("c", 1)):
        async with database.transaction() as connection:
            built[tenant] = await rows.dataset(
                connection, files=files, audio_status="pending", annotated=(), tenant=tenant
            )
    taken = [sorted(file.tenant_id for file in await claim(database, limit=2)) for _ in range(4)]
    # b was served longer ago than c, and a as long ago.
    assert taken == [["a", "b"], ["a", "c"], ["a", "b"], ["a"]]


async def test_a_claim_is_fast_however_many_files_wait(database) -> None:
    """It reads some of each tenant's, not all: neither rows nor an order of 20,000."""
    async with database.transaction() as connection:
        built = await rows.dataset(connection, files=1, audio_status="pending", annotated=(), tenant="many")
        await connection.execute(
            "INSERT INTO audio_files (id, tenant_id, dataset_id, original_filename, content_type, size_bytes,"
            " sha256, revision) SELECT gen_random_uuid(), 'many', $1, '', '', 1, '', 1"
            " FROM generate_series(1, 20000)",
            built.dataset_id,
        )
        await connection.execute("ANALYZE audio_files")
        plan = await connection.fetchval(
            f"EXPLAIN (ANALYZE, FORMAT JSON) {audio.SQL['claim']}".replace("$1", "4").replace("$2", "60.0")
        )
    assert 0 < _rows_read(json.loads(plan)[0]["Plan"]) < 100


async def test_many_simultaneous_claims_get_each_file_once(database, files) -> None:
    claims = await asyncio.gather(*(claim(database, limit=1) for _ in range(8)))
    # A claim may find nothing while others take their turn, and comes again.
    while claimed := await claim(database, limit=1):
        claims.append(claimed)
    assert sorted(file.id for claimed in claims for file in claimed) == files


# A lease in the distant future: the clock has gone back since.
@pytest.mark.parametrize("lease_until", ["now()", "now() + interval '1 hour'"])
async def test_a_file_with_an_expired_lease_is_claimed_again_in_any_status(
    database, files, lease_until
) -> None:
    one, other, _ = await claim(database)
    await advance(database, one, "normalizing")
    await advance(database, other, "embedding")
    async with database.connection() as connection:
        await connection.execute(f"UPDATE audio_files SET lease_until = {lease_until}")
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


async def test_a_file_that_is_lost_again_and_again_fails_only_if_others_succeed(database, files) -> None:
    for _ in range(audio.MAX_LOSSES + 2):
        # The trainers may be ill: nothing is final.
        file, other, *_ = await claim(database)
        for claimed in (file, other):
            assert (await lose(database, claimed)).processing_status == "pending"
        await expire(database)
    _, other, *_ = await claim(database)
    assert (await advance(database, other, "ready")).processing_status == "ready"
    await expire(database)
    file = next(claimed for claimed in await claim(database) if claimed.id == files[0])
    failed = await lose(database, file)
    assert failed.processing_status == "failed"
    assert "its trainer was lost 8 times" in failed.error_message
    assert await lose(database, file) is None


async def expire(database) -> None:
    """Ends every lease."""
    async with database.connection() as connection:
        await connection.execute("UPDATE audio_files SET lease_until = now() - interval '1 s'")


async def test_a_lost_file_waits_before_its_next_attempt(database, files) -> None:
    file, *_ = await claim(database)
    assert await lose(database, file, pause=LONG) is not None
    assert files[0] not in [claimed.id for claimed in await claim(database)]


async def test_a_failed_file_can_be_tried_again(database, files) -> None:
    file, *_ = await claim(database)
    async with database.connection() as connection:
        assert not await audio.retry(connection, rows.TENANT, files[0])
        await audio.fail(connection, files[0], file.attempt, message="no audio")
        assert await audio.retry(connection, rows.TENANT, files[0])
    again, *_ = await claim(database)
    assert (again.id, again.attempt, again.processing_status, again.error_message) == (
        files[0],
        2,
        "pending",
        "",
    )


async def test_files_of_several_tenants_are_claimed_together(database, files) -> None:
    async with database.transaction() as connection:
        theirs = await rows.dataset(connection, files=1, audio_status="pending", annotated=(), tenant="other")
    async with database.transaction() as connection:
        # A transaction that recorded events of both tenants would not commit.
        claimed = await audio.claim(connection, 10, LONG)
    assert [(file.id, file.tenant_id) for file in claimed] == [
        *((file_id, rows.TENANT) for file_id in files),
        (theirs.audio_file_ids[0], "other"),
    ]


def _rows_read(plan: dict) -> int:
    """The most rows that any part of a plan has returned."""
    own = int(plan["Actual Rows"] * plan["Actual Loops"])
    return max([own, *(_rows_read(part) for part in plan.get("Plans", ()))])
