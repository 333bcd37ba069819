"""Detection jobs: many files in one call, each answered by itself."""

import json
import threading
from functools import partial

import grpc
import numpy as np
import pytest
from structlog.testing import capture_logs

from earmark.internal.v1 import trainer_service_pb2 as pb
from earmark.scores import DetectionConfig, Scores
from earmark.trainer.model import LearnedType
from earmark.trainer.packed_job import RECORD
from earmark.trainer.service import file_detection, runtime
from earmark.trainer.service.audio_pool import AudioPool
from earmark.trainer.workers.decoding import LONG_SAMPLES
from tests.sounds import bursts, encoded
from tests.trainer.process import (
    SECONDS,
    detection_job,
    failure,
    kind,
    open_stream,
    responses_and_error,
)
from tests.trainer.service.serving import serving, settings

GOOD = encoded(bursts(4, 7)[0], "WAV")
LONG = encoded(np.zeros((2 * LONG_SAMPLES, 1), np.int16), "FLAC")


def content(response) -> str:
    return response.WhichOneof("content")


def by_file(responses) -> dict[str, list]:
    """What was said about each file, in order; without heartbeats."""
    files: dict[str, list] = {}
    for response in responses:
        if content(response) not in ("accepted", "heartbeat"):
            said = getattr(response, content(response))
            files.setdefault(said.file_id, []).append(said)
    return files


def scores_of(said) -> Scores:
    return Scores.unpack(
        b"".join(each.data for each in said if isinstance(each, pb.DetectFilesResponse.Scores))
    )


def stored_features(request) -> pb.DetectFilesRequest:
    """The request for a file of a job's manifest whose features are stored."""
    file = request.file
    return pb.DetectFilesRequest(
        file={"file_id": file.audio_file_id, "features": file.features, "duration_ms": file.duration_ms}
    )


def test_every_file_is_answered_with_scores_that_give_what_detect_finds(trainer, model, files):
    recordings = [encoded(bursts(seconds, seconds)[0], "FLAC") for seconds in (3, 9)]
    requests = [*map(trainer.recording, recordings), stored_features(files[0])]
    responses = list(trainer.detect_files(model, requests, threshold=0.4))
    assert content(responses[0]) == "accepted"
    assert responses[0].accepted.device == "cpu"
    learned = [
        LearnedType("static", 1, model.min_durations_ms["static"], 0, model.merge_windows_ms["static"])
    ]
    answered = by_file(responses)
    for data, request in zip(recordings, requests, strict=False):
        started, *_, completed = answered[request.file.file_id]
        assert isinstance(started, pb.DetectFilesResponse.Started)
        found = scores_of(answered[request.file.file_id]).detections(learned, DetectionConfig(threshold=0.4))
        *detections, summary = trainer.detect(data, model, threshold=0.4)
        assert completed.duration_ms == summary.summary.duration_ms
        assert completed.detection_count == len(found) == len(detections) > 0
        assert [(d.start_ms, d.end_ms, d.confidence) for d in found] == [
            (d.detection.start_ms, d.detection.end_ms, d.detection.confidence) for d in detections
        ]
    of_stored = answered[files[0].file.audio_file_id]
    assert of_stored[-1].detection_count == len(files[0].file.annotations) // RECORD.itemsize
    assert of_stored[-1].duration_ms == scores_of(of_stored).duration_ms == 16_000


async def answers_of(stub, *requests) -> dict[str, list]:
    """What was said about each file by a trainer that has just started."""
    async for response in stub.WatchCapacity(pb.WatchCapacityRequest(), timeout=SECONDS):
        if response.capacity.free_detection_slots:
            break
    return by_file([response async for response in stub.DetectFiles(iter(requests), timeout=SECONDS)])


async def test_scores_are_sent_in_parts(trainer, model, files, monkeypatch):
    monkeypatch.setattr(file_detection, "PART_BYTES", 100)
    request = stored_features(files[0])
    async with serving(settings(trainer)) as stub:
        answered = await answers_of(stub, pb.DetectFilesRequest(job=detection_job(model)), request)
    said = answered[request.file.file_id]
    *parts, last = [len(each.data) for each in said[1:-1]]
    assert set(parts) == {100}
    assert last <= 100
    assert scores_of(said).values.shape == (1, 1_600, 1)


def test_what_is_wrong_with_a_file_fails_that_file_alone(trainer, model):
    trainer.objects.put("default/audio/damaged/features", b"no features")
    gone = {"file_id": "gone", "source": "default/recordings/gone/source"}
    no_features = {"file_id": "none", "features": "default/audio/none/features", "duration_ms": 1000}
    damaged = {"file_id": "damaged", "features": "default/audio/damaged/features", "duration_ms": 1000}
    noise, good = trainer.recording(b"not audio"), trainer.recording(GOOD)
    requests = [noise, *(pb.DetectFilesRequest(file=file) for file in (gone, no_features, damaged)), good]
    answered = {file_id: said[-1] for file_id, said in by_file(trainer.detect_files(model, requests)).items()}
    assert answered.pop(good.file.file_id).duration_ms == 4000
    invalid = answered.pop(noise.file.file_id)
    assert invalid.reason == "INVALID_AUDIO"
    assert "not audio in a known format" in invalid.message
    assert {failed.reason for failed in answered.values()} == {"STORED_DATA_DAMAGED"}
    assert "its bytes are gone: upload the file again" in answered["gone"].message
    assert "its features are damaged" in answered["damaged"].message
    assert set(answered) == {"gone", "none", "damaged"}


@pytest.mark.parametrize("of_model", ["missing", "damaged", "outdated"])
def test_a_model_that_cannot_be_used_fails_the_job_before_its_first_file(trainer, model, of_model):
    bad = pb.TrainResponse.Completed()
    bad.CopyFrom(model)
    match of_model:
        case "missing":
            bad.weights = "default/jobs/no/weights"
        case "damaged":
            bad.sha256 = "0" * 64
        case "outdated":
            config = json.loads(trainer.objects.get(model.model_config))
            bad.model_config = "default/jobs/outdated/model.json"
            trainer.objects.put(bad.model_config, json.dumps(config | {"frontend": "made up"}).encode())
    end = threading.Event()
    call = trainer.detect_files(bad, open_stream(trainer.recording(GOOD), end))
    responses, error = responses_and_error(call)
    end.set()
    assert set(map(content, responses)) <= {"accepted", "heartbeat"}
    reason = "MODEL_OUTDATED" if of_model == "outdated" else "STORED_DATA_DAMAGED"
    assert failure(error) == (grpc.StatusCode.FAILED_PRECONDITION, reason)
    assert kind(error) == pb.FAILURE_KIND_DATA


def test_the_first_message_must_be_the_job_and_the_others_files(trainer, model):
    job = pb.DetectFilesRequest(job=detection_job(model))
    for requests in ([trainer.recording(GOOD)], [job, job]):
        _, error = responses_and_error(trainer.stub.DetectFiles(iter(requests), timeout=SECONDS))
        assert failure(error) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")


def test_one_job_has_the_slot_until_its_call_ends(trainer, model):
    end = threading.Event()
    call = trainer.detect_files(model, open_stream(trainer.recording(GOOD), end))
    assert content(next(call)) == "accepted"
    busy = trainer.capacity()
    assert (busy.detection_slots, busy.free_detection_slots, busy.free_training_slots) == (1, 0, 1)
    responses, error = responses_and_error(trainer.detect_files(model))
    assert (responses, failure(error)) == ([], (grpc.StatusCode.RESOURCE_EXHAUSTED, "NO_FREE_SLOT"))
    assert kind(error) == pb.FAILURE_KIND_HANDED_BACK
    said = []
    while not said or content(said[-1]) != "completed":
        said.append(next(call))
    # The stream is open and nothing happens: there are heartbeats.
    assert [content(next(call)) for _ in range(2)] == ["heartbeat"] * 2
    end.set()
    assert {content(response) for response in call} <= {"heartbeat"}
    assert trainer.wait_for(lambda capacity: capacity.free_detection_slots).detection_slots == 1


def test_a_cancelled_job_leaves_nothing_behind(trainer, model):
    free = trainer.capacity().free_audio_slots
    call = trainer.detect_files(model, [trainer.recording(LONG) for _ in range(3)])
    while content(next(call)) != "started":
        pass
    trainer.wait_for(lambda capacity: capacity.free_audio_slots < capacity.audio_slots)
    call.cancel()
    trainer.wait_for(lambda capacity: capacity.free_detection_slots and capacity.free_audio_slots == free)
    (scratch,) = (trainer.data_dir / "scratch").iterdir()
    assert not list(scratch.iterdir())


async def test_a_file_that_ends_its_decoder_again_and_again_fails_alone(trainer, model, monkeypatch):
    hostile = partial(AudioPool, module="tests.trainer.service.hostile_child")
    monkeypatch.setattr(runtime, "AudioPool", hostile)
    requests = {act: trainer.recording(json.dumps({"do": act}).encode()) for act in ("exit", "full disk")}
    job = pb.DetectFilesRequest(job=detection_job(model))
    async with serving(settings(trainer)) as stub:
        with capture_logs() as logs:
            answered = await answers_of(stub, job, *requests.values())
    failed = {act: answered[request.file.file_id][-1] for act, request in requests.items()}
    assert failed["exit"].reason == "TRAINER_LOST"
    assert "exited with status 3" in failed["exit"].message
    assert failed["full disk"].reason == "INTERNAL"
    assert len([log for log in logs if log["event"] == "an audio process was lost while decoding"]) == 3
