"""Detection jobs, from their creation to their results."""

import asyncio
import csv
import io
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from earmark.gateway.services.scored_files import LearnedType
from earmark.internal.v1 import trainer_service_pb2 as trainer_pb
from earmark.scores import DetectionConfig
from earmark.storage.database import Database
from earmark.storage.queries import detection_jobs
from earmark.v1 import detection_service_pb2 as pb
from earmark.v1 import model_service_pb2
from earmark.v1.model_service_pb2_grpc import ModelServiceStub
from tests.gateway import model_rows
from tests.gateway.calls import refused
from tests.gateway.detecting_trainer import DetectingTrainer, scores_of

S, F = pb.DetectionJobStatus, pb.DetectionFileStatus
TYPES = [LearnedType("glitch", 30, 0)]
DEFAULTS = DetectionConfig()


def statuses(events) -> list[str]:
    changes = [event.status_changed for event in events if event.HasField("status_changed")]
    return [S.Name(change.to).removeprefix("DETECTION_JOB_STATUS_") for change in changes]


def expected(file_ids, config: DetectionConfig = DEFAULTS) -> list[tuple]:
    return [
        (file_id, found.start_ms, found.end_ms, found.confidence)
        for file_id in file_ids
        for found in scores_of(file_id).detections(TYPES, config)
    ]


def listed(found: list[pb.JobDetection]) -> list[tuple]:
    return [
        (each.file_id, each.detection.start_ms, each.detection.end_ms, each.detection.confidence)
        for each in found
    ]


async def test_a_job_searches_every_ready_file_of_a_dataset(here):
    at = await here()
    job = await at.create(metadata={"for": "quality"})
    assert (job.status, job.total_files, job.dataset_id) == (
        S.DETECTION_JOB_STATUS_PENDING,
        3,
        str(at.built.dataset_id),
    )

    events = await at.events(job.id)
    assert statuses(events) == ["PENDING", "QUEUED", "PROCESSING", "COMPLETED"]
    assert [event.revision for event in events] == list(range(1, len(events) + 1))
    last = [event.progress for event in events if event.HasField("progress")][-1]
    assert (last.completed_files, last.total_files, last.total_detections, last.audio_ms) == (3, 3, 6, 9000)

    job = await at.now(job.id)
    assert (job.status, job.completed_files, job.failed_files, job.total_detections) == (
        S.DETECTION_JOB_STATUS_COMPLETED, 3, 0, 6,
    )  # fmt: skip
    files = await at.files(job.id)
    assert [(file.filename, F.Name(file.status), file.duration_ms) for file in files] == [
        (f"{number}.wav", "DETECTION_FILE_STATUS_COMPLETED", 3000) for number in range(3)
    ]
    assert listed(await at.detections(job.id)) == expected([file.id for file in files])
    by_label = pb.ListDetectionJobsRequest(metadata={"for": "quality"}, model_ids=[at.model_id])
    assert [each.id for each in (await at.stub.ListDetectionJobs(by_label)).detection_jobs] == [job.id]


async def test_a_trainer_gets_features_of_its_own_front_end_and_audio_otherwise(here, database_url):
    at = await here(files=2)
    async with Database(database_url) as database, database.connection() as connection:
        first = at.built.audio_file_ids[0]
        await connection.execute("UPDATE audio_files SET frontend = '' WHERE id = $1", first)
    await at.ended((await at.create()).id)
    one, other = sorted(at.trainer.requests[0], key=lambda file: file.file_id)
    assert (one.features, one.source) == (f"default/audio/{one.file_id}/features", "")
    assert (other.features, other.source) == ("", f"default/audio/{other.file_id}/normalized.flac")


async def test_uploaded_recordings_are_searched_in_the_order_of_the_request(here):
    at = await here()
    recordings = [await at.upload(b"one", filename="b.wav"), await at.upload(b"two", filename="a.wav")]
    job = await at.create(recording_ids=[recording.id for recording in recordings])
    assert (await at.ended(job.id)).completed_files == 2
    assert [file.filename for file in await at.files(job.id)] == ["b.wav", "a.wav"]
    assert [file.source for file in at.trainer.requests[0]] == [
        f"default/recordings/{r.id}/source" for r in recordings
    ]

    await refused(at.create(recording_ids=[recordings[0].id]), "FAILED_PRECONDITION", "IN_USE")
    deleted = await at.stub.DeleteDetectionJob(pb.DeleteDetectionJobRequest(detection_job_id=job.id))
    assert dict(deleted.deleted_counts) == {"detection_job": 1, "recording": 2}
    await refused(at.create(recording_ids=[recordings[0].id]), "NOT_FOUND", "NOT_FOUND")


async def test_an_upload_with_a_request_id_is_stored_once(here):
    at = await here()
    request_id = "019a9f50-77c3-7e81-bb02-1a2b3c4d5e66"
    first, second = [await at.upload(b"one", request_id=request_id) for _ in range(2)]
    assert first == second
    await refused(at.upload(b"two", size_bytes=5), "INVALID_ARGUMENT", "INVALID_UPLOAD")


async def test_a_file_that_cannot_be_used_fails_alone(here):
    def second_fails(file_id: str):
        if file_id == str(at.built.audio_file_ids[1]):
            return trainer_pb.DetectFilesResponse.Failed(
                file_id=file_id, reason="INVALID_AUDIO", message="is empty"
            )
        return None

    at = await here(DetectingTrainer(answer=second_fails))
    job = await at.ended((await at.create()).id)
    assert (job.status, job.completed_files, job.failed_files) == (S.DETECTION_JOB_STATUS_COMPLETED, 2, 1)
    (failed,) = await at.files(job.id, statuses=["DETECTION_FILE_STATUS_FAILED"])
    assert (failed.filename, failed.error.message) == ("1.wav", "is empty")


async def test_the_next_attempt_searches_only_the_files_that_are_left(here):
    at = await here(DetectingTrainer(ends_after=(2,)), files=5)
    events = await at.events((await at.create()).id)
    assert statuses(events) == ["PENDING", "QUEUED", "PROCESSING", "QUEUED", "PROCESSING", "COMPLETED"]
    job = await at.now(events[0].detection_job_id)
    assert (job.completed_files, job.total_detections, job.attempt) == (5, 10, 2)
    again = [file.file_id for file in at.trainer.requests[1]]
    assert set(again) <= set(map(str, at.built.audio_file_ids))
    assert str(at.built.audio_file_ids[-1]) in again


async def test_a_file_whose_trainers_are_lost_again_and_again_fails(here):
    at = await here(DetectingTrainer(ends_after=(0, 0, 0)), files=1, retry_seconds=0.01)
    job = await at.ended((await at.create()).id)
    (file,) = await at.files(job.id)
    assert (job.status, job.failed_files, job.attempt) == (S.DETECTION_JOB_STATUS_COMPLETED, 1, 4)
    assert "3 trainers were lost" in file.error.message


async def test_a_processing_job_is_cancelled_and_keeps_what_it_has(here):
    at = await here()
    at.trainer.may_go_on.clear()
    job = await at.create()
    await at.trainer.started.wait()
    await at.stub.CancelDetectionJob(pb.CancelDetectionJobRequest(detection_job_id=job.id))
    await at.trainer.ended.wait()
    job = await at.ended(job.id)
    assert job.status == S.DETECTION_JOB_STATUS_CANCELLED
    assert {F.Name(file.status) for file in await at.files(job.id)} == {"DETECTION_FILE_STATUS_CANCELLED"}
    again = await at.stub.CancelDetectionJob(pb.CancelDetectionJobRequest(detection_job_id=job.id))
    assert again.detection_job.status == S.DETECTION_JOB_STATUS_CANCELLED


async def test_an_unfinished_job_prevents_its_deletion_and_that_of_its_model(here):
    at = await here()
    at.trainer.may_go_on.clear()
    job = await at.create()
    await at.trainer.started.wait()
    await refused(
        at.stub.DeleteDetectionJob(pb.DeleteDetectionJobRequest(detection_job_id=job.id)),
        "FAILED_PRECONDITION",
        "IN_USE",
    )
    usage = model_service_pb2.GetModelUsageRequest(model_id=at.model_id)
    assert (await ModelServiceStub(at.channel).GetModelUsage(usage)).usage.detection_job_ids == [job.id]
    request = model_service_pb2.DeleteModelRequest(model_id=at.model_id, force=True)
    refusal = await refused(
        ModelServiceStub(at.channel).DeleteModel(request), "FAILED_PRECONDITION", "IN_USE"
    )
    assert [subject for _, subject, _ in refusal.violations] == [f"detection_job/{job.id}"]
    at.trainer.may_go_on.set()
    await at.ended(job.id)
    await ModelServiceStub(at.channel).DeleteModel(request)
    assert len(await at.detections(job.id)) > 0


async def test_what_was_found_in_a_deleted_file_is_deleted_with_it(here, database_url):
    at = await here()
    job = await at.ended((await at.create()).id)
    async with Database(database_url) as database, database.transaction() as connection:
        await connection.execute("DELETE FROM annotations")
        await connection.execute("DELETE FROM audio_files WHERE id = $1", at.built.audio_file_ids[0])
    left = list(map(str, at.built.audio_file_ids[1:]))
    assert [file.id for file in await at.files(job.id)] == left
    assert listed(await at.detections(job.id)) == expected(left)


@pytest.mark.parametrize(
    ("fields", "code", "reason"),
    [
        ({"dataset_id": ""}, "INVALID_ARGUMENT", "INVALID_FIELD"),
        (
            {"recording_ids": ["019a9f50-77c3-7e81-bb02-1a2b3c4d5e66"] * 2},
            "INVALID_ARGUMENT",
            "INVALID_FIELD",
        ),
        ({"recording_ids": ["019a9f50-77c3-7e81-bb02-1a2b3c4d5e66"]}, "NOT_FOUND", "NOT_FOUND"),
        ({"dataset_id": "019a9f50-77c3-7e81-bb02-1a2b3c4d5e66"}, "NOT_FOUND", "NOT_FOUND"),
        ({"config": {"thresholds": {"echo": 0.5}}}, "INVALID_ARGUMENT", "INVALID_FIELD"),
    ],
)
async def test_what_cannot_be_searched_is_refused(here, fields, code, reason):
    at = await here()
    await refused(at.create(**fields), code, reason)
    assert not (await at.stub.ListDetectionJobs(pb.ListDetectionJobsRequest())).detection_jobs


async def test_a_dataset_without_ready_files_and_an_inactive_model_are_refused(here, database_url):
    at = await here(active=False)
    await refused(at.create(), "FAILED_PRECONDITION", "WRONG_STATE")
    async with Database(database_url) as database, database.transaction() as connection:
        at.model_id = str(await model_rows.model(connection, active=True))
        await connection.execute("UPDATE audio_files SET processing_status = 'failed'")
    await refused(at.create(), "FAILED_PRECONDITION", "PREREQUISITES_NOT_MET")


async def test_an_alias_names_the_model_that_it_has_at_the_creation(here):
    at = await here()
    alias = {"alias": "calls@production", "model_id": at.model_id}
    await ModelServiceStub(at.channel).SetModelAlias(model_service_pb2.SetModelAliasRequest(**alias))
    assert (await at.create(model_id="calls@production")).model_id == at.model_id
    await refused(at.create(model_id="calls@staging"), "NOT_FOUND", "NOT_FOUND")


async def test_a_dry_run_creates_nothing(here):
    at = await here()
    recording = await at.upload(b"one")
    job = await at.create(validate_only=True, recording_ids=[recording.id])
    assert (job.id, job.total_files) == ("", 1)
    assert not (await at.stub.ListDetectionJobs(pb.ListDetectionJobsRequest())).detection_jobs
    assert (await at.create(recording_ids=[recording.id])).total_files == 1


async def test_a_repeated_request_creates_one_job(here):
    at = await here()
    request_id = "019a9f50-77c3-7e81-bb02-1a2b3c4d5e66"
    first, second = [await at.create(request_id=request_id) for _ in range(2)]
    assert first == second


CONFIGS = st.builds(
    dict,
    threshold=st.integers(0, 1000).map(lambda number: number / 1000),
    merge_window_ms=st.integers(0, 300),
    min_duration_ms=st.integers(0, 300),
)


async def test_other_settings_give_what_a_fresh_job_would_find(here):
    """The property is that of earmark.scores; here its way through the database and the pages."""
    at = await here()
    job = await at.ended((await at.create()).id)
    file_ids = [file.id for file in await at.files(job.id)]

    @settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(CONFIGS, st.integers(1, 7))
    def check(config, page_size):
        future = asyncio.run_coroutine_threadsafe(
            at.detections(job.id, config=config, page_size=page_size), loop
        )
        assert listed(future.result()) == expected(file_ids, DetectionConfig(**config))

    loop = asyncio.get_running_loop()
    await asyncio.to_thread(check)


async def test_detections_are_filtered(here):
    at = await here()
    job = await at.ended((await at.create()).id)
    file_ids = [file.id for file in await at.files(job.id)]
    all_found = expected(file_ids)
    assert listed(await at.detections(job.id, file_ids=[file_ids[1]])) == [
        f for f in all_found if f[0] == file_ids[1]
    ]
    assert listed(await at.detections(job.id, min_confidence=0.9)) == [f for f in all_found if f[3] >= 0.9]
    part = await at.detections(job.id, from_ms=1000, until_ms=2000)
    assert listed(part) == [f for f in all_found if f[2] > 1000 and f[1] < 2000]
    assert await at.detections(job.id, artifact_types=["echo"]) == []
    await refused(
        at.detections(job.id, config={"thresholds": {"echo": 0.1}}), "INVALID_ARGUMENT", "INVALID_FIELD"
    )


async def test_detections_are_downloaded_as_one_file(here):
    at = await here()
    job = await at.ended((await at.create()).id)

    async def download(form: str, **fields) -> str:
        request = pb.DownloadDetectionsRequest(
            detection_job_id=job.id, format=f"DETECTIONS_FORMAT_{form}", **fields
        )
        return b"".join([part.data async for part in at.stub.DownloadDetections(request)]).decode()

    found = await at.detections(job.id, config={"threshold": 0.8})
    lines = [
        json.loads(line) for line in (await download("JSON_LINES", config={"threshold": 0.8})).splitlines()
    ]
    rows_of_csv = list(csv.DictReader(io.StringIO(await download("CSV", config={"threshold": 0.8}))))
    assert [
        (line["file_id"], line["start_ms"], line["end_ms"], line["confidence"]) for line in lines
    ] == listed(found)
    assert [line["channels"] for line in lines] == [[0]] * len(found)
    assert [{**row, "start_ms": int(row["start_ms"])} for row in rows_of_csv] == [
        {key: str(value) for key, value in line.items() if key != "channels"}
        | {"channels": "0", "start_ms": line["start_ms"]}
        for line in lines
    ]


async def test_an_unused_recording_is_removed_after_a_day(here, database_url):
    at = await here()
    kept, old = await at.upload(b"one"), await at.upload(b"two")
    async with Database(database_url) as database, database.transaction() as connection:
        await connection.execute(
            "UPDATE recordings SET created_at = now() - interval '2 days' WHERE id = $1", old.id
        )
        assert await detection_jobs.delete_unused_recordings(connection, 86_400) == 1
    await refused(at.create(recording_ids=[old.id]), "NOT_FOUND", "NOT_FOUND")
    assert (await at.create(recording_ids=[kept.id])).total_files == 1
