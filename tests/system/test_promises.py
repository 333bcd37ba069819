"""The promises of docs/operations.md, one test for each, most of them checked with one short fault drill.

`python -m bench.faults` runs longer drills.
"""

import asyncio
from uuid import UUID

import pytest

from bench.faults.drill import Report, drill
from bench.faults.faults import KINDS
from earmark.gateway.convert.event_bodies import notice, status_changed
from earmark.storage.database import Database
from earmark.storage.queries import training
from earmark.v1 import training_service_pb2 as pb
from earmark.v1.training_service_pb2_grpc import TrainingServiceStub
from tests.gateway.calls import opened
from tests.gateway.jobs import build_one, create

KILLS, SEED = 6, 1


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Report:
    return asyncio.run(drill(SEED, KILLS, 0, tmp_path_factory.mktemp("drill"), print))


def test_the_drill_kills_every_kind_of_process_and_all_clients_finish(report: Report) -> None:
    assert all(report.figures["faults"][f"kill {kind}"] == KILLS / len(KINDS) for kind in KINDS)
    assert report.violations["everything comes to its end"] == []


def test_promise_1_an_acknowledged_job_is_never_lost_or_duplicated(report: Report) -> None:
    assert report.figures["jobs"]["created"] > 0
    assert report.violations["1 creates are kept"] == []


def test_promise_2_a_job_ends_once_with_one_model_and_a_stale_attempt_writes_nothing(report: Report) -> None:
    assert report.figures["jobs"]["completed"] > 0
    assert report.violations["2 one end, one model, no stale writes"] == []


def test_promise_3_a_lost_trainer_costs_one_epoch_at_most(report: Report) -> None:
    assert report.figures["attempts"] > report.figures["jobs"]["created"]
    assert report.violations["3 little work is lost"] == []


def test_promises_4_and_6_every_watch_is_complete_and_in_order(report: Report) -> None:
    assert report.figures["streams"] > report.figures["watchers"] > 0
    assert report.figures["events_of_the_log"] > 0
    assert report.violations["4 and 6 watches are whole"] == []
    assert report.violations["4 and 6 watches of all jobs are whole"] == []


def test_promise_5_errors_are_unavailable_and_temporary(report: Report) -> None:
    assert report.figures["errors"]["UNAVAILABLE DATABASE_UNAVAILABLE"] > 0
    assert report.violations["5 errors are passing"] == []


def test_promise_8_a_published_set_never_changes(report: Report) -> None:
    assert report.figures["sets_published"] > 0
    assert report.violations["8 published sets stay"] == []


def test_promise_9_bad_audio_fails_alone(report: Report) -> None:
    assert report.figures["uploads"]["good"] > 0
    assert report.figures["uploads"]["bad"] > 0
    assert report.violations["9 audio fails alone"] == []


def test_promise_10_nothing_of_another_tenant_is_visible(report: Report) -> None:
    assert report.figures["refusals"]["NOT_FOUND"] > 0
    assert report.violations["10 tenants are apart"] == []


async def test_promise_7_a_watcher_that_never_reads_slows_no_one_else(database_url, tmp_path) -> None:
    async with opened(database_url, tmp_path, heartbeat_seconds=0.5) as gateway:
        stub = TrainingServiceStub(gateway.channel)
        job = await create(gateway.channel, await build_one(database_url))
        request = pb.WatchTrainingJobRequest(training_job_id=job.id)
        stuck = stub.WatchTrainingJob(request)
        await stuck.read()
        # Far more than the buffers between the gateway and the watcher can take.
        await write_events(database_url, UUID(job.id), count=1000, size=10_000)
        seen = [r.event.revision async for r in stub.WatchTrainingJob(request) if r.HasField("event")]
        now = (await stub.GetTrainingJob(pb.GetTrainingJobRequest(training_job_id=job.id))).training_job
        assert seen == list(range(1, now.revision + 1))
        stuck.cancel()


async def write_events(database_url: str, job_id: UUID, count: int, size: int) -> None:
    """Write events as an attempt does, from its claim of the job to the job's end."""
    async with Database(database_url) as database, database.transaction() as connection:
        await training.JOBS.queue_pending(connection, status_changed("pending", "queued", ""))
        job = await training.claim(
            connection, "trainer", 60, status_changed("queued", "training", ""), frontend=""
        )
        assert job is not None
        for number in range(count):
            event = notice("FILE_LEFT_OUT", f"{number} ".ljust(size, "x"))
            job = await training.advance(connection, job_id, job.attempt, job.revision, 60, event)
            assert job is not None
        event = status_changed("training", "cancelled", "")
        assert await training.finish(connection, job_id, job.attempt, "cancelled", event)
