"""The network that users get learns, and interruptions do not change what it learns."""

from dataclasses import replace

import pytest

from bench.quality.learning import detected
from bench.quality.sets import RECIPES, write_set
from bench.quality.speech import clips, split_by_voice, write_synthetic_clips
from bench.tools.data import default_config, read, stored
from bench.tools.folder import annotations, durations_ms
from bench.tools.scores import scores
from demo.artifacts import TYPES
from earmark.trainer.events import Checkpoint, Completed
from earmark.trainer.job import TrainingJob
from earmark.trainer.learning.loop import train
from earmark.trainer.model import load_model
from tests.trainer.jobs import completed, never


@pytest.fixture(scope="module")
def faults(tmp_path_factory):
    """The folders of six minutes of faults to train on, and of three minutes in other voices."""
    speech, folder = tmp_path_factory.mktemp("speech"), tmp_path_factory.mktemp("faults")
    write_synthetic_clips(speech, 10)
    recipe = replace(RECIPES["faults"], train_minutes=6, test_minutes=3)
    write_set(folder, recipe, *split_by_voice(clips(speech)), scale=1)
    return folder


@pytest.fixture(scope="module")
def job(objects, faults):
    dataset = read(faults / "train")
    config = replace(default_config(dataset, seed=7), epochs=8, learning_rate=0.003)
    return TrainingJob("job", 1, config, stored(dataset, objects), "out")


@pytest.fixture(scope="module")
def events(objects, job):
    return list(train(job, objects, never))


def test_the_stored_model_detects_faults_in_other_voices(objects, faults, events):
    done = events[-1]
    assert isinstance(done, Completed)
    model = load_model(objects, done.weights, done.config, done.sha256)
    test = read(faults / "test")
    figures = scores(annotations(faults / "test"), detected(model, test), durations_ms(faults / "test"))
    # Seeds 1 to 8 have an event F1 of 0.77-0.84 (mean 0.81), macro 0.75-0.81, and an onset error of 17-22 ms.
    # Without the columns of similarity the F1 are at most 0.69 and 0.63, and with all targets 100 ms late the
    # onset error is 84 ms.
    assert figures["event_f1"] > 0.74
    assert figures["event_f1_macro"] > 0.7
    assert figures["onset_error_ms"] < 45
    assert set(done.recommended_thresholds) == set(TYPES)


def test_a_resumed_job_gives_the_same_bytes(objects, job, events):
    before = [event.key for event in events if isinstance(event, Checkpoint)][-2]
    done = completed(replace(job, resume_from=before, prefix="resumed"), objects)
    assert objects.get(done.weights) == objects.get(events[-1].weights)
    assert objects.get(done.config) == objects.get(events[-1].config)
