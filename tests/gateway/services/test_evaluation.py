"""Completed detection jobs against published annotations, through a gateway with a trainer."""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from uuid import UUID

import numpy as np
import pytest
from uuid_utils.compat import uuid7

from earmark.gateway.evaluation.marking import uncertainty
from earmark.gateway.services.scored_files import LearnedType
from earmark.internal.v1 import trainer_service_pb2 as trainer_pb
from earmark.metrics import Counts, event_counts, f1_intervals, segment_counts
from earmark.scores import DetectionConfig
from earmark.storage.database import Database
from earmark.v1 import evaluation_pb2 as pb
from tests.gateway import model_rows, rows
from tests.gateway import scripted_trainer as script
from tests.gateway.calls import refused
from tests.gateway.detecting_trainer import DetectingTrainer, scores_of
from tests.gateway.jobs import gateway
from tests.gateway.services.test_detection_jobs import Here

NAMES = ("glitch", "dropout")
TYPES = [LearnedType(name, 30, 0) for name in NAMES]
KINDS = pb.EvaluationErrorKind
DEFAULTS = DetectionConfig()


@pytest.fixture
async def stack():
    async with AsyncExitStack() as stack:
        yield stack


def seed_of(number: int, job: int) -> str:
    """The id whose `scores_of` are those of the file of this number in the job of this number."""
    return str(UUID(int=100 * number + job))


class NoTwoJobsAlike(DetectingTrainer):
    """What is found depends on the file's number and on the call's: the same in every run."""

    files: Sequence[str] = ()

    def _answers(self, file_id: str):
        number = self.files.index(file_id) if file_id in self.files else len(self.files)
        for response in super()._answers(seed_of(number, len(self.requests) - 1)):
            getattr(response, response.WhichOneof("content")).file_id = file_id
            yield response


class Evaluating(Here):
    """As Here, with two types, and with the annotations that a test chooses."""

    database: Database

    async def searched(self) -> str:
        return (await self.ended((await self.create()).id)).id

    async def annotate(self, *annotations: tuple) -> None:
        """Replaces the set's annotations: (file, type, onset, offset), and a confidence and a channel."""
        async with self.database.transaction() as connection:
            await connection.execute("DELETE FROM annotations")
            for number, name, start, end, *others in annotations:
                confidence, channel = [*others, 1.0, None][:2] if len(others) < 2 else others
                await connection.execute(
                    "INSERT INTO annotations (id, tenant_id, annotation_set_id, audio_file_id, dataset_id,"
                    " artifact_type, start_ms, end_ms, confidence, channel)"
                    " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
                    *(uuid7(), rows.TENANT, self.built.annotation_set_id, self.built.audio_file_ids[number]),
                    *(self.built.dataset_id, name, start, end, confidence, channel),
                )

    async def evaluate(self, job_id: str, **fields) -> pb.EvaluateDetectionJobResponse:
        return await self.stub.EvaluateDetectionJob(
            self.request(pb.EvaluateDetectionJobRequest, job_id, **fields)
        )

    async def errors(self, job_id: str, **fields) -> list[pb.EvaluationError]:
        result, token = [], ""
        while True:
            request = self.request(pb.ListEvaluationErrorsRequest, job_id, page_token=token, **fields)
            page = await self.stub.ListEvaluationErrors(request)
            result += page.errors
            token = page.next_page_token
            if not token:
                return result

    def request(self, kind, job_id: str, **fields):
        chosen = {"annotation_set_id": str(self.built.annotation_set_id)} | fields
        return kind(detection_job_id=job_id, **chosen)

    def found(
        self, number: int, name: str, config: DetectionConfig = DEFAULTS, job: int = 0
    ) -> list[tuple[int, int]]:
        """The onsets and offsets of what the trainer finds in a file."""
        scores = scores_of(seed_of(number, job), len(NAMES))
        return [
            (each.start_ms, each.end_ms)
            for each in scores.detections(TYPES, config)
            if each.artifact_type == name
        ]


@pytest.fixture
def here(stack, database_url, tmp_path):
    async def start(answer=lambda _: None, *, files: int = 6, **environment):
        trainer = NoTwoJobsAlike(types=len(NAMES), answer=answer)
        database = await stack.enter_async_context(Database(database_url))
        async with database.transaction() as connection:
            model_id = str(await model_rows.model(connection, active=True, types=NAMES))
            built = await rows.dataset(connection, types=(*NAMES, "echo"), files=files, frontends=("1",))
        address = await stack.enter_async_context(script.serving(trainer))
        channel = await stack.enter_async_context(gateway(database_url, tmp_path, address, **environment))
        trainer.files = list(map(str, built.audio_file_ids))
        at = Evaluating(channel, model_id, built, trainer)
        at.database = database
        return at

    return start


def spans(pairs) -> np.ndarray:
    return np.array(pairs, np.int64).reshape(-1, 2)


def drawn(at: Evaluating, files: int) -> list[tuple]:
    """Annotations at random: most where something was detected, some elsewhere, some of another type."""
    rng = np.random.default_rng(3)
    made = []
    for number in range(files):
        for name in NAMES:
            for start, end in at.found(number, name):
                if rng.random() < 0.7:
                    shown = name if rng.random() < 0.8 else NAMES[1 - NAMES.index(name)]
                    made.append((number, shown, max(0, start - int(rng.integers(0, 40))), end))
            made.append((number, name, start := int(rng.integers(0, 2500)), start + 60))
    return made


async def test_the_figures_are_those_of_each_file_added_up(here):
    at = await here()
    job_id = await at.searched()
    real = drawn(at, 5)
    await at.annotate(*real, (0, "echo", 2000, 2100), (1, "glitch", 100, 200, 0.4))
    for config in (DetectionConfig(), DetectionConfig(threshold=0.8, merge_window_ms=0)):
        sent = {} if config == DetectionConfig() else {"config": {"threshold": 0.8, "merge_window_ms": 0}}
        response = await at.evaluate(job_id, **sent)
        total, segments = Counts(), Counts()
        for name in NAMES:
            pairs = [
                (
                    spans([a[2:4] for a in real if a[:2] == (number, name)]),
                    spans(at.found(number, name, config)),
                )
                for number in range(6)
            ]
            each = [event_counts(*pair) for pair in pairs]
            counts = sum(each, Counts())
            total, segments = (
                total + counts,
                segments + sum((segment_counts(*pair) for pair in pairs), Counts()),
            )
            figures, shown = counts.figures(), response.metrics.per_type[name]
            assert (shown.precision, shown.recall, shown.support) == (
                figures.precision, figures.recall, figures.support,
            )  # fmt: skip
            by_file = np.array([[c.reference, c.estimated, c.matched] for c in each])
            (interval,) = f1_intervals(by_file[:, None])
            assert (shown.f1_score_interval.low, shown.f1_score_interval.high) == (
                interval.low,
                interval.high,
            )
            assert len(shown.precision_recall_curve) == 19
            assert not shown.HasField("chunk")
            assert not shown.HasField("average_precision")
        assert response.metrics.overall.f1_score == total.figures().f1_score
        assert response.metrics.segment.f1_score == segments.figures().f1_score
        assert (response.evaluated_files, response.unannotated_files, response.failed_files) == (6, 1, 0)
        assert not response.metrics.HasField("chunk")


async def test_the_confusion_counts_every_annotation_and_every_detection_once(here):
    at = await here()
    job_id = await at.searched()
    real = drawn(at, 6)
    await at.annotate(*real, (0, "echo", *at.found(0, "glitch")[0]))
    response = await at.evaluate(job_id)
    rows_of = {row.annotated_type: row for row in response.confusion}
    for name in NAMES:
        row, shown = rows_of[name], response.metrics.per_type[name]
        assert sum(row.detected_counts.values()) + row.missed_count == shown.support
        assert row.detected_counts[name] == round(shown.recall * shown.support)
        detected = sum(
            each.detected_counts[name] for each in response.confusion if name in each.detected_counts
        )
        assert detected == sum(len(at.found(number, name)) for number in range(6))
    assert sum(rows_of["echo"].detected_counts.values()) + rows_of["echo"].missed_count == 1
    assert rows_of[""].missed_count == 0


async def test_an_artifact_that_is_annotated_in_two_channels_counts_once(here):
    at = await here()
    job_id = await at.searched()
    await at.annotate(
        (0, "glitch", 100, 200, 1.0, 0), (0, "glitch", 110, 210, 1.0, 1), (0, "glitch", 900, 990, 1.0, 1)
    )
    assert (await at.evaluate(job_id)).metrics.per_type["glitch"].support == 2


async def test_the_errors_are_what_the_figures_count_as_wrong(here):
    at = await here()
    job_id = await at.searched()
    await at.annotate(*drawn(at, 6))
    response = await at.evaluate(job_id)
    errors = await at.errors(job_id)
    assert await at.errors(job_id, page_size=3) == errors
    for name in NAMES:
        shown = response.metrics.per_type[name]
        missed = await at.errors(job_id, artifact_types=[name], kinds=["EVALUATION_ERROR_KIND_MISSED"])
        false = await at.errors(
            job_id, artifact_types=[name], kinds=["EVALUATION_ERROR_KIND_FALSE_DETECTION"]
        )
        right = round(shown.recall * shown.support)
        assert (len(missed), len(false)) == (shown.support - right, round(right / shown.precision) - right)
        assert {KINDS.Name(error.kind) for error in missed} == {"EVALUATION_ERROR_KIND_MISSED"}
        row = next(row for row in response.confusion if row.annotated_type == name)
        assert sum(not error.other_type for error in missed) == row.missed_count
        assert all(error.confidence >= 0.5 for error in false)
    file_ids = [str(file_id) for file_id in at.built.audio_file_ids]
    assert [error.file_id for error in errors] == sorted([e.file_id for e in errors], key=file_ids.index)
    assert await at.errors(job_id, file_ids=[file_ids[2]]) == [e for e in errors if e.file_id == file_ids[2]]


async def test_what_is_annotated_as_it_was_found_has_no_errors(here):
    at = await here()
    job_id = await at.searched()
    await at.annotate(*((n, name, *span) for n in range(6) for name in NAMES for span in at.found(n, name)))
    metrics = (await at.evaluate(job_id)).metrics
    assert (metrics.overall.f1_score, metrics.macro_f1_score) == (1.0, 1.0)
    assert await at.errors(job_id) == []


async def test_files_that_failed_are_left_out_and_counted(here):
    def first_fails(file_id: str):
        if file_id == seed_of(0, job=0):
            return trainer_pb.DetectFilesResponse.Failed(
                file_id=file_id, reason="INVALID_AUDIO", message="is empty"
            )
        return None

    at = await here(first_fails, files=2)
    job_id = await at.searched()
    await at.annotate((0, "glitch", 100, 200), (1, "dropout", 100, 200))
    response = await at.evaluate(job_id)
    assert (response.evaluated_files, response.failed_files) == (1, 1)
    assert response.metrics.per_type["glitch"].support == 0
    assert response.metrics.overall.support == 1


async def test_a_job_and_a_set_that_do_not_fit_are_refused_with_every_reason(here):
    at = await here()
    recording = await at.upload(b"one")
    uploaded = (await at.ended((await at.create(recording_ids=[recording.id])).id)).id
    async with at.database.transaction() as connection:
        other = await rows.dataset(connection, set_status="draft")
    set_id = str(other.annotation_set_id)
    job_id = await at.searched()
    for call in (at.evaluate, at.errors):
        refusal = await refused(
            call(job_id, annotation_set_id=set_id), "FAILED_PRECONDITION", "PREREQUISITES_NOT_MET"
        )
        assert [(kind, subject) for kind, subject, _ in refusal.violations] == [
            ("SAME_DATASET", f"annotation_set/{set_id}"),
            ("ANNOTATION_SET_PUBLISHED", f"annotation_set/{set_id}"),
        ]
        refusal = await refused(call(uploaded), "FAILED_PRECONDITION", "PREREQUISITES_NOT_MET")
        assert [(kind, subject) for kind, subject, _ in refusal.violations] == [
            ("SAME_DATASET", f"detection_job/{uploaded}")
        ]
        await refused(call(job_id, config={"thresholds": {"echo": 0.1}}), "INVALID_ARGUMENT", "INVALID_FIELD")
        await refused(call(str(uuid7())), "NOT_FOUND", "NOT_FOUND")
        await refused(call(job_id, annotation_set_id=str(uuid7())), "NOT_FOUND", "NOT_FOUND")


async def test_a_job_that_is_not_completed_is_refused(here):
    at = await here()
    at.trainer.may_go_on.clear()
    job_id = (await at.create()).id
    refusal = await refused(at.evaluate(job_id), "FAILED_PRECONDITION", "PREREQUISITES_NOT_MET")
    assert [(kind, subject) for kind, subject, _ in refusal.violations] == [
        ("WRONG_STATE", f"detection_job/{job_id}")
    ]


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
