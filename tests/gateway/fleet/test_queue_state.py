"""A queued job reports its place among its tenant's jobs and why it waits."""

import asyncio
from datetime import UTC, datetime

import grpc
import pytest

from earmark.gateway.fleet.queue_state import Slots, queue_state
from earmark.storage.records import QueuePlace
from earmark.v1 import training_service_pb2 as pb
from tests.gateway import scripted_trainer as script
from tests.gateway.jobs import build_one, create, gateway, job_now, until

LATER = datetime(2026, 5, 4, 12, 30, 15, tzinfo=UTC)


def place(own: int = 1, overall: int = 1, turn: int = 1, **fields) -> QueuePlace:
    return QueuePlace(
        own, overall, turn, **{"not_before": None, "is_due": True, "files_by_frontend": {"3": 5}} | fields
    )


@pytest.mark.parametrize(
    ("place", "slots", "limit", "reason", "message"),
    [
        (
            place(not_before=LATER, is_due=False),
            Slots(1, 1, 1, {"3"}),
            None,
            "backoff",
            "may begin at 12:30:15 UTC",
        ),
        (place(), Slots(0, 0, 0, {"3"}), None, "no_trainer", "no trainer answers"),
        (place(), Slots(2, 0, 0, {"3"}), None, "no_trainer", "no trainer has a training slot yet"),
        (place(turn=3), Slots(1, 4, 2, {"3"}), 2, "tenant_limit", "2 of your jobs may train"),
        (place(1, 3), Slots(2, 2, 1, {"3"}), None, "no_free_slot", "goes to a job that comes first"),
        (place(2, 3), Slots(2, 2, 0, {"3"}), None, "no_free_slot", "; 1 of these is yours"),
        (place(3, 9), Slots(2, 2, 0, {"3"}), None, "no_free_slot", "; 2 of these are yours"),
        (
            place(files_by_frontend={"2": 4, "3": 1}),
            Slots(1, 1, 0, {"3"}),
            None,
            "features",
            "of 4 of its files",
        ),
        (place(files_by_frontend={"2": 4, "3": 1}), Slots(2, 2, 2, {"2", "3"}), None, "features", "of 1 of"),
        (place(files_by_frontend={"2": 4}), Slots(2, 2, 2, {"2", "3"}), None, "starting", "about to"),
        (place(turn=2, not_before=LATER), Slots(2, 2, 1, {"3"}), 2, "starting", "about to"),
    ],
)
def test_the_reason_is_the_first_condition_that_must_change(place, slots, limit, reason, message) -> None:
    state = queue_state(place, slots, limit)
    assert (state.place, state.reason) == (place.place, reason)
    assert message in state.message
    assert (state.not_before is None) == (reason != "backoff")


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
        assert not (await job_now(channel, first.id)).HasField("queue_state")
        second = await create(channel, built)
        await until(channel, second.id, "queued")
        waits = (await job_now(channel, second.id)).queue_state
        assert (waits.place, waits.reason) == (1, pb.WAIT_REASON_NO_FREE_SLOT)
        finish.set()
        await until(channel, second.id, "completed")


async def test_without_a_trainer_the_reason_names_no_address(database_url, tmp_path) -> None:
    built = await build_one(database_url)
    async with gateway(database_url, tmp_path, "127.0.0.1:1") as channel:
        job = await create(channel, built)
        await until(channel, job.id, "queued")
        waits = (await job_now(channel, job.id)).queue_state
        assert (waits.place, waits.reason) == (1, pb.WAIT_REASON_NO_TRAINER)
        assert "127.0.0.1" not in waits.message


async def test_after_losses_in_a_row_the_reason_names_the_time_of_the_retry(database_url, tmp_path) -> None:
    async def dies(call):
        yield script.accepted()
        await script.fail(call, grpc.StatusCode.UNAVAILABLE, "TRAINER_LOST", "out of memory")

    built = await build_one(database_url)
    trainer = script.ScriptedTrainer(dies, dies)
    async with (
        script.serving(trainer) as address,
        gateway(database_url, tmp_path, address, retry_seconds=3) as channel,
    ):
        job = await create(channel, built)
        waiting_job = await job_now(channel, job.id)
        while (waiting_job.status, waiting_job.attempt) != (pb.TRAINING_JOB_STATUS_QUEUED, 2):
            waiting_job = await job_now(channel, job.id)
        assert waiting_job.queue_state.reason == pb.WAIT_REASON_BACKOFF
        assert waiting_job.queue_state.not_before.ToDatetime() > waiting_job.queued_at.ToDatetime()
