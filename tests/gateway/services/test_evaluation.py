"""Completed detection jobs against published annotations, through a gateway with a trainer."""

from contextlib import AsyncExitStack
from functools import partial

import numpy as np
import pytest
from uuid_utils.compat import uuid7

from earmark.internal.v1 import trainer_service_pb2 as trainer_pb
from earmark.metrics import Counts, event_counts, f1_intervals, segment_counts
from earmark.scores import DetectionConfig
from earmark.v1 import evaluation_pb2 as pb
from tests.gateway import rows
from tests.gateway.calls import refused
from tests.gateway.evaluating import NAMES, drawn, seed_of, spans, start

KINDS = pb.EvaluationErrorKind


@pytest.fixture
async def here(database_url, tmp_path):
    async with AsyncExitStack() as stack:
        yield partial(start, stack, database_url, tmp_path)


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
