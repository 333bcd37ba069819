"""Deletions for good: what each removes with `force`, and every keeper that it names without."""

import asyncio
from uuid import UUID, uuid4

import pytest

from earmark.v1 import annotation_service_pb2, audio_service_pb2, dataset_service_pb2, model_service_pb2
from earmark.v1 import training_service_pb2 as pb
from earmark.v1.model_service_pb2_grpc import ModelServiceStub
from earmark.v1.training_service_pb2_grpc import TrainingServiceStub
from tests.gateway import model_rows, rows
from tests.gateway.calls import (
    annotate,
    dataset,
    draft,
    finish_processing,
    new_annotation,
    opened,
    publish,
    refused,
    sweep,
    upload,
)
from tests.gateway.driven_jobs import driving

TABLES = (
    *("datasets", "artifact_types", "audio_files", "annotation_sets", "annotations", "training_jobs"),
    *("training_attempts", "models"),
)
# Only a hang lasts this long.
TIMEOUT_SECONDS = 20
FINISH = """
UPDATE training_jobs SET status = 'completed', finished_at = now(), model_id = $2, attempt = 1 WHERE id = $1
"""
CANCELLED = """
INSERT INTO training_jobs
    (id, tenant_id, dataset_id, annotation_set_id, config, metadata, total_epochs, status, finished_at)
VALUES ($1, 'default', $2, $3, '{}', '{}', 1, 'cancelled', now())
"""


class Trained:
    """A dataset of two files with a published set, a completed job and its model, all with objects."""

    def __init__(self, gateway) -> None:
        self.gateway = gateway

    async def build(self) -> "Trained":
        async with self.gateway.database.transaction() as connection:
            model_id = await model_rows.model(connection)
            row = await connection.fetchrow(
                "SELECT j.id, j.dataset_id, j.annotation_set_id, m.weights FROM models m"
                " JOIN training_jobs j ON j.id = m.training_job_id WHERE m.id = $1",
                model_id,
            )
            await connection.execute(FINISH, row["id"], model_id)
            await connection.execute(
                "INSERT INTO training_attempts VALUES ('default', $1, 1, 'x')", row["id"]
            )
            files = await connection.fetch(
                "SELECT id FROM audio_files WHERE dataset_id = $1 ORDER BY id", row["dataset_id"]
            )
        self.model_id, self.job_id = str(model_id), str(row["id"])
        self.dataset_id, self.set_id = str(row["dataset_id"]), str(row["annotation_set_id"])
        self.file_ids = [str(file["id"]) for file in files]
        for key in (*(f"default/audio/{file_id}/source" for file_id in self.file_ids), row["weights"]):
            path = self.gateway.data_dir / "objects" / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x")
        return self

    def delete(self, kind: str, **fields):
        channel = self.gateway.channel
        match kind:
            case "dataset":
                request = dataset_service_pb2.DeleteDatasetRequest(dataset_id=self.dataset_id, **fields)
                return self.gateway.datasets.DeleteDataset(request)
            case "audio_file":
                request = audio_service_pb2.DeleteAudioFileRequest(audio_file_id=self.file_ids[0], **fields)
                return self.gateway.audio.DeleteAudioFile(request)
            case "annotation_set":
                request = annotation_service_pb2.DeleteAnnotationSetRequest(
                    annotation_set_id=self.set_id, **fields
                )
                return self.gateway.annotations.DeleteAnnotationSet(request)
            case "training_job":
                request = pb.DeleteTrainingJobRequest(training_job_id=self.job_id, **fields)
                return TrainingServiceStub(channel).DeleteTrainingJob(request)
            case _:
                request = model_service_pb2.DeleteModelRequest(model_id=self.model_id, **fields)
                return ModelServiceStub(channel).DeleteModel(request)

    async def unfinished_job(self, base_model_id: str = "", dataset_id: str = "", set_id: str = "") -> str:
        request = pb.CreateTrainingJobRequest(
            dataset_id=dataset_id or self.dataset_id,
            annotation_set_id=set_id or self.set_id,
            config={"artifact_types": ["glitch"], "base_model_id": base_model_id},
        )
        return (await TrainingServiceStub(self.gateway.channel).CreateTrainingJob(request)).training_job.id

    async def rows(self) -> dict[str, int]:
        counts = {table: await self.gateway.count(table) for table in TABLES}
        return {table: count for table, count in counts.items() if count}


@pytest.fixture
async def trained(gateway) -> Trained:
    return await Trained(gateway).build()


ALL = {"dataset": 1, "audio_file": 3, "annotation_set": 1, "annotation": 3, "training_job": 1, "model": 1}


@pytest.mark.parametrize(
    ("kind", "keepers", "deleted"),
    [
        ("dataset", ("annotation_set", "training_job", "model"), ALL),
        (
            "annotation_set",
            ("annotation_set", "training_job", "model"),
            {kind: ALL[kind] for kind in ("annotation_set", "annotation", "training_job", "model")},
        ),
        ("training_job", ("model",), {"training_job": 1, "model": 1}),
        ("audio_file", ("annotation_set",), {"audio_file": 1, "annotation": 1}),
    ],
)
async def test_without_force_every_keeper_is_named_and_with_force_all_is_deleted_and_counted(
    trained, kind, keepers, deleted
) -> None:
    other = await Trained(trained.gateway).build()
    before = await trained.rows()
    refusal = await refused(trained.delete(kind), "FAILED_PRECONDITION", "IN_USE")
    ids = {"annotation_set": trained.set_id, "training_job": trained.job_id, "model": trained.model_id}
    assert [violation[:2] for violation in refusal.violations] == [
        ("IN_USE", f"{keeper}/{ids[keeper]}") for keeper in keepers
    ]
    assert await trained.rows() == before
    assert dict((await trained.delete(kind, force=True)).deleted_counts) == deleted
    left = await trained.rows()
    for resource, number in deleted.items():
        assert before[f"{resource}s"] - left[f"{resource}s"] == number
    # Nothing of another dataset is gone.
    assert (await other.delete("dataset", force=True)).deleted_counts == ALL


async def test_the_objects_of_a_deleted_dataset_are_removed_by_the_sweep_and_not_by_the_call(trained) -> None:
    before = trained.gateway.objects()
    assert len(before) == 4
    await trained.delete("dataset", force=True)
    assert trained.gateway.objects() == before
    await sweep(trained.gateway)
    assert trained.gateway.objects() == []
    assert await trained.rows() == {}


async def test_a_published_set_loses_the_annotations_of_a_deleted_file_and_is_counted_again(trained) -> None:
    async def get() -> annotation_service_pb2.AnnotationSet:
        request = annotation_service_pb2.GetAnnotationSetRequest(annotation_set_id=trained.set_id)
        return (await trained.gateway.annotations.GetAnnotationSet(request)).annotation_set

    before = await get()
    await trained.delete("audio_file", force=True)
    after = await get()
    assert (before.total_annotations, after.total_annotations) == (3, 2)
    assert after.total_positive_duration_ms == 400
    assert after.status == before.status == annotation_service_pb2.ANNOTATION_SET_STATUS_PUBLISHED
    assert after.etag != before.etag


async def test_a_model_is_archived_without_force_and_deleted_for_good_with_it(trained) -> None:
    models = ModelServiceStub(trained.gateway.channel)
    assert dict((await trained.delete("model")).deleted_counts) == {}
    assert await trained.gateway.count("models") == 1
    assert dict((await trained.delete("model", force=True)).deleted_counts) == {"model": 1}
    call = models.UndeleteModel(model_service_pb2.UndeleteModelRequest(model_id=trained.model_id))
    await refused(call, "NOT_FOUND", "NOT_FOUND")
    # The weights go once the job has been finished for some hours.
    await sweep(trained.gateway)
    assert len(trained.gateway.objects()) == 4
    await trained.gateway.execute("UPDATE training_jobs SET finished_at = now() - interval '7 hours'")
    await sweep(trained.gateway)
    assert len(trained.gateway.objects()) == 3
    job = (
        await TrainingServiceStub(trained.gateway.channel).GetTrainingJob(
            pb.GetTrainingJobRequest(training_job_id=trained.job_id)
        )
    ).training_job
    assert job.model_id == trained.model_id


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("kind", ["dataset", "annotation_set", "audio_file"])
async def test_an_unfinished_job_prevents_the_deletion_of_what_it_uses(trained, kind, force) -> None:
    job_id = await trained.unfinished_job()
    before = await trained.rows()
    refusal = await refused(trained.delete(kind, force=force), "FAILED_PRECONDITION", "IN_USE")
    assert refusal.violations[0][1] == f"training_job/{job_id}"
    assert "cancel it" in refusal.message
    assert await trained.rows() == before


@pytest.mark.parametrize("kind", ["dataset", "annotation_set", "training_job", "model"])
async def test_an_unfinished_job_prevents_the_deletion_of_its_base_model(trained, kind) -> None:
    other = await Trained(trained.gateway).build()
    job_id = await trained.unfinished_job(trained.model_id.upper(), other.dataset_id, other.set_id)
    refusal = await refused(trained.delete(kind, force=True), "FAILED_PRECONDITION", "IN_USE")
    assert [violation[1] for violation in refusal.violations] == [f"training_job/{job_id}"]
    await TrainingServiceStub(trained.gateway.channel).CancelTrainingJob(
        pb.CancelTrainingJobRequest(training_job_id=job_id)
    )
    assert (await trained.delete(kind, force=True)).deleted_counts["model"] == 1


@pytest.mark.parametrize("kind", ["dataset", "annotation_set", "training_job", "model"])
async def test_an_alias_is_named_without_force_and_removed_and_counted_with_it(trained, kind) -> None:
    models, alias = ModelServiceStub(trained.gateway.channel), "calls@production"
    await trained.gateway.execute("UPDATE models SET is_active = true")
    await models.SetModelAlias(model_service_pb2.SetModelAliasRequest(alias=alias, model_id=trained.model_id))
    refusal = await refused(trained.delete(kind), "FAILED_PRECONDITION", "IN_USE")
    assert refusal.violations[-1][1] == f"model_alias/{alias}"
    assert (await trained.delete(kind, force=True)).deleted_counts["model_alias"] == 1
    request = model_service_pb2.GetModelRequest(model_id=alias)
    await refused(models.GetModel(request), "NOT_FOUND", "NOT_FOUND")
    request = model_service_pb2.ListModelAliasMovesRequest(alias=alias)
    removal, _ = (await models.ListModelAliasMoves(request)).moves
    assert (removal.from_model_id, removal.to_model_id) == (trained.model_id, "")
    assert removal.moved_by == "ipv4:127.0.0.1"


async def test_an_unfinished_job_cannot_be_deleted_and_a_cancelled_one_needs_no_force(trained) -> None:
    stub = TrainingServiceStub(trained.gateway.channel)
    job_id = await trained.unfinished_job()
    request = pb.DeleteTrainingJobRequest(training_job_id=job_id, force=True)
    await refused(stub.DeleteTrainingJob(request), "FAILED_PRECONDITION", "IN_USE")
    await stub.CancelTrainingJob(pb.CancelTrainingJobRequest(training_job_id=job_id))
    request = pb.DeleteTrainingJobRequest(training_job_id=job_id, request_id=str(uuid4()))
    for _ in range(2):
        assert dict((await stub.DeleteTrainingJob(request)).deleted_counts) == {"training_job": 1}
    await refused(
        stub.DeleteTrainingJob(pb.DeleteTrainingJobRequest(training_job_id=job_id)), "NOT_FOUND", "NOT_FOUND"
    )


async def test_a_refusal_names_as_many_keepers_as_fit_and_counts_the_others(trained) -> None:
    async with trained.gateway.database.transaction() as connection:
        for _ in range(100):
            await connection.execute(CANCELLED, uuid4(), UUID(trained.dataset_id), UUID(trained.set_id))
    refusal = await refused(trained.delete("dataset"), "FAILED_PRECONDITION", "IN_USE")
    *named, (_, _, rest) = refusal.violations
    assert len(named) > 10
    assert rest == f"and {103 - len(named)} more"


@pytest.mark.parametrize(
    ("kind", "deleted"),
    [
        ("dataset", ["training_job", *["audio_file"] * 3, "dataset"]),
        ("audio_file", ["audio_file"]),
        ("annotation_set", ["training_job"]),
        ("training_job", ["training_job"]),
    ],
)
async def test_a_deletion_wakes_the_watches_of_what_is_deleted(database_url, tmp_path, kind, deleted) -> None:
    async with opened(database_url, tmp_path, heartbeat_seconds=3600) as gateway:
        trained = await Trained(gateway).build()
        request = {"from_start": False, "dataset_ids": [trained.dataset_id]}
        files = gateway.audio.WatchAudioFiles(audio_service_pb2.WatchAudioFilesRequest(**request))
        jobs = TrainingServiceStub(gateway.channel).WatchTrainingJobs(pb.WatchTrainingJobsRequest(**request))
        for call in (files, jobs):
            assert (await call.read()).HasField("heartbeat")
        await trained.delete(kind, force=True)
        async with asyncio.timeout(TIMEOUT_SECONDS):
            for resource in deleted:
                event = (await (jobs if resource == "training_job" else files).read()).event
                kind = "dataset_deleted" if resource == "dataset" else "deleted"
                assert event.WhichOneof("kind") == kind
        files.cancel()
        jobs.cancel()


async def test_nothing_that_was_said_about_a_deleted_dataset_is_left_in_the_database(gateway) -> None:
    dataset_id = await dataset(gateway, "glitch")
    for message in ("anna coughs", ""):
        file = await upload(gateway, dataset_id, filename="anna.wav")
        await finish_processing(gateway, "failed" if message else "ready", error_message=message)
    set_id = (await draft(gateway, dataset_id)).id
    await annotate(gateway, set_id, new_annotation(file.id, extra_data={"speaker": "anna"}))
    async with driving(gateway) as driver:
        built = rows.Built(UUID(dataset_id), UUID(set_id), [])
        await gateway.execute("UPDATE audio_files SET duration_ms = 600000, processing_status = 'ready'")
        await publish(gateway, set_id)
        job = await driver.job(built, team="tts")
        await job.record("anna is loud")
        await job.cancel("anna objects")
    before = await _logged(gateway)
    assert await _tables_with(gateway, "anna") == ["annotations", "audio_files", "events"]
    await gateway.datasets.DeleteDataset(
        dataset_service_pb2.DeleteDatasetRequest(dataset_id=dataset_id, force=True)
    )
    assert await _tables_with(gateway, "anna") == []
    after = await _logged(gateway)
    # The earlier events are still there, with their states and the metadata by which watches select them.
    assert [event[:4] for event in after[: len(before)]] == [event[:4] for event in before]
    assert after[len(before) - 1][4] == {
        "status_changed": {
            "from": "TRAINING_JOB_STATUS_TRAINING",
            "to": "TRAINING_JOB_STATUS_CANCELLED",
        }
    }
    assert [event[4] for event in after[len(before) :]] == [
        *({"deleted": {}} for _ in range(3)),
        {"dataset_deleted": {}},
    ]


async def _logged(gateway) -> list[tuple]:
    query = "SELECT sequence, resource_id, status, metadata, body FROM events ORDER BY sequence"
    async with gateway.database.connection() as connection:
        return [tuple(row) for row in await connection.fetch(query)]


async def _tables_with(gateway, text: str) -> list[str]:
    """The tables in which a row contains the text."""
    async with gateway.database.connection() as connection:
        names = await connection.fetch(
            "SELECT tablename AS name FROM pg_tables WHERE schemaname = current_schema() ORDER BY 1"
        )
        query = "SELECT EXISTS (SELECT FROM {} t WHERE t::text LIKE '%' || $1 || '%')"
        return [row["name"] for row in names if await connection.fetchval(query.format(row["name"]), text)]


async def test_another_tenants_resources_are_not_found(gateway) -> None:
    async with gateway.database.transaction() as connection:
        model_id = await model_rows.model(connection, tenant="other")
        row = await connection.fetchrow("SELECT * FROM models WHERE id = $1", model_id)
        built = await rows.dataset(connection, tenant="other")
    theirs = Trained(gateway)
    theirs.model_id, theirs.job_id = str(model_id), str(row["training_job_id"])
    theirs.dataset_id, theirs.set_id = str(built.dataset_id), str(built.annotation_set_id)
    theirs.file_ids = [str(built.audio_file_ids[0])]
    for kind in ("dataset", "audio_file", "annotation_set", "training_job", "model"):
        await refused(theirs.delete(kind, force=True), "NOT_FOUND", "NOT_FOUND")
