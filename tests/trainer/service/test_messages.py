"""Conversions between messages and the trainer's own values that the tests of the rpcs do not cover."""

from uuid import UUID

import pytest

from earmark.figures import EvalMetrics, Figures, Interval, OperatingPoint, TypeMetrics
from earmark.gateway.convert.attempts import PART_BYTES, train_file_requests
from earmark.internal.v1 import trainer_service_pb2 as pb
from earmark.metrics_messages import to_metrics
from earmark.storage.queries.training import ManifestFile
from earmark.trainer.events import Notice, NoticeCode
from earmark.trainer.job import Annotation, BaseModel
from earmark.trainer.packed_job import RECORD
from earmark.trainer.service.errors import CallError
from earmark.trainer.service.keys import Granted, set_granted
from earmark.trainer.service.messages import SentFile, add_to, from_job, to_response
from earmark.v1 import training_service_pb2
from tests.records import records
from tests.trainer.process import training_job

MODEL_ID = "019a9f50-77c3-7e81-bb02-1a2b3c4d5e66"
KEYS = {
    "base_weights": "default/jobs/old/model.safetensors",
    "base_model_config": "default/jobs/old/model.json",
    "base_sha256": "ab" * 32,
}
SOME = Figures(0.5, 0.25, 1 / 3, 8)
NONE = Figures(None, None, None, 0)


def job_with_base(model_id: str, **keys: str) -> pb.TrainRequest.Job:
    job = training_job(base_model_id=model_id)
    job.MergeFrom(pb.TrainRequest.Job(**keys))
    return job


def test_a_job_without_a_base_model_has_none():
    assert from_job(training_job(), ()).job.base is None


def test_a_base_model_is_its_two_keys_and_its_hash():
    assert from_job(job_with_base(MODEL_ID, **KEYS), ()).job.base == BaseModel(*KEYS.values())


@pytest.mark.parametrize("missing", KEYS)
def test_a_base_model_without_a_key_is_refused_by_name(missing):
    keys = {name: key for name, key in KEYS.items() if name != missing}
    for job in (job_with_base(MODEL_ID, **keys), job_with_base("", **keys)):
        with pytest.raises(CallError, match=missing) as error:
            from_job(job, ())
        assert (error.value.reason, error.value.field) == ("INVALID_FIELD", f"job.{missing}")


def test_a_base_model_id_without_keys_is_refused():
    with pytest.raises(CallError, match="base_weights, base_model_config, base_sha256"):
        from_job(job_with_base(MODEL_ID), ())


@pytest.mark.parametrize("epochs", [None, 1, 100])
def test_early_stopping_is_off_if_it_is_missing(epochs):
    job = training_job(early_stopping_epochs=epochs)
    assert from_job(job, ()).job.config.early_stopping_epochs == epochs


@pytest.mark.parametrize("code", NoticeCode)
def test_every_notice_has_its_code_in_the_contract(code):
    notice = to_response(Notice(code, "what was found")).notice
    assert training_service_pb2.NoticeCode.Name(notice.code) == f"NOTICE_CODE_{code}"
    assert notice.message == "what was found"


def test_all_metrics_of_a_finished_model_are_in_the_message():
    curve = (OperatingPoint(0.5, 0.5, 0.25), OperatingPoint(0.95, None, 0.0))
    of_type = TypeMetrics(SOME, SOME, SOME, 0.7, 0.5, curve, Interval(0.2, 0.6))
    message = to_metrics(EvalMetrics(SOME, NONE, SOME, 0.4, {"echo": of_type}, Interval(0.25, 0.5)))
    assert (message.overall.precision, message.segment.recall, message.chunk.HasField("recall")) == (
        0.5,
        0.25,
        False,
    )
    assert (message.f1_score_interval.low, message.f1_score_interval.high) == (0.25, 0.5)
    echo = message.per_type["echo"]
    assert (echo.f1_score, echo.segment.support, echo.best_threshold) == (1 / 3, 8, 0.5)
    assert (echo.f1_score_interval.low, echo.f1_score_interval.high) == (0.2, 0.6)
    first, last = echo.precision_recall_curve
    assert (first.threshold, first.precision, first.recall) == (0.5, 0.5, 0.25)
    assert not last.HasField("precision")


def test_a_figure_without_a_value_stays_unset():
    message = to_metrics(EvalMetrics(NONE, NONE, NONE, None, {"echo": TypeMetrics(NONE, NONE, NONE, None)}))
    assert not message.HasField("f1_score_interval")
    echo = message.per_type["echo"]
    assert not any(echo.HasField(name) for name in ("f1_score_interval", "best_threshold", "precision"))
    assert not echo.precision_recall_curve


@pytest.mark.parametrize("count", [0, 1, PART_BYTES // RECORD.itemsize, 3 * PART_BYTES // RECORD.itemsize])
def test_a_file_with_any_number_of_annotations_reaches_the_trainer_in_parts(count):
    set_granted(Granted(reads=("default/audio",)))
    types, channels = ["click", "echo"], (None, 0, 1)
    marks = [
        Annotation(types[number % 2], 10 * number, 10 * number + 5, 1.0, channels[number % 3])
        for number in range(count)
    ]
    files: list[SentFile] = []
    whole = (UUID(MODEL_ID), "hash", 1000, "Ana", records(marks, types))
    empty = (UUID(int=1), "", 1000, "", b"")
    for sent in (ManifestFile(*whole), ManifestFile(*empty)):
        for request in train_file_requests("default", sent):
            assert request.ByteSize() < 1 << 20
            add_to(files, request)
    file, other = from_job(training_job(artifact_types=types), files).unpacked().files
    assert list(file.annotations) == marks
    assert (file.audio_file_id, file.sha256, file.group) == (MODEL_ID, "hash", "Ana")
    assert (other.annotations, other.group) == ((), None)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"duration_ms": 0}, "its duration_ms is 0"),
        ({"annotations": b"12345"}, "have 5 bytes, which are no records of 28"),
        (
            {"annotations": records([Annotation("b", 0, 1)], ["a", "b"])},
            "types 1 to 1, of 1 that the job has",
        ),
    ],
    ids=lambda value: "" if isinstance(value, str) else str(*value),
)
def test_a_file_that_cannot_be_trained_on_is_refused_by_the_front(changes, problem):
    set_granted(Granted(reads=("default/audio",)))
    file = {"audio_file_id": "one", "features": "default/audio/one/features", "duration_ms": 1000} | changes
    files: list[SentFile] = []
    add_to(files, pb.TrainRequest(file=file))
    with pytest.raises(CallError, match=problem):
        from_job(training_job(), files)


def test_annotations_without_a_file_are_refused():
    with pytest.raises(CallError, match="every message but the first must be a file"):
        add_to([], pb.TrainRequest(more_annotations=pb.TrainRequest.MoreAnnotations()))
