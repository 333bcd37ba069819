"""The log of a tenant's events: a reader gets every event once, and each job's events in order."""

import asyncio
import random
from contextlib import AsyncExitStack
from datetime import timedelta
from uuid import UUID

import pytest
import pytest_asyncio

from storage.database import Connection, Database
from storage.migrations import migrate
from storage.queries import events, training
from storage.queries.events import START, LogFilter, LogKey
from tests.gateway import rows
from tests.storage import jobs

WRITERS = 6
STEPS = 250


@pytest_asyncio.fixture
async def database(database_url):
    async with Database(database_url, pool_size=WRITERS + 2) as opened:
        yield opened


@pytest_asyncio.fixture
async def connection(database):
    """In autocommit mode: every write commits at once."""
    async with database.connection() as one:
        yield one


@pytest_asyncio.fixture
async def built(connection):
    return await rows.dataset(connection)


class Writer:
    """A connection with a transaction that a test begins and ends."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.locked_jobs: set[UUID] = set()
        self._transaction = None

    async def begin(self) -> None:
        self._transaction = self.connection.transaction()
        await self._transaction.start()
        # This assigns the transaction id now, long before the revisions that the transaction will record.
        await self.connection.fetchval("SELECT pg_current_xact_id()")

    @property
    def is_open(self) -> bool:
        return self._transaction is not None

    async def add_event(self, job_id: UUID) -> None:
        await jobs.add_event(self.connection, job_id)
        self.locked_jobs.add(job_id)

    async def end(self, *, commit: bool) -> None:
        await (self._transaction.commit() if commit else self._transaction.rollback())
        self._transaction = None
        self.locked_jobs.clear()


class Reader:
    """Follows the log with a cursor and records the keys that it received."""

    def __init__(self, connection: Connection, limit: int) -> None:
        self.connection, self.limit = connection, limit
        self.after = START
        self.seen: list[LogKey] = []

    async def read(self) -> bool:
        """Reads one page. Returns whether committed events wait for the watermark."""
        page = await jobs.page(self.connection, self.after, limit=self.limit)
        for key, event in page.entries:
            assert (key.training_job_id, key.revision) == (event.training_job_id, event.revision)
            self.seen.append(key)
            self.after = key
        return page.waits_for_watermark


async def interleave(chance: random.Random, writers: list[Writer], readers, job_ids: list[UUID]) -> None:
    """Transactions begin, write to jobs and end in three different orders while the readers read."""
    for _ in range(STEPS):
        writer = chance.choice(writers)
        free = [job for job in job_ids if not any(job in other.locked_jobs for other in writers)]
        if not writer.is_open:
            await writer.begin()
        elif free and chance.random() < 0.6:
            await writer.add_event(chance.choice(free))
        else:
            await writer.end(commit=chance.random() < 0.8)
        for reader in readers:
            if chance.random() < 0.5:
                await reader.read()
    for writer in writers:
        if writer.is_open:
            await writer.end(commit=True)


@pytest.mark.parametrize("seed", range(6))
async def test_each_event_is_read_once_and_in_order_in_whichever_order_transactions_end(
    database, connection, built, seed
) -> None:
    chance = random.Random(seed)
    job_ids = [await jobs.create(connection, built) for _ in range(4)]
    await jobs.start(connection, *job_ids)
    async with AsyncExitStack() as stack:
        writers = [Writer(await stack.enter_async_context(database.connection())) for _ in range(WRITERS)]
        readers = [Reader(connection, limit) for limit in (1, 3, 1000)]
        await interleave(chance, writers, readers, job_ids)
    revisions = {job: (await training.get(connection, rows.TENANT, job)).revision for job in job_ids}
    assert sum(revisions.values()) > STEPS / 8
    for reader in readers:
        while len(reader.seen) < sum(revisions.values()):
            before = len(reader.seen)
            await reader.read()
            assert len(reader.seen) > before
        assert reader.seen == sorted(reader.seen)
        for job, latest in revisions.items():
            seen = [key.revision for key in reader.seen if key.training_job_id == job]
            assert seen == list(range(1, latest + 1))


async def test_transaction_ids_alone_do_not_order_a_jobs_events(database, connection, built) -> None:
    job = await jobs.create(connection, built)
    await jobs.start(connection, job)
    async with database.connection() as one, database.connection() as other:
        early, late = Writer(one), Writer(other)
        await early.begin()
        await late.begin()
        await late.add_event(job)
        # Waits for the lock on the job's row, and gets the later revision with the older transaction id.
        waiting = asyncio.create_task(early.add_event(job))
        await wait_for_blocked_transaction(connection)
        await late.end(commit=True)
        await waiting
        early_id = await one.fetchval("SELECT pg_current_xact_id()")
        await early.end(commit=True)
    keys = [key for key, _ in (await jobs.page(connection)).entries]
    assert [key.revision for key in keys] == [1, 2, 3, 4, 5]
    assert early_id < keys[3].xid == keys[4].xid


async def wait_for_blocked_transaction(connection: Connection) -> None:
    """Returns once some transaction waits for a lock."""
    while not await connection.fetchval(
        "SELECT EXISTS (SELECT FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock')"
    ):
        pass


async def test_events_above_the_watermark_are_not_read_yet(database, connection, built) -> None:
    first, second = [await jobs.create(connection, built) for _ in range(2)]
    await jobs.start(connection, first, second)
    reader = Reader(connection, 1000)
    assert not await reader.read()
    async with database.connection() as one:
        running = Writer(one)
        await running.begin()
        await jobs.add_event(connection, second)
        assert await reader.read()
        assert len(reader.seen) == 6
        await running.add_event(first)
        await running.end(commit=True)
    assert not await reader.read()
    assert [key.training_job_id for key in reader.seen[6:]] == [first, second]


async def test_the_log_has_one_tenant_and_filters_by_dataset_status_and_metadata(connection, built) -> None:
    mine = await jobs.create(connection, built, team="tts", stage="x")
    other = await jobs.create(connection, await rows.dataset(connection), team="tts")
    theirs = await jobs.create(
        connection, await rows.dataset(connection, tenant="other"), "other", team="tts"
    )
    await jobs.start(connection, mine, other, theirs)
    await jobs.cancel(connection, mine)
    assert {job for job, _ in await jobs.logged(connection)} == {mine, other}
    assert {job for job, _ in await jobs.logged(connection, tenant="other")} == {theirs}
    by_dataset = LogFilter(built.dataset_id, (), {})
    assert await jobs.logged(connection, by_dataset) == [(mine, revision) for revision in range(1, 5)]
    by_metadata = LogFilter(None, (), {"team": "tts", "stage": "x"})
    assert {job for job, _ in await jobs.logged(connection, by_metadata)} == {mine}
    assert await jobs.logged(connection, LogFilter(None, (), {"team": "x"})) == []
    assert await jobs.logged(connection, LogFilter(None, ("cancelled",), {})) == [(mine, 4)]
    by_statuses = LogFilter(built.dataset_id, ("pending", "training"), {"team": "tts"})
    assert await jobs.logged(connection, by_statuses) == [(mine, 1), (mine, 3)]


async def finished_ago(connection: Connection, job: UUID, age: timedelta) -> None:
    await connection.execute(
        "UPDATE training_jobs SET finished_at = now() - $2::interval WHERE id = $1", job, age
    )


async def test_only_the_last_event_of_a_job_that_finished_long_ago_is_kept(connection, built) -> None:
    old, recent, running = [await jobs.create(connection, built) for _ in range(3)]
    await jobs.start(connection, old, recent, running)
    for job in (old, recent):
        await jobs.cancel(connection, job)
    await finished_ago(connection, old, timedelta(days=90, minutes=1))
    await finished_ago(connection, recent, timedelta(days=89))
    await connection.execute("UPDATE training_events SET time = now() - interval '1 year'")
    keys = [key for key, _ in (await jobs.page(connection)).entries]
    assert await events.compact(connection, 90, 20) == 1
    assert await events.compact(connection, 90, 20) == 0
    remaining = await jobs.logged(connection)
    assert [(job, revision) for job, revision in remaining if job == old] == [(old, 4)]
    assert len(remaining) == 1 + 4 + 3
    assert (await training.get(connection, rows.TENANT, old)).compacted_revision == 3
    assert (await training.get(connection, rows.TENANT, recent)).compacted_revision == 0
    state = (await jobs.page(connection)).state
    assert state.compactions == 1
    assert state.compacted == max(key for key in keys if key.training_job_id == old and key.revision < 4)


async def test_the_log_state_has_the_last_of_all_removed_events(connection, built) -> None:
    chance = random.Random(1)
    job_ids = [await jobs.create(connection, built) for _ in range(5)]
    await jobs.start(connection, *job_ids)
    for job in job_ids:
        await jobs.cancel(connection, job)
        # The first job to end is not the first whose events are removed.
        await finished_ago(connection, job, timedelta(days=chance.randint(100, 200)))
    keys = [key for key, _ in (await jobs.page(connection)).entries]
    while await events.compact(connection, 90, 2):
        pass
    state = (await jobs.page(connection)).state
    assert (state.compactions, state.compacted) == (3, max(key for key in keys if key.revision < 4))
    theirs = (await jobs.page(connection, tenant="other")).state
    assert (theirs.era, theirs.compactions, theirs.compacted) == (state.era, 0, START)


async def test_gateways_can_remove_events_at_the_same_time(database, connection, built) -> None:
    job_ids = [await jobs.create(connection, built) for _ in range(30)]
    await jobs.start(connection, *job_ids)
    for job in job_ids:
        await jobs.cancel(connection, job)
        await finished_ago(connection, job, timedelta(days=100))

    async def compact() -> int:
        async with database.connection() as one:
            return await events.compact(one, 90, 3)

    counts = [1]
    while any(counts):
        counts = await asyncio.gather(*(compact() for _ in range(4)))
    assert sorted(await jobs.logged(connection)) == [(job, 4) for job in job_ids]
    keys = [key for key, _ in (await jobs.page(connection)).entries]
    state = (await jobs.page(connection)).state
    assert state.compactions >= 10
    assert (state.compacted.training_job_id, state.compacted.revision) == (keys[-1].training_job_id, 3)


async def test_a_log_restored_into_another_cluster_starts_a_new_era(database_url, connection, built) -> None:
    job = await jobs.create(connection, built)
    await jobs.start(connection, job)
    before = (await jobs.page(connection)).state
    # Like a dump of a cluster with far higher transaction ids.
    await connection.execute("UPDATE training_events SET xid = (xid::text::bigint + 1000000)::text::xid8")
    assert (await jobs.page(connection)).waits_for_watermark
    await migrate(database_url)
    await jobs.add_event(connection, job)
    page = await jobs.page(connection)
    assert [key.revision for key, _ in page.entries] == [1, 2, 3, 4]
    assert [key.xid for key, _ in page.entries][:3] == [0, 0, 0]
    assert page.state.era != before.era
    await migrate(database_url)
    assert (await jobs.page(connection)).state == page.state
