"""AdminService: the state of the gateway's trainers, and the numbers of jobs."""

import asyncio
import time

import pytest

from earmark.v1 import admin_service_pb2 as pb
from earmark.v1 import training_service_pb2
from earmark.v1.admin_service_pb2_grpc import AdminServiceStub
from earmark.v1.training_service_pb2_grpc import TrainingServiceStub
from tests.gateway import calls
from tests.gateway import scripted_trainer as script
from tests.gateway.calls import opened
from tests.gateway.jobs import build_one, create, until


async def capacity(channel) -> pb.GetCapacityResponse:
    return await AdminServiceStub(channel).GetCapacity(pb.GetCapacityRequest())


async def trainers(channel) -> list[pb.Trainer]:
    return list((await AdminServiceStub(channel).ListTrainers(pb.ListTrainersRequest())).trainers)


async def never_finishes(_call):
    yield script.accepted()
    await asyncio.Event().wait()


async def test_without_trainers_and_jobs_the_replies_are_empty(gateway) -> None:
    assert await capacity(gateway.channel) == pb.GetCapacityResponse()
    assert await trainers(gateway.channel) == []


async def test_trainers_are_in_order_of_address_and_unavailable_ones_have_a_reason(
    database_url, tmp_path
) -> None:
    built = await build_one(database_url)
    async with script.serving(script.ScriptedTrainer(never_finishes, slots=3)) as address:
        entries = f"localhost:1,{address}"
        async with opened(database_url, tmp_path, trainers=entries, stop_grace_seconds=0) as gateway:
            job = await create(gateway.channel, built)
            await until(gateway.channel, job.id, "notice")
            available, unavailable = await trainers(gateway.channel)
            while available.free_training_slots == available.training_slots:
                available, unavailable = await trainers(gateway.channel)
    assert available.HasField("seen_at")
    available.ClearField("seen_at")
    assert available == pb.Trainer(
        address=address, is_available=True, device="cpu", training_slots=3, free_training_slots=2
    )
    assert unavailable.problem
    unavailable.ClearField("problem")
    assert unavailable == pb.Trainer(address="localhost:1")


async def test_waiting_and_training_jobs_of_all_tenants_and_the_slots_are_counted(
    database_url, tmp_path
) -> None:
    built = await build_one(database_url)
    trainer = script.ScriptedTrainer(never_finishes)
    async with (
        script.serving(trainer) as address,
        opened(database_url, tmp_path, trainers=address, stop_grace_seconds=0) as gateway,
    ):
        running, *waiting, cancelled, other_tenants = [await create(gateway.channel, built) for _ in range(5)]
        await until(gateway.channel, running.id, "notice")
        for job in (*waiting, other_tenants):
            await until(gateway.channel, job.id, "queued")
        await TrainingServiceStub(gateway.channel).CancelTrainingJob(
            training_service_pb2.CancelTrainingJobRequest(training_job_id=cancelled.id)
        )
        await gateway.execute("UPDATE training_jobs SET tenant_id = 'other' WHERE id = $1", other_tenants.id)
        reply = await capacity(gateway.channel)
        while reply.free_training_slots:
            reply = await capacity(gateway.channel)
        assert reply == pb.GetCapacityResponse(waiting_jobs=3, training_jobs=1, training_slots=1)


async def test_a_call_that_keeps_the_event_loop_is_named_and_fails_its_test(
    database_url, tmp_path, monkeypatch
) -> None:
    def busy(_states) -> list:
        until = time.thread_time() + calls.LONGEST_STEP_SECONDS
        while time.thread_time() < until:
            pass
        return []

    monkeypatch.setattr("earmark.gateway.fleet.trainers.Trainers.states", busy)
    load = pb.GetLoadResponse()

    async def run() -> None:
        nonlocal load
        async with opened(database_url, tmp_path) as gateway:
            await trainers(gateway.channel)
            while not load.largest_lag_ms:
                load = await AdminServiceStub(gateway.channel).GetLoad(pb.GetLoadRequest())

    with pytest.raises(AssertionError, match="ListTrainers kept the event loop"):
        await run()
    assert load.longest_step_rpc == "/earmark.v1.AdminService/ListTrainers"
    assert load.longest_step_ms >= 1000 * calls.LONGEST_STEP_SECONDS
