"""The exported ONNX gives the product's own features and scores, in another runtime."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest

from earmark.trainer.export.frontend import features as exported_features
from earmark.trainer.export.graph import Graph
from earmark.trainer.export.onnx import onnx_model
from earmark.trainer.features.frontend import FEATURES, features
from earmark.trainer.features.similarity import STEP_FRAMES
from earmark.trainer.scoring.detection import frame_scores
from tests.sounds import RATE
from tests.trainer.export.models import ITS_LAG, TYPES, random_model, sound, surely_similar

# 22,050 Hz has frames of two lengths, 44,100 Hz a resampler of 80 phases.
RATES = (8_000, 16_000, 22_050, 44_100, 48_000)


@pytest.fixture(scope="module")
def model():
    return random_model()


def session(model_bytes: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model_bytes, options, providers=["CPUExecutionProvider"])


def computed_features(pcm: np.ndarray, rate: int) -> np.ndarray:
    graph = Graph()
    values = exported_features(graph.input("pcm", np.float32, ["samples"]), rate)
    [result] = session(graph.model({"features": (values, ["frames", FEATURES])}, {})).run(None, {"pcm": pcm})
    return result


@pytest.mark.parametrize("rate", RATES)
def test_the_features_are_the_front_ends(rate):
    pcm = sound(rate)
    expected = features(pcm, rate).astype(np.float32)
    difference = np.abs(computed_features(pcm, rate) - expected)
    # At 48 kHz, two lags of one step are equally high: 0.320425 and 0.320421.
    assert (difference[surely_similar(expected), ITS_LAG] > 0.05).sum() <= STEP_FRAMES
    others = np.delete(difference, ITS_LAG, axis=1)
    assert others.max() < 0.3
    assert (others > 0.02).mean() < 1e-3


@pytest.mark.parametrize("samples", [1, 80, 160, 161, 700, 8_000])
def test_short_audio_has_the_same_features(samples):
    pcm = sound()[RATE : RATE + samples]
    found, expected = computed_features(pcm, RATE), features(pcm, RATE)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=0.05)


def test_samples_that_are_no_numbers_or_too_large_are_replaced():
    pcm = sound()[: 2 * RATE]
    pcm[[100, 2_000, 3_000]] = np.nan, np.inf, -1e9
    found, expected = computed_features(pcm, RATE), features(pcm, RATE)
    assert (np.abs(found - expected) > 0.05).mean() < 1e-3


@pytest.mark.parametrize("rate", RATES)
def test_the_scores_are_the_products(model, rate):
    running, pcm = session(onnx_model(model, rate)), sound(rate)
    [scores] = running.run(None, {"pcm": pcm})
    [expected] = frame_scores(model, [features(pcm, rate)])
    assert expected.std(axis=0).min() > 0.05
    assert scores.shape == expected.shape
    assert np.abs(scores - expected).max() < 0.02
    assert np.abs(scores - expected).mean() < 1e-4


def test_a_piece_with_its_context_has_the_scores_of_the_whole(model):
    """As long a context as docs/export.md asks for, in seconds."""
    before, after, first, last = 14, 2, 16, 22
    running, pcm = session(onnx_model(model, RATE)), sound(seconds=30)
    [whole] = running.run(None, {"pcm": pcm})
    [piece] = running.run(None, {"pcm": pcm[(first - before) * RATE : (last + after) * RATE]})
    used = piece[before * 100 : (before + last - first) * 100]
    assert np.abs(used - whole[first * 100 : last * 100]).max() < 0.02


def test_the_file_says_what_it_takes_and_gives(model):
    data = onnx_model(model, 22_050)
    parsed = onnx.load_from_string(data)
    assert parsed.opset_import[0].version == 18
    running = session(data)
    assert [(i.name, i.type, i.shape) for i in running.get_inputs()] == [
        ("pcm", "tensor(float)", ["samples"])
    ]
    assert [(o.name, o.shape) for o in running.get_outputs()] == [("scores", ["frames", len(TYPES)])]
    metadata = running.get_modelmeta().custom_metadata_map
    assert (metadata["sample_rate_hz"], metadata["frame_ms"]) == ("22050", "10")
    types = json.loads(metadata["artifact_types"])
    assert [(each["name"], each["min_duration_ms"]) for each in types] == [
        (learned.name, learned.min_duration_ms) for learned in TYPES
    ]


def test_the_same_model_is_the_same_file(model):
    assert onnx_model(model, RATE) == onnx_model(random_model(), RATE)
