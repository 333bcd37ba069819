"""A queued job reports its place in the queue and why it waits."""

import asyncio
from datetime import UTC, datetime

import grpc
import pytest
from earmark.v1 import training_service_pb2 as pb

from gateway.fleet.waiting import Slots, waiting
from storage.queries.training import Place
from tests.gateway import scripted_trainer as script
from tests.gateway.jobs import build_one, create, gateway, job_now, until

LATER = datetime(2026, 5, 4, 12, 30, 15, tzinfo=UTC)


@pytest.mark.parametrize(
    ("place", "slots", "limit", "kind", "message"),
    [
        (
            Place(1, 1, LATER, is_due=False),
            Slots(("a:1",), 1, 1, 1),
            None,
            "retry",
            "may begin at 12:30:15 UTC",
        ),
        (Place(1, 1, None, is_due=True), Slots(("a:1", "b:2"), 0, 0, 0), None, "trainer", "tried a:1, b:2"),
        (Place(1, 1, None, is_due=True), Slots((), 0, 0, 0), None, "trainer", "(none is configured)"),
        (
            Place(1, 1, None, is_due=True),
            Slots(("a:1",), 1, 0, 0),
            None,
            "trainer",
            "has no training slot yet",
        ),
        (
            Place(1, 1, None, is_due=True),
            Slots(("a:1",), 2, 0, 0),
            None,
            "trainer",
            "the 2 trainers that answer have",
        ),
        (Place(1, 3, None, is_due=True), Slots(("a:1",), 1, 4, 2), 2, "tenant", "2 of your jobs may train"),
        (
            Place(3, 1, None, is_due=True),
            Slots(("a:1",), 2, 2, 1),
            None,
            "slot",
            "1 of 2 training slots are taken, and 2 jobs",
        ),
        (Place(2, 1, None, is_due=True), Slots(("a:1",), 2, 2, 0), None, "slot", "and 1 job comes first"),
        (Place(1, 2, LATER, is_due=True), Slots(("a:1",), 2, 2, 1), 2, "unspecified", "about to"),
    ],
)
def test_the_reason_is_the_first_condition_that_must_change(place, slots, limit, kind, message) -> None:
    result = waiting(place, slots, limit)
    assert (result.place, result.waiting_for) == (place.place, kind)
    assert message in result.message
    assert (result.not_before is None) == (kind != "retry")


async def test_a_job_waits_for_a_slot_behind_another_and_not_once_it_trains(database_url, tmp_path) -> None:
    finish = asyncio.Event()

    async def runs(_call):
        yield script.accepted()
        await finish.wait()
        yield script.completed()

    built = await build_one(database_url)
    trainer = script.ScriptedTrainer(runs, script.whole)
    async with script.serving(trainer) as address, gateway(database_url, tmp_path, address) as channel:
        first = await create(channel, built)
        await until(channel, first.id, "notice")
        assert not (await job_now(channel, first.id)).HasField("waiting")
        second = await create(channel, built)
        await until(channel, second.id, "queued")
        waits = (await job_now(channel, second.id)).waiting
        assert (waits.place, waits.waiting_for) == (1, pb.WAITING_FOR_SLOT)
        finish.set()
        await until(channel, second.id, "completed")


async def test_without_a_trainer_the_reason_names_the_addresses_tried(database_url, tmp_path) -> None:
    built = await build_one(database_url)
    async with gateway(database_url, tmp_path, "127.0.0.1:1") as channel:
        job = await create(channel, built)
        await until(channel, job.id, "queued")
        waits = (await job_now(channel, job.id)).waiting
        assert (waits.place, waits.waiting_for) == (1, pb.WAITING_FOR_TRAINER)
        assert "127.0.0.1:1" in waits.message


async def test_after_losses_in_a_row_the_reason_names_the_time_of_the_retry(database_url, tmp_path) -> None:
    async def dies(call):
        yield script.accepted()
        await script.fail(call, grpc.StatusCode.UNAVAILABLE, "TRAINER_LOST", "out of memory")

    built = await build_one(database_url)
    trainer = script.ScriptedTrainer(dies, dies)
    async with (
        script.serving(trainer) as address,
        gateway(database_url, tmp_path, address, retry_seconds=50) as channel,
    ):
        job = await create(channel, built)
        waiting_job = await job_now(channel, job.id)
        while (waiting_job.status, waiting_job.attempt) != (pb.TRAINING_JOB_STATUS_QUEUED, 2):
            waiting_job = await job_now(channel, job.id)
        assert waiting_job.waiting.waiting_for == pb.WAITING_FOR_RETRY
        assert waiting_job.waiting.not_before.ToDatetime() > waiting_job.queued_at.ToDatetime()
