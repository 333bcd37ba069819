"""GetCapacity: what the gateway sees of its trainers, and the caller's jobs."""

import asyncio

from earmark.v1 import training_service_pb2 as pb
from earmark.v1.training_service_pb2_grpc import TrainingServiceStub

from tests.gateway import scripted_trainer as script
from tests.gateway.calls import opened
from tests.gateway.jobs import build_one, create, until


async def capacity(channel) -> pb.GetCapacityResponse:
    return await TrainingServiceStub(channel).GetCapacity(pb.GetCapacityRequest())


async def holds(_call):
    yield script.accepted()
    await asyncio.Event().wait()


async def test_without_trainers_and_jobs_there_is_nothing(gateway) -> None:
    assert await capacity(gateway.channel) == pb.GetCapacityResponse()


async def test_trainers_are_told_in_order_of_address_and_those_away_with_the_reason(
    database_url, tmp_path
) -> None:
    built = await build_one(database_url)
    async with script.serving(script.ScriptedTrainer(holds, slots=3)) as address:
        trainers = f"localhost:1,{address}"
        async with opened(database_url, tmp_path, trainers=trainers, stop_grace_seconds=0) as gateway:
            job = await create(gateway.channel, built)
            await until(gateway.channel, job.id, "notice")
            here, away = (await capacity(gateway.channel)).trainers
            while here.free_training_slots == here.training_slots:
                here, away = (await capacity(gateway.channel)).trainers
    assert here.HasField("seen_at")
    here.ClearField("seen_at")
    assert here == pb.TrainerStatus(
        address=address, is_available=True, device="cpu", training_slots=3, free_training_slots=2
    )
    assert away.problem
    away.ClearField("problem")
    assert away == pb.TrainerStatus(address="localhost:1")


async def test_jobs_that_wait_and_that_train_are_counted_for_the_callers_tenant_alone(
    database_url, tmp_path
) -> None:
    built = await build_one(database_url)
    trainer = script.ScriptedTrainer(holds)
    async with (
        script.serving(trainer) as address,
        opened(database_url, tmp_path, trainers=address, stop_grace_seconds=0) as gateway,
    ):
        running, *waiting, over, others = [await create(gateway.channel, built) for _ in range(5)]
        await until(gateway.channel, running.id, "notice")
        for job in (*waiting, others):
            await until(gateway.channel, job.id, "queued")
        await TrainingServiceStub(gateway.channel).CancelTrainingJob(
            pb.CancelTrainingJobRequest(training_job_id=over.id)
        )
        await gateway.execute("UPDATE training_jobs SET tenant_id = 'other' WHERE id = $1", others.id)
        seen = await capacity(gateway.channel)
        assert (seen.waiting_jobs, seen.training_jobs) == (2, 1)
