"""What callers other than gateways may send: bytes that are no message, and keys of others' objects."""

import grpc
import pytest

from earmark.internal.v1 import trainer_service_pb2 as pb
from tests.sounds import bursts, encoded
from tests.trainer.process import (
    JOB_ID,
    SECONDS,
    audio_request,
    detection_job,
    failure,
    responses_and_error,
    training_job,
)

METHODS = list(pb.DESCRIPTOR.services_by_name["TrainerService"].methods)
UPLOAD = "default/audio/another/source"
MODELS = {"base_weights": "default/jobs/other/model.safetensors", "base_sha256": "0"}


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_bytes_that_are_no_message_are_refused_in_words(trainer, method) -> None:
    sending, receiving = (
        "stream" if streams else "unary" for streams in (method.client_streaming, method.server_streaming)
    )
    path = f"/{method.containing_service.full_name}/{method.name}"
    call = getattr(trainer.channel, f"{sending}_{receiving}")(path)
    data = b"\x0a\xff"
    with pytest.raises(grpc.RpcError) as caught:
        list(call(iter([data]) if method.client_streaming else data, timeout=SECONDS))
    assert failure(caught.value) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_MESSAGE")


@pytest.mark.parametrize(
    "keys",
    [
        {"audio": "store-id"},
        {"audio": UPLOAD},
        {"features": "default/audio/one/../another/source"},
        {"features": "/audio/one/features"},
        {"features": "default/audio/one/source"},
        {"audio": "default/audio/one/features"},
        {"source": UPLOAD},
    ],
    ids=str,
)
def test_a_file_is_read_and_written_only_below_its_own_prefix(trainer, keys) -> None:
    sound = encoded(bursts(1, 1)[0], "WAV")
    for key in (UPLOAD, "default/audio/one/source"):
        trainer.objects.put(key, sound)
    store_id = trainer.objects.get("store-id")
    request = audio_request("one")
    request.MergeFrom(pb.ProcessAudioRequest(**keys))
    responses, error = responses_and_error(trainer.stub.ProcessAudio(request, timeout=SECONDS))
    assert responses == []
    assert failure(error) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    assert next(iter(keys)) in error.details()
    assert trainer.objects.get("store-id") == store_id
    assert [trainer.objects.get(key) for key in (UPLOAD, "default/audio/one/source")] == [sound, sound]


@pytest.mark.parametrize(
    ("keys", "file"),
    [
        ({"prefix": "default/jobs/another"}, {}),
        ({"prefix": f"default/jobs/{JOB_ID}/../another"}, {}),
        ({"resume_from": "default/jobs/another/checkpoint"}, {}),
        ({**MODELS, "base_model_config": UPLOAD}, {}),
        ({}, {"audio_file_id": "one", "features": UPLOAD}),
    ],
    ids=str,
)
def test_a_job_names_only_its_own_objects_and_those_of_models_and_of_its_files(trainer, keys, file) -> None:
    job = training_job()
    job.MergeFrom(pb.TrainRequest.Job(**keys))
    requests = [pb.TrainRequest(job=job), *([pb.TrainRequest(file=file)] if file else [])]
    _, error = responses_and_error(trainer.warm().stub.Train(iter(requests), timeout=SECONDS))
    assert failure(error) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    assert [*file, *keys][-1] in error.details()


def test_a_detection_names_only_objects_of_models(trainer) -> None:
    start = pb.DetectRequest.Start(weights=UPLOAD, model_config="default/jobs/one/model.json")
    _, error = responses_and_error(
        trainer.stub.Detect(iter([pb.DetectRequest(start=start)]), timeout=SECONDS)
    )
    assert failure(error) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")


@pytest.mark.parametrize(
    ("changes", "file"),
    [
        ({"weights": UPLOAD}, {}),
        ({}, {"file_id": "one", "source": UPLOAD}),
        ({}, {"file_id": "one", "features": "default/recordings/one/features"}),
        ({}, {"file_id": "one", "source": "default/recordings/one/../two/source"}),
        (
            {},
            {
                "file_id": "one",
                "source": "default/audio/one/source",
                "features": "default/audio/one/features",
            },
        ),
        ({}, {"file_id": "one"}),
    ],
    ids=str,
)
def test_a_detection_job_names_only_objects_of_its_model_and_of_its_files(
    trainer, model, changes, file
) -> None:
    job = detection_job(model)
    job.MergeFrom(pb.DetectFilesRequest.Job(**changes))
    requests = [pb.DetectFilesRequest(job=job), *([pb.DetectFilesRequest(file=file)] if file else [])]
    _, error = responses_and_error(trainer.stub.DetectFiles(iter(requests), timeout=SECONDS))
    assert failure(error) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    assert trainer.capacity().free_detection_slots == 1


LONG = "x" * 100_000
TWICE = dict.fromkeys(("source", "audio", "features"), f"default/audio/one/{LONG}")


@pytest.mark.parametrize(
    ("method", "request_", "reason"),
    [
        ("HandBack", pb.HandBackRequest(training_job_id=LONG), "NOT_FOUND"),
        ("ProcessAudio", pb.ProcessAudioRequest(audio_file_id="one", **TWICE), "INVALID_FIELD"),
    ],
    ids=["a job", "a key"],
)
def test_an_error_about_something_long_has_its_reason(trainer, method, request_, reason) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        list(getattr(trainer.stub, method)(request_, timeout=SECONDS))
    assert failure(caught.value)[1] == reason
