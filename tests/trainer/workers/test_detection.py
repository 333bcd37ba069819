"""What the detection process answers when something crashes that nobody expected."""

from multiprocessing import Pipe

import pytest

from earmark.trainer.model import empty_model
from earmark.trainer.network import Architecture
from earmark.trainer.scoring.detection import BATCHES, tile_scores
from earmark.trainer.workers.answers import ModelCache
from earmark.trainer.workers.detection import _Lanes, answer
from earmark.trainer.workers.wire import DetectionRequest, ExportRequest, Failed


def test_a_crash_is_answered_in_words_of_our_own(objects, tmp_path, monkeypatch):
    (features := tmp_path / "features").write_bytes(b"the bytes of a decoder that a file has taken over")
    models = ModelCache(objects)
    monkeypatch.setattr(models, "get", lambda *_keys: None)
    outcome = answer(DetectionRequest(1, "weights", "config", "hash", features, 1000, {}), models)
    assert outcome == Failed("INTERNAL", "detection crashed: the trainer's log has the traceback")


def test_a_crash_of_an_export_is_named_as_one(objects, tmp_path, monkeypatch):
    models = ModelCache(objects)
    monkeypatch.setattr(models, "files", lambda *_keys: None)
    outcome = answer(ExportRequest(1, "weights", "config", "hash", tmp_path / "exported", None), models)
    assert outcome == Failed("INTERNAL", "the export crashed: the trainer's log has the traceback")


def test_what_new_models_need_is_compiled_before_the_first_request(objects):
    front, process = Pipe()
    lanes = _Lanes(process, ModelCache(objects), empty_model(Architecture(8, width=24)))
    front.close()
    lanes.read()
    compiled = tile_scores._cache_size()
    with pytest.raises(EOFError):
        lanes.answer()
    assert tile_scores._cache_size() == compiled + len(BATCHES)
