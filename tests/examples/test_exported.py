"""The examples give the product's own features, scores and detections."""

import importlib
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pytest
import soundfile

from earmark.scores import Scores
from earmark.storage.objects import ObjectStore
from earmark.trainer.export.native import archive
from earmark.trainer.export.onnx import onnx_model
from earmark.trainer.features.frontend import features
from earmark.trainer.features.stored import FileFeatures, file_features
from earmark.trainer.job import TrainingConfig
from earmark.trainer.model import Model, load_model, read_files, store_model
from earmark.trainer.scoring.detection import DetectionConfig, detect, frame_scores
from tests.sounds import RATE
from tests.trainer.export.models import ITS_LAG, random_model, sound, surely_similar

EXAMPLES = Path(__file__).parents[2] / "examples"
# Of a score. In NumPy, the lag of the self-similarity may be another one that is as similar.
MOST_DIFFERENCE = {"run_model.py": 0.05, "run_onnx.py": 0.005}

Place: TypeAlias = tuple[str, int, int]  # type, onset and offset in ms


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The model as it is loaded from the store, and the path of its native export."""
    folder = tmp_path_factory.mktemp("exported")
    objects = ObjectStore.open(str(folder / "objects"))
    config = TrainingConfig(("gone", "noisy", "clicking"), 1, 0.2, 0.001, 8, 500, 250, 0)
    stored = store_model(objects, "default/jobs/random", random_model(), config, 1, {})
    keys = (stored.weights, stored.config, stored.sha256)
    path = folder / "model.zip"
    path.write_bytes(archive(read_files(objects, *keys)))
    return load_model(objects, *keys), path


@pytest.fixture
def example(monkeypatch):
    """The modules of the example."""
    monkeypatch.syspath_prepend(EXAMPLES)
    return importlib.import_module("front_end"), importlib.import_module("run_model")


@pytest.mark.parametrize("name", ["run_model.py", "front_end.py"])
def test_the_example_needs_numpy_only(name):
    lines = (EXAMPLES / name).read_text().splitlines()
    imported = {line.split()[1].partition(".")[0] for line in lines if line.startswith(("import", "from"))}
    assert imported - {"front_end"} - sys.stdlib_module_names == {"numpy"}


def test_its_scores_from_stored_features_are_the_products(example, exported):
    model, path = exported
    values = features(sound(), RATE)
    config, weights = example[1].read_model(path)
    [expected] = frame_scores(model, [values])
    scores = example[1].frame_scores(config, weights, values)
    assert expected.std(axis=0).min() > 0.05
    assert np.abs(scores - expected).max() < 0.0011
    # A score may lie between two thousandths.
    assert (np.abs(scores - expected) > 1e-5).mean() < 1e-3


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
def test_its_front_end_is_the_products(example, rate):
    pcm = sound(rate)
    expected = features(pcm, rate).astype(np.float32)
    difference = np.abs(example[0].features(pcm, rate) - expected)
    assert (difference[surely_similar(expected), ITS_LAG] > 0.05).mean() < 0.1
    assert (np.delete(difference, ITS_LAG, axis=1) > 0.05).mean() < 1e-3


@pytest.mark.parametrize("begin", [0, 705])
def test_its_detections_from_scores_are_the_products(example, exported, begin):
    model, path = exported
    [scores] = frame_scores(model, [features(sound(), RATE)])
    duration_ms = len(scores) * 10 - 7
    types = example[1].read_model(path)[0]["artifact_types"]
    expected = Scores(scores[None], ((0,),), (begin,), duration_ms).detections(model.types, DetectionConfig())
    assert len(expected) > 5
    assert sorted(example[1].detections(types, scores, duration_ms, begin)) == sorted(
        (each.artifact_type, each.start_ms, each.end_ms, each.confidence) for each in expected
    )


@pytest.mark.parametrize("script", ["run_model.py", "run_onnx.py"])
def test_the_detections_from_audio_are_the_products(exported, tmp_path, script):
    pcm = sound()
    found = printed(script, exported, pcm, tmp_path)
    assert len(found) > 5
    check(script, found, exported[0], FileFeatures.of_mono(features(pcm, RATE)), len(pcm))


@pytest.mark.parametrize("script", ["run_model.py", "run_onnx.py"])
def test_one_of_several_channels_counts_from_where_its_signal_begins(exported, tmp_path, script):
    pcm = np.stack([sound(), sound(seed=4)])
    begin = int(7.055 * RATE)
    pcm[0, :begin] = 0
    both = file_features(pcm, RATE)
    first = FileFeatures(both.tracks[:1], both.channels[:1], both.begins[:1], both.views[:, :1])
    found = printed(script, exported, pcm.T, tmp_path)
    assert min(onset for _, onset, _ in found) == 7_050
    check(script, found, exported[0], first, pcm.shape[1])


def check(script: str, found: set[Place], model: Model, heard: FileFeatures, samples: int) -> None:
    """What is found lies between what the product finds at a higher and at a lower threshold.

    That is so if no score differs by more, for runs of scores and also when they are joined or dropped.
    """
    surely, perhaps = (
        {
            (each.artifact_type, each.start_ms, each.end_ms)
            for each in detect(model, heard, samples * 1000 // RATE, DetectionConfig(threshold=threshold))
        }
        for threshold in (0.5 + MOST_DIFFERENCE[script], 0.5 - MOST_DIFFERENCE[script])
    )
    assert len(surely) > 5
    assert all(any(is_within(each, one) for one in found) for each in surely)
    assert all(any(is_within(each, one) for one in perhaps) for each in found)


def is_within(one: Place, other: Place) -> bool:
    return one[0] == other[0] and other[1] <= one[1] and one[2] <= other[2]


def printed(script: str, exported, pcm: np.ndarray, folder: Path) -> set[Place]:
    """The places of what the script finds in PCM (samples,) or (samples, channels)."""
    model, path = exported
    soundfile.write(folder / "recording.wav", pcm, RATE, subtype="PCM_16")
    if script == "run_onnx.py":
        path = folder / "model.onnx"
        path.write_bytes(onnx_model(model, RATE))
    command = [sys.executable, EXAMPLES / script, path, folder / "recording.wav"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return {(kind, int(onset), int(end)) for kind, onset, end, _ in map(str.split, done.stdout.splitlines())}


def test_a_model_of_another_front_end_is_refused(example, exported, tmp_path):
    with zipfile.ZipFile(exported[1]) as archived, zipfile.ZipFile(tmp_path / "old.zip", "w") as old:
        config = json.loads(archived.read("model.json")) | {"frontend": "3"}
        old.writestr("model.json", json.dumps(config))
        old.writestr("model.safetensors", archived.read("model.safetensors"))
    with pytest.raises(ValueError, match="front end 4"):
        example[1].read_model(tmp_path / "old.zip")
