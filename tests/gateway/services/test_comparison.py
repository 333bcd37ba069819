"""Completed detection jobs against each other, through a gateway with a trainer."""

from contextlib import AsyncExitStack
from functools import partial

import pytest

from earmark.gateway.evaluation.marking import uncertainty
from earmark.internal.v1 import trainer_service_pb2 as trainer_pb
from earmark.metrics import event_counts
from earmark.v1 import evaluation_pb2 as pb
from tests.gateway import model_rows, rows
from tests.gateway.calls import refused
from tests.gateway.detecting_trainer import scores_of
from tests.gateway.evaluating import DEFAULTS, NAMES, TYPES, Evaluating, drawn, seed_of, spans, start


@pytest.fixture
async def here(database_url, tmp_path):
    async with AsyncExitStack() as stack:
        yield partial(start, stack, database_url, tmp_path)


class Comparing:
    """Calls about two jobs, each of which found something else."""

    def __init__(self, at: Evaluating, job_id: str, other_id: str) -> None:
        self.at, self.job_id, self.other_id = at, job_id, other_id

    async def compare(self, **fields) -> pb.CompareDetectionJobsResponse:
        chosen = {"other_detection_job_id": self.other_id} | fields
        request = self.at.request(pb.CompareDetectionJobsRequest, self.job_id, **chosen)
        return await self.at.stub.CompareDetectionJobs(request)

    async def to_mark(self, **fields) -> list[pb.FileToMark]:
        result, token = [], ""
        while True:
            request = pb.ListFilesToMarkRequest(detection_job_id=self.job_id, page_token=token, **fields)
            page = await self.at.stub.ListFilesToMark(request)
            result += page.files
            token = page.next_page_token
            if not token:
                return result


async def two_jobs(here, **fields) -> Comparing:
    at = await here(**fields)
    return Comparing(at, await at.searched(), await at.searched())


async def test_two_jobs_are_compared_on_the_same_files(here):
    two = await two_jobs(here, files=8)
    at = two.at
    await at.annotate(*drawn(at, 8))
    response = await two.compare()
    assert response.metrics == (await at.evaluate(two.job_id)).metrics
    assert response.other_metrics == (await at.evaluate(two.other_id)).metrics
    assert (response.compared_files, response.left_out_files) == (8, 0)
    for difference, ours, theirs in (
        (response.micro, response.metrics.overall, response.other_metrics.overall),
        *(
            (response.per_type[n], response.metrics.per_type[n], response.other_metrics.per_type[n])
            for n in NAMES
        ),
    ):
        assert difference.difference == pytest.approx(ours.f1_score - theirs.f1_score)
        assert difference.interval.low < difference.difference < difference.interval.high
    macro = response.metrics.macro_f1_score - response.other_metrics.macro_f1_score
    assert response.macro.difference == pytest.approx(macro)
    assert response.micro.first_better_share > 0.95

    turned = await Comparing(at, two.other_id, two.job_id).compare()
    assert turned.micro.difference == -response.micro.difference
    assert turned.micro.first_better_share == pytest.approx(1 - response.micro.first_better_share)


async def test_two_configurations_of_one_job_are_compared(here):
    two = await two_jobs(here)
    await two.at.annotate(*drawn(two.at, 6))
    strict = {"threshold": 0.9}
    response = await two.compare(other_detection_job_id=two.job_id, other_config=strict)
    assert response.other_metrics == (await two.at.evaluate(two.job_id, config=strict)).metrics
    same = await two.compare(other_detection_job_id=two.job_id, config=strict, other_config=strict)
    assert (same.micro.difference, same.micro.first_better_share) == (0, 0.5)


async def test_only_files_that_both_jobs_completed_are_compared(here):
    def only_in_the_second(file_id: str):
        if file_id == seed_of(0, job=1):
            return trainer_pb.DetectFilesResponse.Failed(
                file_id=file_id, reason="INVALID_AUDIO", message="no"
            )
        return None

    at = await here(files=3)
    at.trainer.answer = only_in_the_second
    two = Comparing(at, await at.searched(), await at.searched())
    await at.annotate((0, "glitch", 100, 200), (1, "glitch", 100, 200))
    response = await two.compare()
    assert (response.compared_files, response.left_out_files) == (2, 1)
    assert response.metrics.overall.support == response.other_metrics.overall.support == 1
    assert str(at.built.audio_file_ids[0]) not in {
        f.file_id for f in await two.to_mark(other_detection_job_id=two.other_id)
    }


async def test_models_are_compared_by_the_types_that_both_have(here):
    at = await here()
    job_id = await at.searched()
    async with at.database.transaction() as connection:
        ids = [
            str(await model_rows.model(connection, active=True, types=types))
            for types in (("dropout", "hum"), ("hum", "buzz"))
        ]
    at.model_id = ids[0]
    two = Comparing(at, job_id, await at.searched())
    await at.annotate(*drawn(at, 6))
    response = await two.compare()
    assert set(response.per_type) == set(response.metrics.per_type) == {"dropout"}
    whole = (await at.evaluate(job_id)).metrics.per_type["dropout"]
    assert response.metrics.per_type["dropout"] == whole
    other = (await at.evaluate(two.other_id)).metrics.per_type["dropout"]
    assert response.other_metrics.per_type["dropout"] == other

    at.model_id = ids[1]
    strange = await at.searched()
    refusal = await refused(two.compare(other_detection_job_id=strange), "INVALID_ARGUMENT", "INVALID_FIELD")
    assert list(refusal.fields) == ["other_detection_job_id"]
    await refused(two.to_mark(other_detection_job_id=strange), "INVALID_ARGUMENT", "INVALID_FIELD")


async def test_files_in_which_a_job_is_uncertain_come_first(here):
    two = await two_jobs(here)
    at = two.at
    expected = {}
    for number, file_id in enumerate(map(str, at.built.audio_file_ids)):
        result = uncertainty(scores_of(seed_of(number, 0), len(NAMES)), TYPES, DEFAULTS)
        if result.detections:
            expected[file_id] = (result.detections, result.total, result.per_minute(3000))
    files = await two.to_mark()
    assert {
        f.file_id: (f.uncertainty.detection_count, f.uncertainty.total, f.score) for f in files
    } == expected
    assert [f.score for f in files] == sorted([f.score for f in files], reverse=True)
    assert await two.to_mark(page_size=1) == files
    assert {(f.duration_ms, f.WhichOneof("reason")) for f in files} == {(3000, "uncertainty")}
    none_near = await two.to_mark(config={"threshold": 1.0, "min_duration_ms": 1000, "merge_window_ms": 0})
    assert none_near == []


async def test_files_in_which_two_jobs_disagree_come_first(here):
    two = await two_jobs(here)
    at = two.at
    files = await two.to_mark(other_detection_job_id=two.other_id)
    assert [f.score for f in files] == sorted([f.score for f in files], reverse=True)
    assert len(files) == 6
    for file in files:
        number = [str(file_id) for file_id in at.built.audio_file_ids].index(file.file_id)
        sides = [{name: spans(at.found(number, name, job=job)) for name in NAMES} for job in (0, 1)]
        both = sum(event_counts(sides[0][name], sides[1][name]).matched for name in NAMES)
        sizes = [sum(map(len, side.values())) for side in sides]
        shown = file.disagreement
        assert (shown.only_first, shown.only_other, shown.both) == (sizes[0] - both, sizes[1] - both, both)
        assert file.score == (shown.only_first + shown.only_other) * 20
    assert await two.to_mark(other_detection_job_id=two.job_id) == []


async def test_files_that_are_marked_already_are_left_out(here):
    two = await two_jobs(here)
    at = two.at
    every = await two.to_mark()
    marked = list(map(str, at.built.audio_file_ids)).index(every[1].file_id)
    await at.annotate((marked, "glitch", 100, 200, 0.2))
    listed = await two.to_mark(annotation_set_id=str(at.built.annotation_set_id))
    assert listed == [every[0], *every[2:]]
    async with at.database.transaction() as connection:
        strange = str((await rows.dataset(connection)).annotation_set_id)
    await refused(two.to_mark(annotation_set_id=strange), "FAILED_PRECONDITION", "PREREQUISITES_NOT_MET")


async def test_jobs_of_two_datasets_are_refused(here):
    two = await two_jobs(here)
    async with two.at.database.transaction() as connection:
        two.at.built = await rows.dataset(connection, types=NAMES, frontends=("1",))
    other = await two.at.searched()
    for call in (two.compare, two.to_mark):
        refusal = await refused(
            call(other_detection_job_id=other), "FAILED_PRECONDITION", "PREREQUISITES_NOT_MET"
        )
        assert ("SAME_DATASET", f"detection_job/{other}") in [each[:2] for each in refusal.violations]
