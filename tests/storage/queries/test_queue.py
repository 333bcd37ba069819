"""The queue: tenants take turns, a tenant's jobs start in order, and limits apply across gateways."""

import asyncio
from collections import Counter
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from uuid_utils.compat import uuid7

from earmark.storage.database import Connection, Database
from earmark.storage.queries import api_keys, detection_jobs, quotas, training
from earmark.storage.queries.detection_jobs import FileResult
from earmark.storage.records import Quota
from tests.gateway import model_rows, rows

EVENT = {"status_changed": {}}


@pytest.fixture
async def database(database_url):
    async with Database(database_url) as database:
        yield database


async def queue(connection: Connection, tenant: str, jobs: int) -> list[UUID]:
    built = await rows.dataset(connection, tenant=tenant)
    ids = [uuid7() for _ in range(jobs)]
    for job_id in ids:
        arguments = (
            job_id,
            built.dataset_id,
            built.annotation_set_id,
            {"epochs": 1, "artifact_types": []},
            {},
            EVENT,
        )
        await training.create(connection, tenant, *arguments)
    await training.JOBS.queue_pending(connection, EVENT)
    return ids


async def claim(connection: Connection, limit: int = 0):
    return await training.claim(connection, "trainer:1", 60, EVENT, limit, frontend="")


async def end(connection: Connection, job) -> None:
    assert await training.finish(connection, job.id, job.attempt, "cancelled", EVENT)


async def test_a_tenant_with_one_job_does_not_wait_behind_one_with_many(database) -> None:
    async with database.connection() as connection:
        many = await queue(connection, "many", 4)
        few = await queue(connection, "few", 2)
        order = [(await claim(connection)).id for _ in range(6)]
    assert order == [many[0], few[0], many[1], few[1], many[2], many[3]]


async def test_a_tenant_with_running_jobs_waits_behind_one_without(database) -> None:
    async with database.connection() as connection:
        many = await queue(connection, "many", 3)
        running = [await claim(connection) for _ in range(2)]
        few = await queue(connection, "few", 1)
        assert (await claim(connection)).id == few[0]
        for job in running:
            await end(connection, job)
        assert (await claim(connection)).id == many[2]


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    jobs=st.dictionaries(st.sampled_from("abc"), st.integers(1, 4), min_size=1),
    ends=st.lists(st.booleans(), min_size=12, max_size=12),
    limit=st.integers(0, 3),
)
async def test_places_predict_the_order_and_the_tenant_with_the_fewest_running_jobs_is_next(
    database, jobs, ends, limit
) -> None:
    async with database.connection() as connection:
        transaction = connection.transaction()
        await transaction.start()
        waiting = {tenant: await queue(connection, tenant, number) for tenant, number in jobs.items()}
        running = []
        for ended in ends:
            places = await training.places(connection, [job_id for ids in waiting.values() for job_id in ids])
            assert sorted(place.overall_place for place in places.values()) == list(range(1, len(places) + 1))
            for ids in waiting.values():
                assert [places[job_id].place for job_id in ids] == list(range(1, len(ids) + 1))
            job = await claim(connection, limit)
            running_counts = Counter(other.tenant_id for other in running)
            eligible = [
                tenant
                for tenant, ids in waiting.items()
                if ids and (not limit or running_counts[tenant] < limit)
            ]
            if job is None:
                assert not eligible
            else:
                assert waiting[job.tenant_id].pop(0) == job.id
                assert running_counts[job.tenant_id] == min(running_counts[tenant] for tenant in eligible)
                assert limit or places[job.id].overall_place == 1
                running.append(job)
            if ended and running:
                await end(connection, running.pop(0))
        await transaction.rollback()


async def test_gateways_that_claim_at_the_same_time_respect_the_limit(database) -> None:
    async with database.transaction() as connection:
        await queue(connection, "one", 12)

    async def claimed():
        async with database.transaction() as connection:
            return await claim(connection, 3)

    jobs = [job for job in await asyncio.gather(*(claimed() for _ in range(10))) if job]
    assert len({job.id for job in jobs}) == len(jobs) == 3


async def test_a_tenant_runs_as_many_jobs_as_its_own_quota_says(database) -> None:
    async with database.connection() as connection:
        for tenant, limit in (("less", 1), ("any", 0), ("default", None)):
            if tenant != "default":
                await api_keys.create_tenant(connection, tenant, "")
            await quotas.store(connection, tenant, Quota(running_training_jobs=limit))
            await queue(connection, tenant, 4)
        claimed = [await claim(connection, 2) for _ in range(8)]
        assert Counter(job.tenant_id for job in claimed if job) == {"less": 1, "any": 4, "default": 2}


async def test_detection_jobs_wait_for_the_tenants_limits(database) -> None:
    """Of those that run at a time, and of the seconds of a day, which count from the results on."""
    async with database.connection() as connection:
        await api_keys.create_tenant(connection, "less", "")
        await quotas.store(connection, "less", Quota(running_detection_jobs=1, detection_seconds_per_day=20))
        built = {tenant: await searched(connection, tenant, 3) for tenant in ("less", "default")}
        begun = [await detection_jobs.claim(connection, "trainer:1", 60, EVENT, 2, 60) for _ in range(4)]
        assert Counter(job.tenant_id for job in begun if job) == {"less": 1, "default": 2}
        for job in begun[:3]:
            report = detection_jobs.Report(results=[FileResult(built[job.tenant_id], 30_000, 0, b"")])
            progress = await detection_jobs.store(connection, job.id, report)
            done = await detection_jobs.advance(connection, job, 60, progress, EVENT)
            await detection_jobs.finish(connection, job.id, done.attempt, "completed", EVENT)
        assert await quotas.searched_today(connection) == {"less": 30_000, "default": 60_000}
        assert await detection_jobs.claim(connection, "trainer:1", 60, EVENT, 2, 60) is None
        # Tomorrow they go on.
        await connection.execute("UPDATE detection_usage SET day = day - 1")
        begun = [await detection_jobs.claim(connection, "trainer:1", 60, EVENT, 2, 60) for _ in range(3)]
        assert Counter(job.tenant_id for job in begun if job) == {"less": 1, "default": 1}


async def searched(connection: Connection, tenant: str, jobs: int) -> UUID:
    """Queues so many detection jobs, each over one file; returns its id."""
    model_id = await model_rows.model(connection, tenant=tenant, active=True)
    built = await rows.dataset(connection, tenant=tenant, files=1)
    for _ in range(jobs):
        new = detection_jobs.NewJob(uuid7(), model_id, built.dataset_id, {}, [], {})
        await detection_jobs.create(connection, tenant, new, EVENT)
    await detection_jobs.JOBS.queue_pending(connection, EVENT)
    return built.audio_file_ids[0]


async def test_jobs_created_at_the_same_time_are_counted_correctly(database) -> None:
    async with database.transaction() as connection:
        built = await rows.dataset(connection)
    async with database.transaction() as connection:
        await queue(connection, "other", 5)

    async def create() -> bool:
        async with database.transaction() as connection:
            if await training.JOBS.count_waiting(connection, rows.TENANT) >= 3:
                return False
            arguments = (uuid7(), built.dataset_id, built.annotation_set_id, {"epochs": 1}, {}, EVENT)
            await training.create(connection, rows.TENANT, *arguments)
            return True

    assert sum(await asyncio.gather(*(create() for _ in range(10)))) == 3


# A pause until the distant future: the clock has gone back since.
@pytest.mark.parametrize("not_before", ["now()", "now() + interval '1 hour'"])
async def test_a_lost_job_waits_out_its_pause_behind_jobs_without_one(database, not_before) -> None:
    async with database.transaction() as connection:
        first, second = await queue(connection, "one", 2)
        job = await claim(connection)
        assert await training.JOBS.requeue(
            connection, first, 1, "lost", "", EVENT, losses=1, pause_seconds=60
        )
        [place] = (await training.places(connection, [first])).values()
        assert (place.place, place.overall_place, place.is_due) == (2, 2, False)
        assert (job.id, (await claim(connection)).id) == (first, second)
        assert await claim(connection) is None
        await connection.execute(f"UPDATE training_jobs SET not_before = {not_before} WHERE id = $1", first)
        again = await claim(connection)
        assert (again.id, again.attempt, again.losses) == (first, 2, 1)


async def test_the_places_of_jobs_are_read_with_one_query_for_all(database) -> None:
    async with database.transaction() as connection:
        many = await queue(connection, "many", 3)
        running = (await claim(connection)).id
    async with database.transaction() as connection:
        [few] = await queue(connection, "few", 1)
    async with database.transaction() as connection:
        queries = []
        connection.add_query_logger(lambda record: queries.append(record.query))
        found = await training.places(connection, [few, *many])
    assert len([query for query in queries if "training_queue" in query]) == 1
    assert running == many[0]
    places = {job_id: (place.place, place.overall_place) for job_id, place in found.items()}
    assert places == {few: (1, 1), many[1]: (1, 2), many[2]: (2, 3)}


async def test_a_job_that_was_handed_back_keeps_its_place(database) -> None:
    async with database.transaction() as connection:
        first, second = await queue(connection, "one", 2)
        await claim(connection)
        assert await training.JOBS.requeue(connection, first, 1, "handed_back", "", EVENT)
    async with database.transaction() as connection:
        assert [(await claim(connection)).id for _ in range(2)] == [first, second]


async def test_a_checkpoint_resets_the_losses(database) -> None:
    async with database.transaction() as connection:
        [job_id] = await queue(connection, "one", 1)
        await claim(connection)
        await training.JOBS.requeue(connection, job_id, 1, "lost", "", EVENT, losses=2)
    async with database.transaction() as connection:
        assert (await claim(connection)).losses == 2
        await training.set_checkpoint(connection, job_id, 2, "key")
        assert (await training.JOBS.lock_attempt(connection, job_id, 2)).losses == 0


async def test_a_trainer_is_well_if_it_has_completed_a_job_that_it_began_after_the_loss(database) -> None:
    async def complete(job) -> None:
        assert await training.finish(connection, job.id, job.attempt, "completed", EVENT, model_id=uuid7())

    async with database.connection() as connection:
        await queue(connection, "a", 3)
        before, lost = await claim(connection), await claim(connection)
        # The end of a job may be recorded after the trainer has been given the next one.
        await complete(before)
        await training.JOBS.requeue(
            connection, lost.id, lost.attempt, "lost", "", EVENT, losses=1, pause_seconds=60
        )
        assert not await training.JOBS.a_trainer_is_well(connection, lost.id, 1)
        await complete(await claim(connection))
        assert await training.JOBS.a_trainer_is_well(connection, lost.id, 1)
