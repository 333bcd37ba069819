"""Which trainer gets a job after losses. The dispatcher runs outside the gateway that is watched."""

import asyncio
from contextlib import asynccontextmanager

import grpc
import pytest

from earmark.gateway.app import App
from earmark.gateway.dispatcher.dispatcher import Dispatcher
from earmark.gateway.fleet.trainers import Trainers
from earmark.gateway.quotas import Quotas
from earmark.gateway.settings import GatewaySettings
from earmark.storage.bus import Bus
from earmark.storage.database import Database
from earmark.storage.objects import ObjectStore
from earmark.v1 import training_service_pb2 as pb
from earmark.v1.training_service_pb2_grpc import TrainingServiceStub
from tests.gateway import scripted_trainer as script
from tests.gateway import trainer_fronts
from tests.gateway.jobs import build_one, create, gateway, summaries, until, watched


@asynccontextmanager
async def dispatching(database_url, tmp_path, *addresses: str):
    """Runs a dispatcher inside the block, once all trainers are available; yields the trainers."""
    async with Database(database_url) as database, Bus(database) as bus, Trainers(addresses) as trainers:
        await trainer_fronts.until(trainers, lambda: len(trainers.available()) == len(addresses))
        settings = GatewaySettings(database_url=database_url, data_dir=tmp_path)
        objects = ObjectStore.open(settings.object_store_url)
        quotas = Quotas(database, bus, settings.tenant_limits)
        async with Dispatcher(
            App(settings, database, database, None, bus, objects, trainers, None, quotas, None, None)
        ):
            yield trainers


async def test_a_bad_trainer_does_not_use_up_a_jobs_attempts_while_another_is_available(
    database_url, tmp_path
) -> None:
    async def dies(call):
        yield script.accepted()
        await script.fail(call, grpc.StatusCode.UNAVAILABLE, "TRAINER_LOST", "out of memory")

    built = await build_one(database_url)
    bad, good = script.ScriptedTrainer(dies, dies, dies), script.ScriptedTrainer(script.whole)
    async with (
        script.serving(bad) as first,
        script.serving(good) as second,
        dispatching(database_url, tmp_path, first, second),
        gateway(database_url, tmp_path) as channel,
    ):
        job = await create(channel, built)
        assert summaries(await watched(channel, job.id))[-1] == "completed"
        assert (len(bad.calls), len(good.calls)) == (1, 1)


@pytest.mark.parametrize(("status", "losses"), [("completed", 0), ("failed", 0), ("cancelled", 1)])
async def test_an_attempt_that_is_not_lost_resets_the_trainers_losses_in_a_row(
    database_url, tmp_path, status, losses
) -> None:
    before = []

    async def dies(call):
        yield script.accepted()
        await script.fail(call, grpc.StatusCode.UNAVAILABLE, "TRAINER_LOST", "out of memory")

    async def ends(call):
        before.extend(trainer.cool_down.losses for trainer in trainers.available())
        if status == "failed":
            await script.fail(call, grpc.StatusCode.FAILED_PRECONDITION, "LOSS_NOT_FINITE", "and why")
        yield script.accepted()
        yield script.epoch(1)
        if status == "cancelled":
            await asyncio.Event().wait()
        yield script.completed()

    built = await build_one(database_url)
    async with (
        script.serving(script.ScriptedTrainer(dies, ends)) as address,
        dispatching(database_url, tmp_path, address) as trainers,
        gateway(database_url, tmp_path) as channel,
    ):
        job = await create(channel, built)
        if status == "cancelled":
            await until(channel, job.id, "epoch_completed")
            request = pb.CancelTrainingJobRequest(training_job_id=job.id)
            await TrainingServiceStub(channel).CancelTrainingJob(request)
        assert summaries(await watched(channel, job.id))[-1] == status
        assert before == [1]
        assert [trainer.cool_down.losses for trainer in trainers.available()] == [losses]
