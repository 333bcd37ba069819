"""What a call may not send: bytes that are no message, and keys of objects that it is not granted."""

import grpc
import pytest

from earmark.internal.v1 import trainer_service_pb2 as pb
from earmark.internal.v1 import trainer_service_pb2_grpc as pb_grpc
from tests.sounds import bursts, encoded
from tests.trainer.grants import granted
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
NOT_GRANTED = (grpc.StatusCode.PERMISSION_DENIED, "NOT_GRANTED")
INVALID = (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
MODELS = {"base_weights": "default/jobs/one/model.safetensors", "base_sha256": "0"}


@pytest.fixture(scope="module")
def granted_one(trainer):
    """A stub whose calls are granted the objects of one file, one job and one model."""
    own = ("default/audio/one", f"default/jobs/{JOB_ID}", "default/jobs/one", "default/recordings/one")
    channel = granted(grpc.insecure_channel(trainer.address), trainer.secret, own, own)
    with channel:
        yield pb_grpc.TrainerServiceStub(channel)


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
    ("keys", "refusal"),
    [
        ({"audio": "store-id"}, NOT_GRANTED),
        ({"audio": UPLOAD}, NOT_GRANTED),
        ({"audio": "default/audio/one-more/audio"}, NOT_GRANTED),
        ({"features": "default/audio/one/../another/source"}, INVALID),
        ({"features": "/default/audio/one/features"}, INVALID),
        ({"features": "default/audio/one/source"}, INVALID),
        ({"audio": "default/audio/one/features"}, INVALID),
        ({"source": UPLOAD}, NOT_GRANTED),
    ],
    ids=str,
)
def test_a_file_is_read_and_written_only_below_what_is_granted(trainer, granted_one, keys, refusal) -> None:
    sound = encoded(bursts(1, 1)[0], "WAV")
    for key in (UPLOAD, "default/audio/one/source"):
        trainer.objects.put(key, sound)
    store_id = trainer.objects.get("store-id")
    request = audio_request("one")
    request.MergeFrom(pb.ProcessAudioRequest(**keys))
    responses, error = responses_and_error(granted_one.ProcessAudio(request, timeout=SECONDS))
    assert responses == []
    assert failure(error) == refusal
    assert next(iter(keys)) in error.details()
    assert trainer.objects.get("store-id") == store_id
    assert [trainer.objects.get(key) for key in (UPLOAD, "default/audio/one/source")] == [sound, sound]


@pytest.mark.parametrize(
    ("keys", "file", "refusal"),
    [
        ({"prefix": "default/jobs/another"}, {}, NOT_GRANTED),
        ({"prefix": f"default/jobs/{JOB_ID}/../another"}, {}, INVALID),
        ({"resume_from": "default/jobs/another/checkpoint"}, {}, NOT_GRANTED),
        ({**MODELS, "base_model_config": UPLOAD}, {}, NOT_GRANTED),
        ({}, {"audio_file_id": "one", "features": UPLOAD}, NOT_GRANTED),
    ],
    ids=str,
)
def test_a_job_names_only_objects_that_are_granted(trainer, granted_one, keys, file, refusal) -> None:
    job = training_job()
    job.MergeFrom(pb.TrainRequest.Job(**keys))
    requests = [pb.TrainRequest(job=job), *([pb.TrainRequest(file=file)] if file else [])]
    trainer.warm()
    _, error = responses_and_error(granted_one.Train(iter(requests), timeout=SECONDS))
    assert failure(error) == refusal
    assert [*file, *keys][-1] in error.details()


def test_a_detection_names_only_objects_that_are_granted(granted_one) -> None:
    start = pb.DetectRequest.Start(weights=UPLOAD, model_config="default/jobs/one/model.json")
    _, error = responses_and_error(granted_one.Detect(iter([pb.DetectRequest(start=start)]), timeout=SECONDS))
    assert failure(error) == NOT_GRANTED


@pytest.mark.parametrize(
    ("changes", "file", "refusal"),
    [
        ({"weights": UPLOAD}, {}, NOT_GRANTED),
        ({}, {"file_id": "one", "source": UPLOAD}, NOT_GRANTED),
        ({}, {"file_id": "one", "features": "default/recordings/two/features"}, NOT_GRANTED),
        ({}, {"file_id": "one", "source": "default/recordings/one/../two/source"}, INVALID),
        (
            {},
            {
                "file_id": "one",
                "source": "default/audio/one/source",
                "features": "default/audio/one/features",
            },
            INVALID,
        ),
        ({}, {"file_id": "one"}, INVALID),
    ],
    ids=str,
)
def test_a_detection_job_names_only_objects_that_are_granted(
    trainer, granted_one, model, changes, file, refusal
) -> None:
    job = detection_job(model)
    job.MergeFrom(pb.DetectFilesRequest.Job(**changes))
    requests = [pb.DetectFilesRequest(job=job), *([pb.DetectFilesRequest(file=file)] if file else [])]
    _, error = responses_and_error(granted_one.DetectFiles(iter(requests), timeout=SECONDS))
    assert failure(error) == refusal
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
