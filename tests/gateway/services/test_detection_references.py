"""Detection jobs over objects by reference: which are allowed, and what becomes of those that are away."""

import pytest

from earmark.internal.v1 import trainer_service_pb2 as trainer_pb
from earmark.v1 import detection_service_pb2 as pb
from tests.gateway.calls import refused
from tests.gateway.detecting_trainer import DetectingTrainer

URIS = ["s3://calls/2026/b.wav", "file:///data/a.wav"]
PLACES = {"detection_sources": "s3://calls/2026, file:///data"}


class AwayAtFirst(DetectingTrainer):
    """The place of the second file is away for the first call."""

    def _answers(self, file_id: str):
        if len(self.requests) == 1 and len(self.requests[0]) == 2:
            waiting = {"file_id": file_id, "message": "s3://calls/2026/ is away"}
            yield trainer_pb.DetectFilesResponse(waiting=waiting)
        else:
            yield from super()._answers(file_id)


async def test_objects_are_searched_where_they_are_in_the_order_of_the_request(here):
    at = await here(**PLACES)
    job = await at.ended((await at.create(uris=URIS)).id)
    assert (job.dataset_id, job.completed_files, job.total_detections) == ("", 2, 4)
    assert [(file.uri, file.source, file.features) for file in at.trainer.requests[0]] == [
        (uri, "", "") for uri in URIS
    ]
    files = await at.files(job.id)
    assert [file.filename for file in files] == URIS
    assert [file.id for file in files] == [file.file_id for file in at.trainer.requests[0]]
    assert {each.filename for each in await at.detections(job.id)} == set(URIS)
    # The same objects may be searched again, and a deleted job leaves them.
    deleted = await at.stub.DeleteDetectionJob(pb.DeleteDetectionJobRequest(detection_job_id=job.id))
    assert dict(deleted.deleted_counts) == {"detection_job": 1}
    assert (await at.create(uris=URIS, validate_only=True)).total_files == 2


async def test_a_file_whose_place_is_away_waits_and_the_others_are_searched(here):
    at = await here(AwayAtFirst(), retry_seconds=0.01, **PLACES)
    events = await at.events((await at.create(uris=URIS)).id)
    queued = [event.status_changed.reason for event in events if event.HasField("status_changed")]
    assert "s3://calls/2026/ is away" in queued
    job = await at.now(events[0].detection_job_id)
    assert (job.status, job.attempt) == (pb.DETECTION_JOB_STATUS_COMPLETED, 2)
    assert (job.completed_files, job.failed_files) == (2, 0)
    assert [len(files) for files in at.trainer.requests] == [2, 1]


@pytest.mark.parametrize(
    ("places", "uris", "message"),
    [
        ("", ["s3://calls/2026/a.wav"], "the operator allows none"),
        (
            "s3://calls/2026",
            ["s3://calls/2026/a.wav", "s3://calls/2025/a.wav"],
            "'s3://calls/2025/a.wav': is below none",
        ),
        ("s3://calls/2026", ["s3://calls/2026/%2e%2e/2025/a.wav"], "perhaps as %2e"),
        ("s3://calls/2026", ["s3://calls/2026/a.wav"] * 2, "unique"),
        ("s3://calls/2026", [], "one of dataset_id, recording_ids and uris"),
    ],
)
async def test_what_is_not_allowed_is_refused_in_words(here, places, uris, message):
    at = await here(detection_sources=places)
    refusal = await refused(at.create(uris=uris), "INVALID_ARGUMENT", "INVALID_FIELD")
    assert message in refusal.message
    assert not (await at.stub.ListDetectionJobs(pb.ListDetectionJobsRequest())).detection_jobs


async def test_a_job_has_files_of_one_kind(here):
    at = await here(**PLACES)
    both = at.create(uris=URIS, dataset_id=str(at.built.dataset_id))
    await refused(both, "INVALID_ARGUMENT", "INVALID_FIELD")
