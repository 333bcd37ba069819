"""The log of a tenant's events: without gaps, in the order of the commits, and each event read once."""

import asyncio
import random
from itertools import chain
from uuid import UUID

import asyncpg
import pytest
import pytest_asyncio
from uuid_utils.compat import uuid7

from earmark.storage.database import Connection, Database
from earmark.storage.queries import events, training
from tests.gateway import rows
from tests.storage import jobs

WRITERS = 6
JOBS = 8
TRANSACTIONS = 25


@pytest_asyncio.fixture
async def database(database_url):
    async with Database(database_url, pool_size=WRITERS + 6) as opened:
        yield opened


@pytest_asyncio.fixture
async def connection(database):
    """In autocommit mode: every write commits at once."""
    async with database.connection() as one:
        yield one


@pytest_asyncio.fixture
async def built(connection):
    """A dataset without files, so that only jobs have events."""
    return await rows.dataset(connection, files=0)


async def started(connection: Connection, built: rows.Built, count: int) -> list[UUID]:
    """New jobs in their first attempt, each at revision 3."""
    job_ids = [await jobs.create(connection, built) for _ in range(count)]
    await jobs.start(connection, *job_ids)
    return job_ids


async def read(connection: Connection, limit: int, writing: asyncio.Event) -> list[events.Event]:
    """Follows the log until `writing` is set and all events have been read. Nothing may be missing."""
    seen: list[events.Event] = []
    while True:
        is_over = writing.is_set()
        after = seen[-1].sequence if seen else 0
        page = await events.log(connection, rows.TENANT, after, limit)
        assert page.first == (seen[-1] if seen else None)
        assert [event.sequence for event in page.events] == [after + n + 1 for n in range(len(page.events))]
        seen += page.events
        if is_over and not page.events:
            return seen


async def write(database: Database, chance: random.Random, job_ids: list[UUID]) -> list[tuple[UUID, int]]:
    """Runs transactions of some events each, of which some roll back. Returns the committed events."""
    committed = []
    for _ in range(TRANSACTIONS):
        async with database.connection() as connection:
            transaction = connection.transaction()
            await transaction.start()
            written = []
            # Rows are locked in the same order by all, so that there is no deadlock among the jobs.
            for job_id in sorted(chance.sample(job_ids, chance.randint(1, 3))):
                await jobs.add_event(connection, job_id)
                job = await training.get(connection, rows.TENANT, job_id)
                written.append((job_id, job.revision))
            if chance.random() < 0.2:
                await transaction.rollback()
            else:
                await transaction.commit()
                committed += written
    return committed


@pytest.mark.parametrize("seed", range(4))
async def test_the_log_of_concurrent_writers_has_no_gap_and_each_event_is_read_once(
    database, connection, built, seed
) -> None:
    chance, over = random.Random(seed), asyncio.Event()
    job_ids = await started(connection, built, JOBS)
    before = [(job, revision) for _, job, revision in await jobs.logged(connection)]
    async with database.connection() as one, database.connection() as two, database.connection() as three:
        readers = [
            asyncio.create_task(read(reader, limit, over))
            for reader, limit in ((one, 1), (two, 7), (three, 1000))
        ]
        writers = [write(database, random.Random(chance.random()), job_ids) for _ in range(WRITERS)]
        committed = [*before, *chain.from_iterable(await asyncio.gather(*writers))]
        over.set()
        seen, *others = await asyncio.gather(*readers)
    assert others == [seen, seen]
    assert sorted((event.resource_id, event.revision) for event in seen) == sorted(committed)
    for job in job_ids:
        revisions = [event.revision for event in seen if event.resource_id == job]
        assert revisions == list(range(1, len(revisions) + 1))


async def test_the_order_is_that_of_the_commits_and_a_transaction_that_stays_open_delays_nobody(
    database, connection, built
) -> None:
    first, second = await started(connection, built, 2)
    async with database.transaction() as open_first:
        await jobs.add_event(open_first, first)
        await connection.execute("CREATE TABLE busy AS SELECT pg_current_xact_id()")
        await jobs.add_event(connection, second)
        assert (await jobs.logged(connection))[6:] == [(7, second, 4)]
    assert (await jobs.logged(connection))[6:] == [(7, second, 4), (8, first, 4)]


async def test_events_of_one_transaction_are_numbered_in_their_order(database, connection, built) -> None:
    first, second = await started(connection, built, 2)
    async with database.transaction() as one:
        for job in (second, first, second):
            await jobs.add_event(one, job)
    assert (await jobs.logged(connection))[6:] == [(7, second, 4), (8, first, 4), (9, second, 5)]


async def test_each_tenant_has_a_log_of_its_own(connection, built) -> None:
    mine = await jobs.create(connection, built)
    theirs = await jobs.create(connection, await rows.dataset(connection, files=0, tenant="other"), "other")
    assert await jobs.logged(connection) == [(1, mine, 1)]
    assert await jobs.logged(connection, "other") == [(1, theirs, 1)]
    assert await jobs.logged(connection, "nobody") == []


async def test_a_transaction_records_events_of_one_tenant_only(database, connection, built) -> None:
    elsewhere = await rows.dataset(connection, files=0, tenant="other")

    async def create_both() -> None:
        async with database.transaction() as one:
            await jobs.create(one, built)
            await jobs.create(one, elsewhere, "other")

    with pytest.raises(asyncpg.RaiseError, match="one tenant only"):
        await create_both()
    assert await jobs.logged(connection) == []


async def test_jobs_are_queued_and_taken_over_one_tenant_at_a_time(connection, built) -> None:
    theirs = [await jobs.create(connection, await rows.dataset(connection, files=0, tenant="other"), "other")]
    mine = [await jobs.create(connection, built) for _ in range(2)]
    body = jobs.status_changed("queued")
    for expected in (theirs, mine, []):
        assert [job.id for job in await training.JOBS.queue_pending(connection, body)] == expected
    await connection.execute(
        "UPDATE training_jobs SET status = 'training', lease_until = now() - interval '1 s'"
    )
    assert [job.id for job in await training.JOBS.expired(connection)] == theirs


async def test_a_deleted_job_leaves_an_event_whichever_statement_deletes_it(connection, built) -> None:
    job = await jobs.create(connection, built, team="tts")
    await connection.execute("DELETE FROM training_jobs WHERE dataset_id = $1", built.dataset_id)
    *_, deleted = (await events.log(connection, rows.TENANT, 0, 10)).events
    assert (deleted.sequence, deleted.resource, deleted.resource_id) == (2, "training_job", job)
    assert (deleted.kind, deleted.status, deleted.revision) == ("deleted", None, 2)
    assert (deleted.dataset_id, deleted.metadata) == (built.dataset_id, {"team": "tts"})


async def test_files_have_events_whichever_statement_changes_them(database, connection) -> None:
    built = await rows.dataset(connection, files=2, audio_status="pending", annotated=())
    one, other = built.audio_file_ids
    await connection.execute("UPDATE audio_files SET processing_status = 'normalizing', error_message = ''")
    await connection.execute("UPDATE audio_files SET processing_status = 'normalizing', attempt = 2")
    await connection.execute(
        "UPDATE audio_files SET processing_status = CASE WHEN id = $1 THEN 'failed' ELSE 'ready' END,"
        " error_message = CASE WHEN id = $1 THEN 'no audio' ELSE '' END",
        one,
    )
    await connection.execute("DELETE FROM annotation_sets")
    async with database.transaction() as together:
        await together.execute("DELETE FROM audio_files")
        await together.execute("DELETE FROM datasets")
    page = await events.log(connection, rows.TENANT, 0, 100)
    assert [(e.resource_id, e.kind, e.status) for e in page.events] == [
        *((one, "created", "pending"), (other, "created", "pending")),
        *((one, "status_changed", "normalizing"), (other, "status_changed", "normalizing")),
        *((one, "status_changed", "failed"), (other, "status_changed", "ready")),
        *((one, "deleted", None), (other, "deleted", None), (built.dataset_id, "deleted", None)),
    ]
    assert {event.resource for event in page.events[:-1]} == {"audio_file"}
    assert (page.events[-1].resource, page.events[-1].body) == ("dataset", {"dataset_deleted": {}})
    assert {event.dataset_id for event in page.events} == {built.dataset_id}
    # The error of the deleted file is gone.
    assert page.events[4].body == {
        "status_changed": {
            "from": "AUDIO_PROCESSING_STATUS_NORMALIZING",
            "to": "AUDIO_PROCESSING_STATUS_FAILED",
        }
    }


async def test_a_deletion_leaves_the_texts_of_others(connection) -> None:
    built = await rows.dataset(connection, files=2, annotated=())
    one, other = built.audio_file_ids
    await connection.execute(
        "UPDATE audio_files SET processing_status = 'failed', error_message = 'no audio'"
    )
    await connection.execute("DELETE FROM audio_files WHERE id = $1", one)
    page = await events.log(connection, rows.TENANT, 2, 2)
    texts = [event.body["status_changed"].get("error_message") for event in page.events]
    assert [event.resource_id for event in page.events] == [one, other]
    assert texts == [None, "no audio"]


async def test_many_events_of_one_transaction_are_numbered_at_once(database, connection) -> None:
    async with database.transaction() as one:
        await one.execute(
            "INSERT INTO events (tenant_id, resource, resource_id, dataset_id, kind, status, body)"
            " SELECT $1, 'training_job', $2, $2, 'notice', 'training', '{}' FROM generate_series(1, 5000)",
            *(rows.TENANT, uuid7()),
        )
    numbers = [number for number, *_ in await jobs.logged(connection)]
    assert numbers == list(range(1, 5001))


async def test_an_event_is_removed_when_the_one_that_supersedes_it_is_old(
    database, connection, built
) -> None:
    old, running = await started(connection, built, 2)
    await jobs.cancel(connection, old)
    end = await events.log_end(connection, rows.TENANT)
    await jobs.age(connection, end.last_sequence, 90)
    await jobs.add_event(connection, running)
    before = await jobs.logged(connection)
    await events.compact(database, 90.1)
    assert await jobs.logged(connection) == before
    await events.compact(database, 89)
    latest = [entry for entry in before if entry[1:] in ((running, 3), (old, 4), (running, 4))]
    assert await jobs.logged(connection) == latest
    assert (await events.log_end(connection, rows.TENANT)).compacted_sequence == end.last_sequence
    await jobs.age(connection, end.last_sequence + 1, 90)
    await events.compact(database, 89)
    assert await jobs.logged(connection) == latest[1:]


async def test_events_after_one_that_is_not_old_yet_stay(database, connection, built) -> None:
    await started(connection, built, 2)
    before = await jobs.logged(connection)
    # The time of an event is that of its transaction's beginning, so times need not be in the log's order.
    await connection.execute("UPDATE events SET time = time - interval '91 days' WHERE sequence > 2")
    await events.compact(database, 90)
    assert await jobs.logged(connection) == before
    assert (await events.log_end(connection, rows.TENANT)).compacted_sequence == 0


async def test_an_events_age_is_counted_in_whole_hours(database, connection, built) -> None:
    await started(connection, built, 1)
    async with database.transaction() as one:
        # now() is the same in both statements.
        age = "UPDATE events SET time = date_trunc('hour', now()) - interval '90 days'"
        await one.execute(age)
        walked = await one.fetchval(events.SQL["remove_superseded"], rows.TENANT, 90.0, 10)
        assert walked is None
        await one.execute(f"{age} - interval '1 us'")
        walked = await one.fetchval(events.SQL["remove_superseded"], rows.TENANT, 90.0, 10)
        assert walked == 3


async def test_nothing_is_left_of_a_job_that_was_deleted_long_ago(database, connection, built) -> None:
    await jobs.create(connection, built)
    await connection.execute("DELETE FROM training_jobs")
    await jobs.age(connection, 2, 91)
    await events.compact(database, 90)
    assert await jobs.logged(connection) == []
    assert await events.log_end(connection, rows.TENANT) == (2, None, 2)


async def test_gateways_can_remove_events_at_the_same_time(database, connection, built, monkeypatch) -> None:
    monkeypatch.setattr(events, "COMPACTION_BATCH", 7)
    job_ids = await started(connection, built, 20)
    await jobs.age(connection, 60, 91)
    await asyncio.gather(*(events.compact(database, 90) for _ in range(4)))
    await events.compact(database, 90)
    assert sorted((job, revision) for _, job, revision in await jobs.logged(connection)) == [
        (job, 3) for job in job_ids
    ]
