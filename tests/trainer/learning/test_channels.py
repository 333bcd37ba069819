"""Recordings with a voice in each channel, of which one has the artifacts."""

from dataclasses import replace

import numpy as np
import pytest

from earmark.scores import DetectionConfig
from earmark.trainer.events import Checkpoint
from earmark.trainer.features.stored import file_features
from earmark.trainer.job import TrainingJob
from earmark.trainer.learning.loop import train
from earmark.trainer.model import load_model
from earmark.trainer.scoring.detection import detect
from tests.sounds import RATE, annotated_speech, speech
from tests.trainer.jobs import completed, config, never, stored_file

SECONDS, FILES = 20, 8


def call(number):
    """Two channels, the number of the one with the artifacts, and their annotations without a channel."""
    audio, annotations = annotated_speech(SECONDS, number)
    channels = [audio, speech(SECONDS, seed=1000 + number)[: len(audio)]]
    broken = number % 2
    return np.stack(channels[::-1] if broken else channels), broken, annotations


def job_of(objects, *, named):
    """A job on such calls, whose annotations name their channel or do not."""
    files = []
    for number in range(FILES):
        audio, broken, annotations = call(number)
        marked = [one._replace(channel=broken) for one in annotations] if named else annotations
        files.append(stored_file(objects, f"call-{number}", audio, marked))
    settings = config(epochs=6, learning_rate=0.003)
    return TrainingJob("job", 1, settings, tuple(files), f"out-{named}")


def found_in_new_calls(objects, done):
    """How many annotations were found, of how many; and of the detections, those in the right channel."""
    model = load_model(objects, done.weights, done.config, done.sha256)
    found, total, right, heard = 0, 0, 0, 0
    for number in range(100, 104):
        audio, broken, annotations = call(number)
        results = detect(model, file_features(audio, RATE), SECONDS * 1000, DetectionConfig())
        total += len(annotations)
        found += sum(
            any(
                one.artifact_type == result.artifact_type and abs(one.start_ms - result.start_ms) < 200
                for result in results
            )
            for one in annotations
        )
        heard += len(results)
        right += sum(result.channels == (broken,) for result in results)
    return found, total, right, heard


@pytest.mark.parametrize("named", [True, False], ids=["channels named", "channels unknown"])
def test_artifacts_are_found_in_their_channel(objects, named):
    found, total, right, heard = found_in_new_calls(objects, completed(job_of(objects, named=named), objects))
    assert found >= 0.8 * total
    assert right >= 0.9 * heard


def test_a_resumed_job_goes_on_with_the_channels_that_it_has_learnt(objects):
    job = job_of(objects, named=False)
    events = list(train(job, objects, never))
    checkpoint = [event.key for event in events if isinstance(event, Checkpoint)][2]
    done = completed(replace(job, resume_from=checkpoint, prefix="resumed"), objects)
    assert objects.get(done.weights) == objects.get(events[-1].weights)
