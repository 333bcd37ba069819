import json
import re

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from earmark.internal.v1 import trainer_service_pb2 as pb
from tests.sounds import bursts, encoded
from tests.trainer.process import failure


@pytest.fixture(scope="module")
def recording():
    audio, annotations = bursts(10, seed=99)
    return encoded(audio, "FLAC"), annotations


def test_detections_are_sent_by_start_and_then_the_summary(trainer, model, recording):
    data, annotations = recording
    responses = trainer.detect(data, model)
    starts = [response.detection.start_ms for response in responses[:-1]]
    assert len(starts) == len(annotations)
    errors = [start - annotation.start_ms for start, annotation in zip(starts, annotations, strict=True)]
    assert max(map(abs, errors)) <= 40
    assert {tuple(response.detection.channels) for response in responses[:-1]} == {(0,)}
    assert responses[-1].summary.duration_ms == 10_000


def test_the_detection_config_is_applied(trainer, model, recording):
    merged = trainer.detect(recording[0], model, merge_window_ms=5000)
    assert len(merged) == 2
    by_type = {"merge_window_ms": 0, "merge_windows_ms": {"static": 5000}}
    assert trainer.detect(recording[0], model, **by_type) == merged
    for nothing in (
        {"thresholds": {"static": 1.0}},
        {"min_duration_ms": 1000},
        {"min_duration_ms": 0, "min_durations_ms": {"static": 1000}},
    ):
        responses = trainer.detect(recording[0], model, **nothing)
        assert [response.WhichOneof("content") for response in responses] == ["summary"], nothing


def test_detection_does_not_wait_for_training(trainer, model, files, recording):
    job = trainer.train(files, epochs=100)
    next(job)
    assert len(trainer.detect(recording[0], model)) > 1
    assert trainer.capacity().free_training_slots == 0
    job.cancel()
    trainer.warm()


def test_undecodable_audio_is_an_invalid_argument(trainer, model):
    with pytest.raises(grpc.RpcError) as caught:
        trainer.detect(b"not audio", model)
    assert failure(caught.value) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_AUDIO")
    assert "not audio in a known format" in caught.value.details()


def test_a_missing_model_is_named(trainer, recording):
    with pytest.raises(grpc.RpcError) as caught:
        trainer.detect(
            recording[0],
            pb.TrainResponse.Completed(
                weights="default/jobs/no/weights", model_config="default/jobs/no/config"
            ),
        )
    assert failure(caught.value) == (grpc.StatusCode.FAILED_PRECONDITION, "STORED_DATA_DAMAGED")
    assert "default/jobs/no/config" in caught.value.details()


def test_a_model_of_another_front_end_is_outdated(trainer, model, recording):
    config = json.loads(trainer.objects.get(model.model_config))
    trainer.objects.put("default/jobs/old/model.json", json.dumps(config | {"frontend": "made up"}).encode())
    old = pb.TrainResponse.Completed()
    old.CopyFrom(model)
    old.model_config = "default/jobs/old/model.json"
    with pytest.raises(grpc.RpcError) as caught:
        trainer.detect(recording[0], old)
    assert failure(caught.value) == (grpc.StatusCode.FAILED_PRECONDITION, "MODEL_OUTDATED")
    assert re.search("front end made up, this trainer has .*: train it again", caught.value.details())


def test_the_first_message_must_be_the_start(trainer):
    with pytest.raises(grpc.RpcError) as caught:
        list(trainer.stub.Detect(iter([pb.DetectRequest(data=b"x")])))
    assert failure(caught.value) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")


@pytest.mark.parametrize(
    ("fields", "field"),
    [({}, "format"), ({"format": "MODEL_FORMAT_ONNX", "sample_rate_hz": 16_001}, "sample_rate_hz")],
)
def test_an_export_that_the_gateway_did_not_check_is_refused(trainer, fields, field):
    keys = {"weights": "default/jobs/no/weights", "model_config": "default/jobs/no/config"}
    with pytest.raises(grpc.RpcError) as caught:
        list(trainer.stub.ExportModel(pb.ExportModelRequest(**keys, **fields)))
    assert failure(caught.value) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    violations = error_details_pb2.BadRequest()
    assert any(detail.Unpack(violations) for detail in rpc_status.from_call(caught.value).details)
    assert [violation.field for violation in violations.field_violations] == [field]
