"""An attempt's epochs as they are recorded, and the base model that it is sent."""

import asyncio

import grpc

from earmark.storage.database import Database
from earmark.v1 import model_service_pb2
from earmark.v1 import training_service_pb2 as pb
from earmark.v1.model_service_pb2_grpc import ModelServiceStub
from tests.gateway import scripted_trainer as script
from tests.gateway.jobs import (
    S,
    build_one,
    create,
    gateway,
    job_now,
    model_of,
    summaries,
    until_epoch,
    watched,
)


async def test_events_job_and_model_show_the_best_epoch(database_url, tmp_path) -> None:
    finish = asyncio.Event()

    async def best_in_the_middle(_call):
        yield script.accepted()
        yield script.epoch(1)
        yield script.epoch(2)
        yield script.epoch(3, best=2)
        await finish.wait()
        yield script.completed(best=2)

    built = await build_one(database_url)
    trainer = script.ScriptedTrainer(best_in_the_middle)
    async with script.serving(trainer) as address, gateway(database_url, tmp_path, address) as channel:
        job = await create(channel, built, epochs=3)
        assert job.best_epoch == 0
        await until_epoch(channel, job.id, 3)
        running = await job_now(channel, job.id)
        assert (running.current_epoch, running.best_epoch) == (3, 2)
        finish.set()
        events = await watched(channel, job.id)
        assert [
            (e.epoch_completed.epoch, e.epoch_completed.best_epoch)
            for e in events
            if e.HasField("epoch_completed")
        ] == [(1, 1), (2, 2), (3, 2)]
        done = await job_now(channel, job.id)
        assert done.best_epoch == 2
        assert (await model_of(channel, done)).best_epoch == 2


async def test_a_model_says_what_it_was_made_of_also_when_the_files_and_the_set_have_changed(
    database_url, tmp_path
) -> None:
    built = await build_one(database_url)
    trainer = script.ScriptedTrainer(script.whole)
    async with script.serving(trainer) as address, gateway(database_url, tmp_path, address) as channel:
        job = await create(channel, built)
        await watched(channel, job.id)
        async with Database(database_url) as database, database.connection() as connection:
            await connection.execute("DELETE FROM annotations")
            await connection.execute("DELETE FROM audio_files")
        model = await model_of(channel, await job_now(channel, job.id))
    assert (model.dataset_id, model.training_job_id) == (str(built.dataset_id), job.id)
    assert (model.annotation_set_id, model.annotation_set_version) == (str(built.annotation_set_id), 1)
    assert (model.audio_file_count, model.audio_duration_ms) == (3, 360_000)
    assert (model.earmark_version, model.frontend_version) == ("0.2.0", "4")
    assert (model.config.seed, model.config.epochs) == (7, 2)


async def test_a_job_that_stops_early_completes(database_url, tmp_path) -> None:
    async def stops(_call):
        yield script.accepted()
        yield script.epoch(1)
        yield script.epoch(2, best=1)
        yield script.notice("STOPPED_EARLY", "no epoch was better than epoch 1")
        yield script.completed(best=1)

    built = await build_one(database_url)
    trainer = script.ScriptedTrainer(stops)
    async with script.serving(trainer) as address, gateway(database_url, tmp_path, address) as channel:
        job = await create(channel, built, epochs=50, early_stopping_epochs=1)
        events = await watched(channel, job.id)
        assert summaries(events)[-1] == "completed"
        assert [e.notice.message for e in events if e.notice.code == pb.NOTICE_CODE_STOPPED_EARLY] == [
            "no epoch was better than epoch 1"
        ]
        done = await job_now(channel, job.id)
        assert done.status == S.TRAINING_JOB_STATUS_COMPLETED
        assert (done.progress, done.current_epoch, done.total_epochs, done.best_epoch) == (1, 2, 50, 1)
        assert (await model_of(channel, done)).config.early_stopping_epochs == 1
    assert trainer.calls[0].job.config.early_stopping_epochs == 1


async def test_a_new_attempt_has_its_own_best_epoch(database_url, tmp_path) -> None:
    async def dies(call):
        yield script.accepted()
        yield script.epoch(1)
        yield script.epoch(2)
        await script.fail(call, grpc.StatusCode.UNAVAILABLE, "TRAINER_LOST", "the worker was killed")

    async def fails(call):
        yield script.accepted()
        yield script.epoch(1)
        await script.fail(call, grpc.StatusCode.FAILED_PRECONDITION, "TRAINING_CRASHED", "and why")

    built = await build_one(database_url)
    trainer = script.ScriptedTrainer(dies, fails)
    async with script.serving(trainer) as address, gateway(database_url, tmp_path, address) as channel:
        job = await create(channel, built)
        await watched(channel, job.id)
        done = await job_now(channel, job.id)
        assert (done.attempt, done.best_epoch) == (2, 1)


async def test_a_job_without_a_base_model_is_sent_no_base_model(database_url, tmp_path) -> None:
    built = await build_one(database_url)
    trainer = script.ScriptedTrainer(script.whole)
    async with script.serving(trainer) as address, gateway(database_url, tmp_path, address) as channel:
        await watched(channel, (await create(channel, built)).id)
    sent = trainer.calls[0].job
    assert (sent.config.base_model_id, sent.base_weights, sent.base_model_config) == ("", "", "")
    assert sent.base_sha256 == ""


async def test_every_attempt_is_sent_the_base_models_files_even_if_it_was_archived(
    database_url, tmp_path
) -> None:
    async def dies(call):
        yield script.accepted()
        await script.fail(call, grpc.StatusCode.UNAVAILABLE, "TRAINER_LOST", "the worker was killed")

    built = await build_one(database_url)
    trainer = script.ScriptedTrainer(script.whole, dies, script.whole)
    async with script.serving(trainer) as address:
        async with gateway(database_url, tmp_path, address) as channel:
            first = await create(channel, built)
            await watched(channel, first.id)
            base_model_id = (await job_now(channel, first.id)).model_id
        async with gateway(database_url, tmp_path) as channel:
            job = await create(channel, built, base_model_id=base_model_id)
            request = model_service_pb2.DeleteModelRequest(model_id=base_model_id)
            await ModelServiceStub(channel).DeleteModel(request)
        async with gateway(database_url, tmp_path, address) as channel:
            assert summaries(await watched(channel, job.id))[-1] == "completed"
            done = await job_now(channel, job.id)
            assert (await model_of(channel, done)).config.base_model_id == base_model_id
    for call in trainer.calls[1:]:
        assert call.job.config.base_model_id == base_model_id
        assert call.job.base_weights == "default/jobs/x/model.safetensors"
        assert call.job.base_model_config == "default/jobs/x/model.json"
        assert call.job.base_sha256 == "ab"
