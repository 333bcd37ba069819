"""Jobs on trainers: every way in which an attempt can end, and what it records."""

import asyncio
from contextlib import suppress
from datetime import timedelta
from uuid import UUID

import grpc
import pytest

from earmark.storage.database import Database
from earmark.storage.objects import ObjectStore
from earmark.trainer.job import Annotation
from earmark.v1 import model_service_pb2
from earmark.v1 import training_service_pb2 as pb
from earmark.v1.error_reason_pb2 import ErrorReason
from earmark.v1.model_service_pb2_grpc import ModelServiceStub
from earmark.v1.training_service_pb2_grpc import TrainingServiceStub
from tests.gateway import rows
from tests.gateway import scripted_trainer as script
from tests.gateway.jobs import S, build_one, create, gateway, job_now, summaries, until, watched
from tests.records import records


async def test_a_job_completes_with_one_model(database_url, tmp_path) -> None:
    built = await build_one(database_url)
    trainer = script.ScriptedTrainer(script.whole)
    async with script.serving(trainer) as address, gateway(database_url, tmp_path, address) as channel:
        job = await create(channel, built)
        events = await watched(channel, job.id)
        assert summaries(events) == [
            *("pending", "queued", "training", "notice", "epoch_completed", "epoch_completed"),
            *("model_created", "completed"),
        ]
        assert [e.revision for e in events] == list(range(1, len(events) + 1))
        done = await job_now(channel, job.id)
        assert done.status == S.TRAINING_JOB_STATUS_COMPLETED
        assert (done.progress, done.current_epoch, done.attempt) == (1, 2, 1)
        assert done.revision == events[-1].revision
        assert done.metrics.overall.support == 5  # the model's metrics, not those of the last epoch
        assert done.HasField("started_at")
        assert done.HasField("finished_at")
        assert not done.HasField("eta")
        models = await ModelServiceStub(channel).ListModels(model_service_pb2.ListModelsRequest())
        assert [m.id for m in models.models] == [done.model_id] == [events[-2].model_created.model_id]
        assert models.models[0].training_job_id == job.id
        assert not models.models[0].is_active
        assert models.models[0].recommended_thresholds == {"glitch": 0.4}
        assert models.models[0].merge_windows_ms == {"glitch": 30}
        assert models.models[0].min_durations_ms == {"glitch": 0}


async def test_the_trainer_is_sent_the_whole_job(database_url, tmp_path) -> None:
    built = await build_one(database_url)
    async with Database(database_url) as database, database.transaction() as connection:
        await connection.execute("UPDATE annotations SET channel = 0")
        grouped = "UPDATE audio_files SET \"group\" = 'Ana' WHERE id = ANY ($1)"
        await connection.execute(grouped, built.audio_file_ids[:2])
    trainer = script.ScriptedTrainer(script.whole)
    async with script.serving(trainer) as address, gateway(database_url, tmp_path, address) as channel:
        job = await create(channel, built)
        await watched(channel, job.id)
    sent = trainer.calls[0]
    assert (sent.job.training_job_id, sent.job.attempt, sent.job.resume_from) == (job.id, 1, "")
    assert sent.job.prefix == f"default/jobs/{job.id}/attempt-1"
    assert (sent.job.config.epochs, sent.job.config.batch_size, sent.job.config.seed) == (2, 32, 7)
    assert [UUID(f.audio_file_id) for f in sent.files] == sorted(built.audio_file_ids)
    for file in sent.files:
        assert file.features == f"default/audio/{file.audio_file_id}/features"
        assert file.duration_ms == 2 * rows.MINUTE_MS
        # Only annotations of the job's type; the file has another.
        assert file.annotations == records([Annotation("glitch", 100, 300, 0.75, 0)], ["glitch"])
    groups = {UUID(file.audio_file_id): file.group for file in sent.files}
    assert [groups[file_id] for file_id in built.audio_file_ids] == ["Ana", "Ana", ""]


@pytest.mark.parametrize(
    ("reason", "stored"),
    [
        *((name, name) for name in ("LOSS_NOT_FINITE", "NO_TRAINING_DATA", "BASE_MODEL_UNUSABLE")),
        ("A_REASON_OF_A_NEWER_TRAINER", "TRAINING_CRASHED"),
    ],
)
async def test_a_job_that_cannot_complete_fails_with_a_reason_and_is_not_retried(
    database_url, tmp_path, reason, stored
) -> None:
    async def broken(call):
        yield script.accepted()
        await script.fail(call, grpc.StatusCode.FAILED_PRECONDITION, reason, "epoch 3, step 7: and why")

    built = await build_one(database_url)
    trainer = script.ScriptedTrainer(broken)
    async with script.serving(trainer) as address, gateway(database_url, tmp_path, address) as channel:
        job = await create(channel, built)
        events = await watched(channel, job.id)
        assert summaries(events)[-1] == "failed"
        done = await job_now(channel, job.id)
        assert ErrorReason.Name(done.error.reason) == f"ERROR_REASON_{stored}"
        assert (done.error.message, done.model_id) == ("epoch 3, step 7: and why", "")


async def test_after_a_lost_trainer_the_next_attempt_resumes_from_the_checkpoint(
    database_url, tmp_path
) -> None:
    objects = ObjectStore.open(str(tmp_path / "objects"))

    async def dies(call):
        yield script.accepted()
        objects.put(f"{call.job.prefix}/checkpoint-1", b"state")
        objects.put(f"{call.job.prefix}/model.json", b"kept")
        yield script.checkpoint(1, f"{call.job.prefix}/checkpoint-1")
        yield script.epoch(1)
        await script.fail(call, grpc.StatusCode.UNAVAILABLE, "TRAINER_LOST", "the worker was killed")

    built = await build_one(database_url)
    trainer = script.ScriptedTrainer(dies, script.whole)
    async with script.serving(trainer) as address, gateway(database_url, tmp_path, address) as channel:
        job = await create(channel, built)
        events = await watched(channel, job.id)
        assert summaries(events).count("training") == 2
        lost = next(e for e in events if e.notice.code == pb.NOTICE_CODE_TRAINER_LOST)
        assert "the worker was killed" in lost.notice.message
        assert [e.revision for e in events] == list(range(1, len(events) + 1))
        assert [e.attempt for e in events] == sorted(e.attempt for e in events)
        done = await job_now(channel, job.id)
        assert (done.status, done.attempt) == (S.TRAINING_JOB_STATUS_COMPLETED, 2)
    assert trainer.calls[1].job.resume_from == f"default/jobs/{job.id}/attempt-1/checkpoint-1"
    assert trainer.calls[1].job.prefix == f"default/jobs/{job.id}/attempt-2"
    assert trainer.calls[1].files == trainer.calls[0].files
    # The checkpoints of a finished job are removed.
    assert list(objects.keys("default/jobs")) == [f"default/jobs/{job.id}/attempt-1/model.json"]


async def test_a_job_that_is_lost_fails_only_once_its_trainer_has_completed_another(
    database_url, tmp_path
) -> None:
    async def lost_by_seed(call):
        yield script.accepted()
        if call.job.config.seed == 1:
            await script.fail(call, grpc.StatusCode.UNAVAILABLE, "TRAINER_LOST", "out of memory")
        yield script.epoch(1)
        yield script.completed()

    built = await build_one(database_url)
    trainer = script.ScriptedTrainer(*[lost_by_seed] * 20)
    async with (
        script.serving(trainer) as address,
        gateway(database_url, tmp_path, address, max_attempts=2, retry_seconds=0.1) as channel,
    ):
        job = await create(channel, built, seed=1)
        # The trainer may be ill: the job waits for a healthy one, however often it is lost.
        await until_lost(channel, job.id, 4)
        other = await create(channel, built, seed=2)
        assert summaries(await watched(channel, other.id))[-1] == "completed"
        assert summaries(await watched(channel, job.id))[-1] == "failed"
        done = await job_now(channel, job.id)
        assert done.error.reason == ErrorReason.ERROR_REASON_TRAINER_LOST
        assert f"lost {done.attempt} times" in done.error.message
        assert "out of memory" in done.error.message


async def until_lost(channel, job_id: str, times: int) -> None:
    """Waits until the job has lost its trainer so many times."""
    call = TrainingServiceStub(channel).WatchTrainingJob(pb.WatchTrainingJobRequest(training_job_id=job_id))
    while times:
        response = await call.read()
        times -= response.event.notice.code == pb.NOTICE_CODE_TRAINER_LOST
    call.cancel()


async def test_a_job_waits_for_a_trainer_that_is_well_and_nothing_is_counted(database_url, tmp_path) -> None:
    async def ill(call):
        yield script.accepted()
        await script.fail(
            call, grpc.StatusCode.UNAVAILABLE, "OBJECT_STORE_UNAVAILABLE", "10.0.0.7 has no bucket"
        )

    built = await build_one(database_url)
    trainer = script.ScriptedTrainer(ill, ill, ill, script.whole)
    async with (
        script.serving(trainer) as address,
        gateway(database_url, tmp_path, address, max_attempts=1) as channel,
    ):
        job = await create(channel, built)
        events = await watched(channel, job.id)
        assert summaries(events)[-1] == "completed"
        assert not any(event.notice.code == pb.NOTICE_CODE_TRAINER_LOST for event in events)
        assert "10.0.0.7" not in str(events)
        attempts = (await job_now(channel, job.id)).attempts
        reason = "its trainer is not well (OBJECT_STORE_UNAVAILABLE)"
        assert [attempt.reason for attempt in attempts] == [*[reason] * 3, ""]


async def test_a_trainer_without_a_free_slot_does_not_count_as_lost(database_url, tmp_path) -> None:
    async def full(call):
        await script.fail(call, grpc.StatusCode.RESOURCE_EXHAUSTED, "NO_FREE_SLOT", "no slot is free")
        yield  # makes this a generator

    built = await build_one(database_url)
    trainer = script.ScriptedTrainer(full, full, full, full, script.whole)
    async with (
        script.serving(trainer) as address,
        gateway(database_url, tmp_path, address, max_attempts=1) as channel,
    ):
        job = await create(channel, built)
        assert summaries(await watched(channel, job.id))[-1] == "completed"


async def test_a_silent_trainer_counts_as_lost(database_url, tmp_path) -> None:
    async def hangs(_call):
        yield script.accepted()
        await asyncio.Event().wait()

    built = await build_one(database_url)
    trainer = script.ScriptedTrainer(hangs, script.whole)
    async with (
        script.serving(trainer) as address,
        gateway(database_url, tmp_path, address, trainer_silence_seconds=0.3) as channel,
    ):
        job = await create(channel, built)
        events = await watched(channel, job.id)
        assert summaries(events)[-1] == "completed"
        assert any("silent for 0.3 s" in e.notice.message for e in events)
        assert trainer.cancelled.is_set()


async def test_a_trainer_is_not_silent_while_its_event_waits_for_the_database(database_url, tmp_path) -> None:
    is_locked = asyncio.Event()

    async def waits_for_lock(_call):
        yield script.accepted()
        await is_locked.wait()
        yield script.epoch(1)
        yield script.completed()

    built = await build_one(database_url)
    trainer = script.ScriptedTrainer(waits_for_lock)
    async with (
        script.serving(trainer) as address,
        gateway(database_url, tmp_path, address, trainer_silence_seconds=0.3) as channel,
        Database(database_url) as database,
    ):
        job = await create(channel, built)
        await until(channel, job.id, "notice")
        async with database.transaction() as connection:
            await connection.execute("LOCK TABLE events IN SHARE ROW EXCLUSIVE MODE")
            is_locked.set()
            with suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await trainer.cancelled.wait()
        assert summaries(await watched(channel, job.id))[-1] == "completed"
        assert (await job_now(channel, job.id)).attempt == 1


async def test_cancelling_a_running_job_cancels_the_call_and_ends_the_job(database_url, tmp_path) -> None:
    async def runs(_call):
        yield script.accepted()
        yield script.epoch(1)
        await asyncio.Event().wait()

    built = await build_one(database_url)
    trainer = script.ScriptedTrainer(runs)
    async with script.serving(trainer) as address, gateway(database_url, tmp_path, address) as channel:
        job = await create(channel, built)
        await until(channel, job.id, "epoch_completed")
        request = pb.CancelTrainingJobRequest(training_job_id=job.id)
        await TrainingServiceStub(channel).CancelTrainingJob(request)
        assert summaries(await watched(channel, job.id))[-1] == "cancelled"
        await trainer.cancelled.wait()
        again = await TrainingServiceStub(channel).CancelTrainingJob(request)
        assert again.training_job.status == S.TRAINING_JOB_STATUS_CANCELLED


async def test_a_gateway_that_stops_hands_its_job_back_at_once(database_url, tmp_path) -> None:
    async def runs(_call):
        yield script.accepted()
        await asyncio.Event().wait()

    built = await build_one(database_url)
    trainer = script.ScriptedTrainer(runs, script.whole)
    async with script.serving(trainer) as address:
        async with gateway(database_url, tmp_path, address, stop_grace_seconds=0) as channel:
            job = await create(channel, built)
            await until(channel, job.id, "notice")
        async with gateway(database_url, tmp_path, address) as channel:
            assert summaries(await watched(channel, job.id))[-1] == "completed"
            done = await job_now(channel, job.id)
            assert (done.attempt, len(trainer.calls)) == (2, 2)


# A lease in the distant future: the clock has gone back since.
@pytest.mark.parametrize("hours", [-1, 1])
async def test_a_job_whose_gateway_was_lost_is_taken_over_when_its_lease_expires(
    database_url, tmp_path, hours
) -> None:
    built = await build_one(database_url)
    async with gateway(database_url, tmp_path) as channel:
        job = await create(channel, built)
        await until(channel, job.id, "queued")
    # The row that a gateway leaves if it is killed during training.
    async with Database(database_url) as database, database.connection() as connection:
        await connection.execute(
            "UPDATE training_jobs SET status = 'training', attempt = 1,"
            f" lease_until = now() + interval '{hours} hours'"
        )
    trainer = script.ScriptedTrainer(script.whole)
    async with script.serving(trainer) as address, gateway(database_url, tmp_path, address) as channel:
        events = await watched(channel, job.id)
        assert summaries(events)[-1] == "completed"
        assert any("its gateway was lost" in e.status_changed.reason for e in events)


async def test_a_gateway_removes_old_events_of_finished_jobs(database_url, tmp_path) -> None:
    built = await build_one(database_url)
    trainer = script.ScriptedTrainer(*[script.whole] * 2)
    async with script.serving(trainer) as address, gateway(database_url, tmp_path, address) as channel:
        jobs = []
        for _ in range(2):
            jobs.append(await create(channel, built))
            *_, last = await watched(channel, jobs[-1].id)
        old, recent = jobs
    async with Database(database_url) as database, database.connection() as connection:
        await connection.execute("UPDATE events SET time = now() - $1::interval", timedelta(hours=37))
        age = "UPDATE events SET time = now() - $2::interval WHERE resource_id = $1"
        await connection.execute(age, UUID(recent.id), timedelta(hours=35))
    async with gateway(database_url, tmp_path, event_retention_days=1.5) as channel:
        stream = TrainingServiceStub(channel).WatchTrainingJob(
            pb.WatchTrainingJobRequest(training_job_id=old.id, after_revision=last.revision - 1)
        )
        assert [response.event.revision async for response in stream] == [last.revision]
        async with Database(database_url) as database, database.connection() as connection:
            count = "SELECT count(*) FROM events WHERE resource_id = $1"
            while await connection.fetchval(count, UUID(old.id)) > 1:
                pass
            assert await connection.fetchval(count, UUID(recent.id)) == last.revision
        assert [event.revision for event in await watched(channel, recent.id)] == [
            *range(1, last.revision + 1)
        ]


async def test_two_gateways_run_each_job_once(database_url, tmp_path) -> None:
    built = await build_one(database_url)
    first = script.ScriptedTrainer(*[script.whole] * 8)
    second = script.ScriptedTrainer(*[script.whole] * 8)
    async with (
        script.serving(first) as one,
        script.serving(second) as other,
        gateway(database_url, tmp_path, one) as channel,
        gateway(database_url, tmp_path, other) as other_channel,
    ):
        jobs = [await create(c, built) for c in (channel, other_channel) * 4]
        for job in jobs:
            # Watched through one gateway, whichever runs it.
            assert summaries(await watched(other_channel, job.id))[-1] == "completed"
    ran = [call.job.training_job_id for trainer in (first, second) for call in trainer.calls]
    assert sorted(ran) == sorted(job.id for job in jobs)
