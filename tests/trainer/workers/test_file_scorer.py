"""The files of jobs share batches, and nothing that is not of a job waits for them."""

import threading
from multiprocessing import Pipe

import numpy as np
import pytest

from earmark.scores import Scores
from earmark.trainer.features.frontend import FEATURES
from earmark.trainer.features.stored import FileFeatures, pack_features
from earmark.trainer.model import LearnedType, Model
from earmark.trainer.network import Architecture, initial_parameters
from earmark.trainer.scoring.detection import scores_of_files
from earmark.trainer.settings import TrainerSettings
from earmark.trainer.workers import detection, file_scorer
from earmark.trainer.workers.answers import ModelCache
from earmark.trainer.workers.file_scorer import FileScorer
from earmark.trainer.workers.wire import (
    DetectionReply,
    Failed,
    FileRequest,
    Loaded,
    ModelRequest,
    Ready,
    Scored,
    Unreadable,
)
from tests.trainer.process import SECONDS

KEYS = ("weights", "config", "sha256")


@pytest.fixture(scope="module")
def model():
    architecture = Architecture(8, width=16, dilations=(1, 2))
    ones = np.ones(FEATURES, np.float32)
    return Model(architecture, (LearnedType("x"),), initial_parameters(architecture, 1), 0 * ones, ones)


@pytest.fixture
def models(objects, model, monkeypatch):
    """A cache that has the model under any keys."""
    models = ModelCache(objects)
    monkeypatch.setattr(models, "get", lambda *_keys: model)
    return models


def features(frames, seed):
    rng = np.random.default_rng(seed)
    return FileFeatures.of_mono(rng.normal(size=(frames, FEATURES)).astype(np.float16))


@pytest.fixture
def request_for(tmp_path):
    """Makes the request for a file with these features, packed, or without any."""

    def request(number, packed=None, keys=KEYS):
        path = tmp_path / f"features {number}"
        if packed is not None:
            path.write_bytes(packed)
        return FileRequest(number, *keys, path, tmp_path / f"scores {number}", 100_000, {})

    return request


@pytest.fixture
def groups(monkeypatch):
    """How many files were scored together each time."""
    sizes = []

    def scored(model, files, check, devices):
        sizes.append(len(files))
        return scores_of_files(model, files, check, devices)

    monkeypatch.setattr(file_scorer, "scores_of_files", scored)
    return sizes


def test_files_share_batches_and_have_the_scores_that_they_have_alone(models, model, request_for, groups):
    replies = {}
    scorer = FileScorer(models, replies.__setitem__)
    lengths = [700, 2_000, 3_500, 16_384, 100]
    of_files = [features(frames, seed) for seed, frames in enumerate(lengths)]
    requests = [request_for(number, pack_features(each)) for number, each in enumerate(of_files)]
    for request in requests:
        scorer.add(request)
    while len(replies) < len(requests):
        assert scorer.answer_next()
    assert groups == [4, 1]
    for request, alone in zip(requests, of_files, strict=True):
        (expected,) = scores_of_files(model, [(alone, request.duration_ms)])
        scores = Scores.unpack(request.scores.read_bytes())
        np.testing.assert_allclose(scores.values, expected.values, atol=2e-3)
        assert replies[request.number] == Scored(
            len(scores.detections(model.types, detection.DetectionConfig()))
        )


def test_features_that_cannot_be_read_are_no_fault_of_the_other_files(models, request_for, groups):
    replies = {}
    scorer = FileScorer(models, replies.__setitem__)
    empty = FileFeatures.of_mono(np.empty((0, FEATURES), np.float16))
    for request in (
        request_for(1, b"what a file made of its decoder"),
        request_for(2),
        request_for(3, pack_features(empty)),
        request_for(4, pack_features(features(20_000, 1))),
    ):
        scorer.add(request)
    assert scorer.answer_next()
    assert groups == [1]
    assert isinstance(replies[1], Unreadable)
    assert replies[2] == Failed("INTERNAL", "the call's files are gone: was it cancelled?")
    assert replies[3] == Unreadable("they have no frames")
    assert isinstance(replies[4], Scored)


def test_files_of_two_jobs_are_scored_with_their_own_models(models, request_for, groups):
    replies = {}
    scorer = FileScorer(models, replies.__setitem__)
    scorer.add(request_for(1, pack_features(features(100, 1))))
    scorer.add(request_for(2, pack_features(features(20_000, 2)), keys=("another", "config", "sha256")))
    assert scorer.answer_next()
    assert groups == [1, 1]
    assert set(replies) == {1, 2}


def test_a_file_whose_call_has_ended_is_scored_no_further(models, request_for, monkeypatch):
    request = request_for(1, pack_features(features(60_000, 1)))
    batches, replies = [], {}

    def scored(model, files, check, devices):
        def checked():
            batches.append(len(batches))
            request.features.unlink()
            check()

        return scores_of_files(model, files, checked, devices)

    monkeypatch.setattr(file_scorer, "scores_of_files", scored)
    scorer = FileScorer(models, replies.__setitem__)
    scorer.add(request)
    assert scorer.answer_next()
    assert len(batches) == 1
    assert replies[1] == Failed("INTERNAL", "the call's files are gone: was it cancelled?")


def test_other_requests_do_not_wait_for_a_file(tmp_path, objects, models, request_for, monkeypatch):
    scoring, finish = threading.Event(), threading.Event()

    def slow(model, files, check, devices):
        scoring.set()
        assert finish.wait(SECONDS)
        return scores_of_files(model, files, check, devices)

    monkeypatch.setattr(file_scorer, "scores_of_files", slow)
    monkeypatch.setattr(detection, "ModelCache", lambda _objects: models)
    monkeypatch.setattr(detection, "configure_logging", lambda _level: None)
    front, child = Pipe()
    settings = TrainerSettings(data_dir=tmp_path, object_store=str(objects.folder))

    def run():
        with pytest.raises(EOFError):
            detection.serve(child, settings)

    process = threading.Thread(target=run)
    process.start()
    assert isinstance(front.recv(), Ready)
    front.send(request_for(1, pack_features(features(20_000, 1))))
    assert scoring.wait(SECONDS)
    front.send(ModelRequest(2, *KEYS))
    assert front.poll(SECONDS)
    assert front.recv() == DetectionReply(2, Loaded())
    finish.set()
    assert front.poll(SECONDS)
    assert front.recv().number == 1
    front.close()
    process.join(SECONDS)
    assert not process.is_alive()
