"""A job's attempts: their outcomes, which of them count as losses, and clean stops."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from urllib.parse import urlsplit

import asyncpg
import grpc
from grpc import aio

from earmark.gateway.dispatcher import attempt, dispatcher, retries
from earmark.gateway.dispatcher.outcome import backoff_seconds
from earmark.gateway.server import running
from earmark.gateway.settings import GatewaySettings
from earmark.v1 import training_service_pb2 as pb
from earmark.v1.training_service_pb2_grpc import TrainingServiceStub
from tests.gateway import scripted_trainer as script
from tests.gateway.calls import refused
from tests.gateway.jobs import S, build_one, create, gateway, job_now, summaries, until_epoch, watched


def outcomes(job: pb.TrainingJob) -> list[str]:
    assert [attempt.number for attempt in job.attempts] == list(range(1, job.attempt + 1))
    return [
        pb.TrainingAttemptOutcome.Name(a.outcome).removeprefix("TRAINING_ATTEMPT_OUTCOME_").lower()
        for a in job.attempts
    ]


async def dies(call):
    yield script.accepted()
    await script.fail(call, grpc.StatusCode.UNAVAILABLE, "TRAINER_LOST", "out of memory")


async def dies_after_checkpoint(call):
    yield script.accepted()
    yield script.checkpoint(0, f"{call.job.prefix}/checkpoint-1", step=call.job.attempt)
    await script.fail(call, grpc.StatusCode.UNAVAILABLE, "TRAINER_LOST", "out of memory")


async def stops(call):
    yield script.accepted()
    yield script.checkpoint(1, f"{call.job.prefix}/checkpoint-1", step=1)
    await script.fail(call, grpc.StatusCode.UNAVAILABLE, "STOPPING", "the trainer is stopping")


async def test_a_job_lists_its_attempts(database_url, tmp_path) -> None:
    built = await build_one(database_url)
    trainer = script.ScriptedTrainer(dies, stops, script.whole)
    async with script.serving(trainer) as address, gateway(database_url, tmp_path, address) as channel:
        job = await create(channel, built)
        await watched(channel, job.id)
        done = await job_now(channel, job.id)
        assert outcomes(done) == ["lost", "handed_back", "completed"]
        assert "out of memory" in done.attempts[0].reason
        assert done.attempts[1].reason == "the trainer is stopping"
        assert done.attempts[2].reason == ""
        for earlier, later in zip(done.attempts, done.attempts[1:], strict=False):
            assert (
                earlier.started_at.ToNanoseconds()
                <= earlier.ended_at.ToNanoseconds()
                <= later.started_at.ToNanoseconds()
            )
        listed = await TrainingServiceStub(channel).ListTrainingJobs(pb.ListTrainingJobsRequest())
        assert listed.training_jobs[0].attempts == done.attempts


async def test_no_message_to_a_tenant_names_a_trainers_address(database_url, tmp_path) -> None:
    async def is_cut(call):
        yield script.accepted()
        # As the transport words it if a connection breaks.
        await call.context.abort(grpc.StatusCode.UNAVAILABLE, f"recvmsg: ipv4:{address}: connection reset")

    async def ends(_call):
        yield script.accepted()

    built = await build_one(database_url)
    trainer = script.ScriptedTrainer(dies_after_checkpoint, is_cut, stops, ends, script.whole)
    async with (
        script.serving(trainer) as address,
        gateway(database_url, tmp_path, address, max_attempts=9) as channel,
    ):
        job = await create(channel, built)
        events = await watched(channel, job.id)
        done = await job_now(channel, job.id)
    assert outcomes(done) == ["lost", "lost", "handed_back", "lost", "completed"]
    port = address.rpartition(":")[2]
    assert not [text for text in (str(done), *map(str, events)) if port in text or "127.0.0.1" in text]
    assert done.attempts[1].reason == "its trainer was lost (the connection broke)"


async def test_losses_after_a_new_checkpoint_each_do_not_fail_the_job(database_url, tmp_path) -> None:
    built = await build_one(database_url)
    trainer = script.ScriptedTrainer(*[dies_after_checkpoint] * 5, script.whole)
    async with (
        script.serving(trainer) as address,
        gateway(database_url, tmp_path, address, max_attempts=2) as channel,
    ):
        job = await create(channel, built)
        assert summaries(await watched(channel, job.id))[-1] == "completed"
        assert outcomes(await job_now(channel, job.id)) == ["lost"] * 5 + ["completed"]
    resumed = [call.job.resume_from for call in trainer.calls]
    assert resumed == ["", *(f"default/jobs/{job.id}/attempt-{n}/checkpoint-1" for n in range(1, 6))]


async def test_an_epoch_is_recorded_together_with_its_checkpoint(database_url, tmp_path) -> None:
    async def dies_before_epoch_completed(call):
        yield script.accepted()
        yield script.checkpoint(1, f"{call.job.prefix}/checkpoint-1")
        yield script.epoch(1)
        yield script.checkpoint(2, f"{call.job.prefix}/checkpoint-2")
        await script.fail(call, grpc.StatusCode.UNAVAILABLE, "TRAINER_LOST", "out of memory")

    async def resumes(_call):
        yield script.accepted()
        yield script.epoch(2)
        yield script.completed()

    built = await build_one(database_url)
    trainer = script.ScriptedTrainer(dies_before_epoch_completed, resumes)
    async with script.serving(trainer) as address, gateway(database_url, tmp_path, address) as channel:
        job = await create(channel, built)
        events = await watched(channel, job.id)
    assert trainer.calls[1].job.resume_from == f"default/jobs/{job.id}/attempt-1/checkpoint-1"
    epochs = [e.epoch_completed.epoch for e in events if e.HasField("epoch_completed")]
    assert epochs == [1, 2]


async def test_a_trainer_that_stops_does_not_count_as_lost(database_url, tmp_path) -> None:
    built = await build_one(database_url)
    trainer = script.ScriptedTrainer(*[stops] * 3, script.whole)
    async with (
        script.serving(trainer) as address,
        gateway(database_url, tmp_path, address, max_attempts=1) as channel,
    ):
        job = await create(channel, built)
        events = await watched(channel, job.id)
        assert summaries(events)[-1] == "completed"
        assert not any(event.notice.code == pb.NOTICE_CODE_TRAINER_LOST for event in events)


async def test_a_gateway_that_stops_makes_the_trainer_store_a_checkpoint(database_url, tmp_path) -> None:
    async def hands_back(call):
        yield script.accepted()
        yield script.epoch(1)
        await trainer.handing_back.wait()
        yield script.checkpoint(1, f"{call.job.prefix}/checkpoint-1", step=1)
        await script.fail(call, grpc.StatusCode.UNAVAILABLE, "STOPPING", "as asked")

    built = await build_one(database_url)
    trainer = script.ScriptedTrainer(hands_back, script.whole)
    trainer.hands_back = True
    async with script.serving(trainer) as address:
        async with gateway(database_url, tmp_path, address) as channel:
            job = await create(channel, built)
            await until_epoch(channel, job.id, 1)
        async with gateway(database_url, tmp_path, address, max_attempts=1) as channel:
            assert summaries(await watched(channel, job.id))[-1] == "completed"
            done = await job_now(channel, job.id)
            assert outcomes(done) == ["handed_back", "completed"]
            assert done.attempts[0].reason == "its gateway stopped"
    assert trainer.calls[1].job.resume_from == f"default/jobs/{job.id}/attempt-1/checkpoint-1"


async def test_a_gateway_stops_while_an_attempt_waits_for_the_database(
    database_url, server_url, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(attempt, "LAST_WRITE_SECONDS", 0.2)
    monkeypatch.setattr(dispatcher, "LAST_WRITE_SECONDS", 0.2)
    away, waits = asyncio.Event(), asyncio.Event()
    monkeypatch.setattr(retries.log, "warning", lambda *_, **__: waits.set(), raising=False)

    async def runs(_call):
        yield script.accepted()
        yield script.epoch(1)
        await away.wait()
        yield script.epoch(2)
        await asyncio.Event().wait()

    built = await build_one(database_url)
    trainer = script.ScriptedTrainer(runs, script.whole)
    async with script.serving(trainer) as address:
        async with (
            AsyncExitStack() as stack,
            gateway(database_url, tmp_path, address, stop_grace_seconds=0) as channel,
        ):
            job = await create(channel, built)
            await until_epoch(channel, job.id, 1)
            # It is back when the gateway has stopped.
            await stack.enter_async_context(closed(server_url, database_url))
            away.set()
            await waits.wait()
        await expire_leases(database_url)
        async with gateway(database_url, tmp_path, address) as channel:
            assert summaries(await watched(channel, job.id))[-1] == "completed"


@asynccontextmanager
async def closed(server_url: str, database_url: str) -> AsyncIterator[None]:
    """Inside the block the database has no connections, and accepts none."""
    name = urlsplit(database_url).path.removeprefix("/")
    connection = await asyncpg.connect(server_url)
    await connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    await connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name
    )
    try:
        yield
    finally:
        await connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        await connection.close()


async def expire_leases(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    await connection.execute("UPDATE training_jobs SET lease_until = now() WHERE status = 'training'")
    await connection.close()


async def test_a_gateway_that_stops_ends_its_watches_with_unavailable(database_url, tmp_path) -> None:
    built = await build_one(database_url)
    chosen = GatewaySettings(
        port=0, database_url=database_url, data_dir=tmp_path, heartbeat_seconds=0.05, trainers=""
    )
    async with AsyncExitStack() as stack:
        async with running(chosen) as port:
            address = f"127.0.0.1:{port}"
            channel = await stack.enter_async_context(aio.insecure_channel(address))
            job = await create(channel, built)
            request = pb.WatchTrainingJobRequest(training_job_id=job.id)
            watch = TrainingServiceStub(channel).WatchTrainingJob(request)
            async for response in watch:
                if response.HasField("heartbeat"):
                    break
        refusal = await refused(read_to_end(watch), "UNAVAILABLE", "STOPPING")
        assert "google.rpc.RetryInfo" in refusal.details


async def read_to_end(watch) -> None:
    async for _ in watch:
        pass


def test_the_backoff_grows_with_losses_in_a_row_up_to_a_limit() -> None:
    assert [backoff_seconds(1, losses) for losses in (1, 2, 3, 4, 5, 40)] == [0, 1, 5, 20, 20, 20]
    assert backoff_seconds(0, 3) == 0


async def test_a_job_beyond_the_limit_of_waiting_jobs_is_refused(database_url, tmp_path) -> None:
    built = await build_one(database_url)
    async with gateway(database_url, tmp_path, max_waiting_jobs=2) as channel:
        first, _ = await create(channel, built), await create(channel, built)
        refusal = await refused(create(channel, built), "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED")
        assert dict(refusal.info.metadata) == {"limit": "2", "used": "2"}
        assert refusal.details["google.rpc.RetryInfo"].retry_delay.ToSeconds() == 10
        [violation] = refusal.details["google.rpc.QuotaFailure"].violations
        assert (violation.subject, violation.description) == (
            "tenant/default/waiting_training_jobs",
            refusal.message,
        )
        cancel = pb.CancelTrainingJobRequest(training_job_id=first.id)
        await TrainingServiceStub(channel).CancelTrainingJob(cancel)
        assert (await create(channel, built)).status == S.TRAINING_JOB_STATUS_PENDING


async def test_a_checkpoint_that_cannot_be_removed_does_not_end_the_attempt(database_url, tmp_path) -> None:
    async def checkpoints(call):
        yield script.accepted()
        for number in (1, 2):
            key = f"{call.job.prefix}/checkpoint-{number}"
            # A folder where the object should be: the store refuses to delete it.
            (tmp_path / "objects" / key / "inside").mkdir(parents=True)
            yield script.checkpoint(number, key)
            yield script.epoch(number)
        yield script.completed()

    built = await build_one(database_url)
    trainer = script.ScriptedTrainer(checkpoints)
    async with script.serving(trainer) as address, gateway(database_url, tmp_path, address) as channel:
        job = await create(channel, built)
        assert summaries(await watched(channel, job.id))[-1] == "completed"
        assert outcomes(await job_now(channel, job.id)) == ["completed"]
