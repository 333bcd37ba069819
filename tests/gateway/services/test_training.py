"""TrainingService: creating, reading, listing and cancelling jobs. The dispatcher has its own tests."""

from uuid import UUID, uuid4

import pytest

from earmark.storage.queries import models, training
from earmark.v1 import training_service_pb2 as pb
from earmark.v1.training_service_pb2_grpc import TrainingServiceStub
from tests.gateway import rows
from tests.gateway.calls import NOWHERE, refused
from tests.gateway.model_rows import one_model

S = pb.TrainingJobStatus
LIMITS = {
    "epochs": (1, 100),
    "validation_split": (0.1, 0.5),
    "learning_rate": (0.0001, 0.1),
    "batch_size": (8, 256),
    "chunk_size_ms": (100, 10_000),
    "stride_ms": (10, 500),
    "early_stopping_epochs": (1, 100),
}
OUT_OF_RANGE = {
    "epochs": (0, 101),
    "validation_split": (0.099, 0.501, float("nan")),
    "learning_rate": (0.00009, 0.11, float("inf")),
    "batch_size": (7, 257),
    "chunk_size_ms": (99, 10_001),
    "stride_ms": (9, 501),
    "early_stopping_epochs": (0, 101),
}


@pytest.fixture
def stub(gateway) -> TrainingServiceStub:
    return TrainingServiceStub(gateway.channel)


async def build_dataset(gateway, **options) -> rows.Built:
    async with gateway.database.transaction() as connection:
        return await rows.dataset(connection, **options)


def create_request(built: rows.Built, **fields) -> pb.CreateTrainingJobRequest:
    config = {"artifact_types": ["glitch"]} | fields.pop("config", {})
    ids = {"dataset_id": str(built.dataset_id), "annotation_set_id": str(built.annotation_set_id)}
    return pb.CreateTrainingJobRequest(**(ids | fields), config=config)


async def test_a_job_is_created_pending_with_every_default_filled_in(gateway, stub) -> None:
    built = await build_dataset(gateway)
    job = (await stub.CreateTrainingJob(create_request(built, metadata={"team": "tts"}))).training_job
    assert (job.status, job.revision, job.attempt, job.progress) == (S.TRAINING_JOB_STATUS_PENDING, 1, 0, 0)
    assert (job.dataset_id, job.annotation_set_id) == (str(built.dataset_id), str(built.annotation_set_id))
    assert job.metadata == {"team": "tts"}
    config = job.config
    assert (config.epochs, config.validation_split, config.learning_rate) == (20, 0.2, 0.001)
    assert (config.batch_size, config.chunk_size_ms, config.stride_ms) == (32, 500, 250)
    assert config.HasField("seed")
    assert (config.base_model_id, config.HasField("early_stopping_epochs")) == ("", False)
    assert (job.total_epochs, job.best_epoch) == (20, 0)
    read = (await stub.GetTrainingJob(pb.GetTrainingJobRequest(training_job_id=job.id))).training_job
    assert (read.id, read.config) == (job.id, job.config)


@pytest.mark.parametrize(("field", "value"), [(f, v) for f, values in LIMITS.items() for v in values])
async def test_a_setting_at_its_limit_is_accepted_unchanged(gateway, stub, field, value) -> None:
    config = {field: value} | ({"stride_ms": 10} if field == "chunk_size_ms" else {})
    job = (
        await stub.CreateTrainingJob(create_request(await build_dataset(gateway), config=config))
    ).training_job
    assert getattr(job.config, field) == value


@pytest.mark.parametrize(("field", "value"), [(f, v) for f, values in OUT_OF_RANGE.items() for v in values])
async def test_a_setting_out_of_range_is_refused_by_name(gateway, stub, field, value) -> None:
    config = {field: value} | ({"stride_ms": 10} if field == "chunk_size_ms" else {})
    request = create_request(await build_dataset(gateway), config=config)
    refusal = await refused(stub.CreateTrainingJob(request), "INVALID_ARGUMENT", "INVALID_FIELD")
    where = "config" if (field, value) == ("stride_ms", 501) else f"config.{field}"
    assert set(refusal.fields) == {where}
    assert await gateway.count("training_jobs") == 0


async def test_every_invalid_field_is_reported(stub) -> None:
    request = pb.CreateTrainingJobRequest(
        dataset_id="calls",
        config={"artifact_types": ["glitch", "glitch"], "epochs": 0, "chunk_size_ms": 100},
        metadata={str(n): "" for n in range(17)},
        request_id="once",
    )
    refusal = await refused(stub.CreateTrainingJob(request), "INVALID_ARGUMENT", "INVALID_FIELD")
    assert set(refusal.fields) == {
        *("dataset_id", "annotation_set_id", "config", "config.artifact_types", "config.epochs"),
        *("metadata", "request_id"),
    }
    assert "found 0" in refusal.fields["config.epochs"]
    assert "stride_ms (250, 250 where left out)" in refusal.fields["config"]


async def test_every_unmet_prerequisite_is_reported_at_once(gateway, stub) -> None:
    built = await build_dataset(
        gateway, files=2, audio_status="pending", set_status="draft", annotated=("dropout",)
    )
    request = create_request(built, config={"artifact_types": ["glitch", "hum"]})
    refusal = await refused(stub.CreateTrainingJob(request), "FAILED_PRECONDITION", "PREREQUISITES_NOT_MET")
    assert {kind for kind, _, _ in refusal.violations} == {
        *("ANNOTATION_SET_PUBLISHED", "TYPES_DEFINED", "AUDIO_READY", "AUDIO_DURATION"),
        "ANNOTATIONS_PER_TYPE",
    }
    # Most tools show only the message, so it must have every description.
    assert all(description in refusal.message for _, _, description in refusal.violations)
    assert await gateway.count("training_jobs") == 0


async def test_a_set_of_another_dataset_is_refused(gateway, stub) -> None:
    built, other = await build_dataset(gateway), await build_dataset(gateway)
    request = create_request(built, annotation_set_id=str(other.annotation_set_id))
    refusal = await refused(stub.CreateTrainingJob(request), "FAILED_PRECONDITION", "PREREQUISITES_NOT_MET")
    kind, subject, description = refusal.violations[0]
    assert (kind, subject) == ("SAME_DATASET", f"annotation_set/{other.annotation_set_id}")
    assert str(other.dataset_id) in description


@pytest.mark.parametrize(
    ("field", "kind"), [("dataset_id", "dataset"), ("annotation_set_id", "annotation_set")]
)
async def test_a_job_of_a_missing_resource_is_not_found(gateway, stub, field, kind) -> None:
    built = await build_dataset(gateway)
    refusal = await refused(
        stub.CreateTrainingJob(create_request(built, **{field: NOWHERE})), "NOT_FOUND", "NOT_FOUND"
    )
    assert refusal.resource == (kind, NOWHERE)


async def test_another_tenants_rows_are_not_found(gateway, stub) -> None:
    theirs = await build_dataset(gateway, tenant="other")
    await refused(stub.CreateTrainingJob(create_request(theirs)), "NOT_FOUND", "NOT_FOUND")
    ours = await build_dataset(gateway)
    mixed = create_request(ours, annotation_set_id=str(theirs.annotation_set_id))
    await refused(stub.CreateTrainingJob(mixed), "NOT_FOUND", "NOT_FOUND")


@pytest.mark.parametrize("validate_only", [False, True])
@pytest.mark.parametrize("active", [False, True])
async def test_a_job_may_start_from_any_model_that_is_not_archived(
    gateway, stub, database_url, active, validate_only
) -> None:
    model_id = await one_model(database_url, types=("dropout",), active=active)
    config = {"base_model_id": model_id, "early_stopping_epochs": 3}
    request = create_request(await build_dataset(gateway), config=config, validate_only=validate_only)
    job = (await stub.CreateTrainingJob(request)).training_job
    assert (job.config.base_model_id, job.config.early_stopping_epochs) == (model_id, 3)
    if not validate_only:
        read = (await stub.GetTrainingJob(pb.GetTrainingJobRequest(training_job_id=job.id))).training_job
        assert read.config == job.config


@pytest.mark.parametrize("validate_only", [False, True])
@pytest.mark.parametrize("whose", ["nobody's", "another tenant's"])
async def test_a_base_model_of_another_tenant_or_of_nobody_is_not_found(
    gateway, stub, database_url, whose, validate_only
) -> None:
    model_id = NOWHERE if whose == "nobody's" else await one_model(database_url, tenant="other")
    built, before = await build_dataset(gateway), await gateway.count("training_jobs")
    request = create_request(built, config={"base_model_id": model_id}, validate_only=validate_only)
    refusal = await refused(stub.CreateTrainingJob(request), "NOT_FOUND", "NOT_FOUND")
    assert refusal.resource == ("model", model_id)
    assert await gateway.count("training_jobs") == before


@pytest.mark.parametrize("validate_only", [False, True])
async def test_an_archived_base_model_is_refused_with_a_remedy(
    gateway, stub, database_url, validate_only
) -> None:
    model_id = await one_model(database_url, active=True)
    async with gateway.database.transaction() as connection:
        await models.archive(connection, rows.TENANT, UUID(model_id))
    built, before = await build_dataset(gateway), await gateway.count("training_jobs")
    request = create_request(built, config={"base_model_id": model_id}, validate_only=validate_only)
    refusal = await refused(stub.CreateTrainingJob(request), "FAILED_PRECONDITION", "WRONG_STATE")
    [(kind, subject, description)] = refusal.violations
    assert (kind, subject) == ("WRONG_STATE", f"model/{model_id}")
    assert refusal.info.metadata["state"] == "archived"
    assert "undelete it with UndeleteModel" in description
    assert await gateway.count("training_jobs") == before


async def test_a_base_model_id_that_is_no_uuid_is_refused_by_name(gateway, stub) -> None:
    request = create_request(await build_dataset(gateway), config={"base_model_id": "the best one"})
    refusal = await refused(stub.CreateTrainingJob(request), "INVALID_ARGUMENT", "INVALID_FIELD")
    assert set(refusal.fields) == {"config.base_model_id"}


async def test_validate_only_runs_every_check_and_creates_nothing(gateway, stub) -> None:
    valid, invalid = await build_dataset(gateway), await build_dataset(gateway, set_status="draft")
    preview = (await stub.CreateTrainingJob(create_request(valid, validate_only=True))).training_job
    assert (preview.id, preview.config.epochs, preview.config.HasField("seed")) == ("", 20, False)
    call = stub.CreateTrainingJob(create_request(invalid, validate_only=True))
    await refused(call, "FAILED_PRECONDITION", "PREREQUISITES_NOT_MET")
    assert await gateway.count("training_jobs") == 0


async def test_repeated_requests_create_one_job(gateway, stub) -> None:
    built = await build_dataset(gateway)
    request = create_request(built, request_id=str(uuid4()))
    first = (await stub.CreateTrainingJob(request)).training_job
    again = (await stub.CreateTrainingJob(request)).training_job
    assert again == first
    request.config.epochs = 5
    await refused(stub.CreateTrainingJob(request), "ALREADY_EXISTS", "REQUEST_ID_REUSED")
    assert await gateway.count("training_jobs") == 1


async def test_lists_are_newest_first_and_filtered(gateway, stub) -> None:
    one, other = await build_dataset(gateway), await build_dataset(gateway)
    jobs = [(one, {}), (other, {"team": "tts"}), (one, {"team": "tts", "run": "2"})]
    ids = [
        (await stub.CreateTrainingJob(create_request(built, metadata=metadata))).training_job.id
        for built, metadata in jobs
    ]
    await stub.CancelTrainingJob(pb.CancelTrainingJobRequest(training_job_id=ids[0]))

    async def listed(**filters) -> list[str]:
        reply = await stub.ListTrainingJobs(pb.ListTrainingJobsRequest(**filters))
        return [job.id for job in reply.training_jobs]

    assert await listed() == ids[::-1]
    assert await listed(dataset_ids=[str(one.dataset_id)]) == [ids[2], ids[0]]
    assert await listed(statuses=[S.TRAINING_JOB_STATUS_CANCELLED]) == [ids[0]]
    both = [S.TRAINING_JOB_STATUS_CANCELLED, S.TRAINING_JOB_STATUS_PENDING, S.TRAINING_JOB_STATUS_QUEUED]
    assert await listed(statuses=both) == ids[::-1]
    assert await listed(metadata={"team": "tts"}) == ids[1:][::-1]
    assert await listed(metadata={"team": "tts", "run": "2"}) == [ids[2]]
    assert await listed(metadata={"team": "asr"}) == []
    page = await stub.ListTrainingJobs(pb.ListTrainingJobsRequest(page_size=2))
    assert await listed(page_size=2, page_token=page.next_page_token) == [ids[0]]
    other_list = pb.ListTrainingJobsRequest(
        page_token=page.next_page_token, statuses=[S.TRAINING_JOB_STATUS_QUEUED]
    )
    await refused(stub.ListTrainingJobs(other_list), "INVALID_ARGUMENT", "INVALID_PAGE_TOKEN")


async def test_a_list_has_the_curves_of_jobs_only_in_the_full_view(gateway, stub) -> None:
    job = (await stub.CreateTrainingJob(create_request(await build_dataset(gateway)))).training_job
    figures = {"glitch": {"support": 3, "precision_recall_curve": [{"threshold": 0.5, "recall": 1}]}}
    await gateway.execute("UPDATE training_jobs SET metrics = $1", {"per_type": figures})
    points = {}
    for view in ("METRICS_VIEW_UNSPECIFIED", "METRICS_VIEW_BASIC", "METRICS_VIEW_FULL"):
        [listed] = (await stub.ListTrainingJobs(pb.ListTrainingJobsRequest(view=view))).training_jobs
        assert listed.metrics.per_type["glitch"].support == 3
        points[view] = len(listed.metrics.per_type["glitch"].precision_recall_curve)
    assert list(points.values()) == [0, 0, 1]
    read = (await stub.GetTrainingJob(pb.GetTrainingJobRequest(training_job_id=job.id))).training_job
    assert read.metrics == listed.metrics


async def test_metadata_has_a_size_limit(gateway, stub) -> None:
    built = await build_dataset(gateway)
    largest = {"é" * 63 + f"{n:02}": "é" * 448 for n in range(16)}
    job = (await stub.CreateTrainingJob(create_request(built, metadata=largest))).training_job
    assert job.metadata == largest
    for metadata in ({"é" * 65: ""}, {"key": "é" * 449}, {"": "x"}):
        call = stub.CreateTrainingJob(create_request(built, metadata=metadata))
        refusal = await refused(call, "INVALID_ARGUMENT", "INVALID_FIELD")
        assert [field.partition("[")[0] for field in refusal.fields] == ["metadata"]


@pytest.mark.parametrize("call", ["GetTrainingJob", "CancelTrainingJob"])
async def test_an_unknown_job_is_not_found(stub, call) -> None:
    request = getattr(pb, f"{call}Request")(training_job_id=NOWHERE)
    refusal = await refused(getattr(stub, call)(request), "NOT_FOUND", "NOT_FOUND")
    assert refusal.resource == ("training_job", NOWHERE)


async def test_a_waiting_job_is_cancelled_at_once_and_again_without_effect(gateway, stub) -> None:
    job = (await stub.CreateTrainingJob(create_request(await build_dataset(gateway)))).training_job
    request = pb.CancelTrainingJobRequest(training_job_id=job.id)
    cancelled = (await stub.CancelTrainingJob(request)).training_job
    assert cancelled.status == S.TRAINING_JOB_STATUS_CANCELLED
    assert cancelled.HasField("finished_at")
    assert (await stub.CancelTrainingJob(request)).training_job == cancelled


@pytest.mark.parametrize("status", ["completed", "failed"])
async def test_a_finished_job_cannot_be_cancelled(gateway, stub, status) -> None:
    job = (await stub.CreateTrainingJob(create_request(await build_dataset(gateway)))).training_job
    await gateway.execute("UPDATE training_jobs SET status = 'training', attempt = 1, lease_until = now()")
    result = {"model_id": uuid4()} if status == "completed" else {"error_reason": "TRAINING_CRASHED"}
    async with gateway.database.transaction() as connection:
        assert await training.finish(connection, job.id, 1, status, {"status_changed": {}}, **result)
    call = stub.CancelTrainingJob(pb.CancelTrainingJobRequest(training_job_id=job.id))
    refusal = await refused(call, "FAILED_PRECONDITION", "WRONG_STATE")
    assert refusal.info.metadata["state"] == status
    assert f"is {status}" in refusal.message
