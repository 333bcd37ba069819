"""With a new front end, features are computed again, and jobs wait for them. Its version here is made up."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from earmark.internal.v1 import trainer_service_pb2 as trainer_pb
from earmark.storage.database import Database
from earmark.storage.queries import audio
from earmark.v1 import admin_service_pb2, audio_service_pb2
from earmark.v1 import training_service_pb2 as pb
from earmark.v1.admin_service_pb2_grpc import AdminServiceStub
from earmark.v1.audio_service_pb2_grpc import AudioServiceStub
from tests.gateway import rows
from tests.gateway import scripted_trainer as script
from tests.gateway.jobs import create, gateway, job_now, until

OLD, NEW = "2", "3"
# Neither a renewal of a lease nor its end may be what ends the work.
LEASE_SECONDS = 300
SECONDS = 60


class Trainer(script.ScriptedTrainer):
    """Has the front end `version`. Computes features once `may_finish` is set; the first `failures` fail."""

    def __init__(self, version: str, *scripts: script.Script, failures: int = 0) -> None:
        super().__init__(*scripts)
        self.version = version
        self.requests: list[trainer_pb.ProcessAudioRequest] = []
        self.began, self.may_finish, self.ended = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._failures = failures

    async def WatchCapacity(self, request, context):
        async for response in super().WatchCapacity(request, context):
            response.capacity.MergeFrom(
                trainer_pb.Capacity(audio_slots=3, free_audio_slots=3, frontend=self.version)
            )
            yield response

    async def ProcessAudio(self, request, _context):
        self.requests.append(request)
        try:
            yield trainer_pb.ProcessAudioResponse(normalizing={})
            self.began.set()
            await self.may_finish.wait()
            if len(self.requests) <= self._failures:
                yield trainer_pb.ProcessAudioResponse(failed={"error_message": "the audio is damaged"})
                return
            yield trainer_pb.ProcessAudioResponse(embedding={"duration_ms": 1, "sample_rate_hz": 1})
            yield trainer_pb.ProcessAudioResponse(ready={"frontend": self.version})
        finally:
            self.ended.set()


async def build(database_url, *frontends: str, files: int = 3) -> rows.Built:
    async with Database(database_url) as database, database.transaction() as connection:
        return await rows.dataset(connection, files=files, frontends=frontends)


async def stored(database_url) -> list[tuple[str, str, int, int]]:
    """The status, the front end, the revision and the duration of every file."""
    columns = "processing_status, frontend, revision, duration_ms"
    async with Database(database_url) as database, database.connection() as connection:
        return [
            tuple(row) for row in await connection.fetch(f"SELECT {columns} FROM audio_files ORDER BY id")
        ]


async def outdated(channel) -> tuple[int, int]:
    reply = await AdminServiceStub(channel).GetCapacity(admin_service_pb2.GetCapacityRequest())
    return reply.outdated_files, reply.failing_outdated_files


async def until_outdated(channel, files: int, failing: int) -> None:
    while await outdated(channel) != (files, failing):
        pass


async def test_features_are_computed_again_from_the_stored_audio_and_then_the_job_trains(
    database_url, tmp_path
) -> None:
    built = await build(database_url, OLD)
    before = await stored(database_url)
    trainer = Trainer(NEW, script.whole)
    async with (
        asyncio.timeout(SECONDS),
        script.serving(trainer) as address,
        gateway(database_url, tmp_path, address, lease_seconds=LEASE_SECONDS) as channel,
    ):
        await trainer.began.wait()
        job = await create(channel, built)
        await until(channel, job.id, "queued")
        waits = (await job_now(channel, job.id)).queue_state
        assert waits.reason == pb.WAIT_REASON_FEATURES
        assert "the features of 3 of its files are of another front end" in waits.message
        assert await outdated(channel) == (3, 0)
        assert await stored(database_url) == before

        trainer.may_finish.set()
        await until(channel, job.id, "completed")
        assert await outdated(channel) == (0, 0)
    assert {file.audio_file_id for file in trainer.calls[0].files} == set(map(str, built.audio_file_ids))
    assert await stored(database_url) == [(s, NEW, revision, ms) for s, _old, revision, ms in before]
    assert sorted((r.source, r.audio, r.features) for r in trainer.requests) == [
        (f"default/audio/{file}/normalized.flac", "", f"default/audio/{file}/features")
        for file in sorted(built.audio_file_ids)
    ]


async def test_while_the_trainers_differ_nothing_is_computed_and_each_trains_on_its_own_features(
    database_url, tmp_path
) -> None:
    of_old, mixed = await build(database_url, OLD), await build(database_url, OLD, NEW, files=4)
    old, new = Trainer(OLD, script.whole), Trainer(NEW, script.whole)
    for trainer in (old, new):
        trainer.may_finish.set()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(asyncio.timeout(SECONDS))
        new_address = await stack.enter_async_context(script.serving(new))
        old_stack = await stack.enter_async_context(AsyncExitStack())
        addresses = f"{new_address},{await old_stack.enter_async_context(script.serving(old))}"
        channel = await stack.enter_async_context(
            gateway(database_url, tmp_path, addresses, lease_seconds=LEASE_SECONDS)
        )
        first = await create(channel, of_old)
        await until(channel, first.id, "completed")
        waiting = await create(channel, mixed)
        await until(channel, waiting.id, "queued")
        waits = (await job_now(channel, waiting.id)).queue_state
        assert (waits.reason, "the features of 2 of" in waits.message) == (pb.WAIT_REASON_FEATURES, True)
        assert await outdated(channel) == (0, 0)
        assert (len(old.calls), new.calls, old.requests, new.requests) == (1, [], [], [])

        await old_stack.aclose()
        await until(channel, waiting.id, "completed")
    assert len(new.calls[0].files) == 4
    assert {frontend for _status, frontend, *_ in await stored(database_url)} == {NEW}


async def test_a_failure_is_visible_and_tried_again_with_the_upload_and_the_file_stays_ready(
    database_url, tmp_path
) -> None:
    (file_id,) = (await build(database_url, OLD, files=1)).audio_file_ids
    trainer = Trainer(NEW, failures=1)
    trainer.may_finish.set()
    async with (
        asyncio.timeout(SECONDS),
        script.serving(trainer) as address,
        gateway(database_url, tmp_path, address, lease_seconds=LEASE_SECONDS, retry_seconds=300) as channel,
    ):
        await until_outdated(channel, 1, 1)
        assert (await stored(database_url))[0][:2] == ("ready", OLD)
        async with Database(database_url) as database, database.connection() as connection:
            await connection.execute("UPDATE audio_files SET lease_until = now()")
        await until_outdated(channel, 0, 0)
    assert (await stored(database_url))[0][:2] == ("ready", NEW)
    assert [request.source for request in trainer.requests] == [
        f"default/audio/{file_id}/normalized.flac",
        f"default/audio/{file_id}/source",
    ]


async def test_the_deletion_of_a_file_ends_the_computation_of_its_features(database_url, tmp_path) -> None:
    (file_id,) = (await build(database_url, OLD, files=1)).audio_file_ids
    trainer = Trainer(NEW)
    async with (
        asyncio.timeout(SECONDS),
        script.serving(trainer) as address,
        gateway(database_url, tmp_path, address, lease_seconds=LEASE_SECONDS) as channel,
    ):
        await trainer.began.wait()
        request = audio_service_pb2.DeleteAudioFileRequest(audio_file_id=str(file_id), force=True)
        await AudioServiceStub(channel).DeleteAudioFile(request)
        await trainer.ended.wait()


@pytest.mark.parametrize(("status", "claimed"), [("training", 0), ("queued", 3)])
async def test_features_that_a_job_in_training_may_read_stay(database_url, status, claimed) -> None:
    built = await build(database_url, OLD)
    async with Database(database_url) as database, database.transaction() as connection:
        await connection.execute(
            "INSERT INTO training_jobs (id, tenant_id, dataset_id, annotation_set_id, config, metadata,"
            " status, total_epochs, lease_until) VALUES (gen_random_uuid(), $1, $2, $3, '{}', '{}', $4, 1,"
            " CASE WHEN $4 = 'training' THEN now() END)",
            *(rows.TENANT, built.dataset_id, built.annotation_set_id, status),
        )
        files = await audio.claim_outdated(connection, NEW, 9, LEASE_SECONDS)
    assert len(files) == claimed


async def test_only_the_current_attempt_changes_the_front_end(database_url) -> None:
    await build(database_url, OLD, files=1)
    async with Database(database_url) as database, database.connection() as connection:
        (first,) = await audio.claim_outdated(connection, NEW, 9, 0)
        (second,) = await audio.claim_outdated(connection, NEW, 9, LEASE_SECONDS)
        assert not await audio.claim_outdated(connection, NEW, 9, LEASE_SECONDS)
        assert not await audio.update_features(connection, first.id, first.attempt, NEW)
        assert not await audio.fail_outdated(connection, first.id, first.attempt, pause_seconds=0)
        assert not await audio.renew(connection, first.id, first.attempt, LEASE_SECONDS)
        assert await audio.renew(connection, first.id, second.attempt, LEASE_SECONDS)
        assert await audio.update_features(connection, second.id, second.attempt, NEW)
        assert not await audio.renew(connection, second.id, second.attempt, LEASE_SECONDS)
        assert await audio.outdated(connection, NEW) == (0, 0)
