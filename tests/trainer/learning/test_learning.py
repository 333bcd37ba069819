"""The network that users get learns, and interruptions do not change what it learns."""

from dataclasses import replace

import numpy as np
import pytest

from tests.sounds import annotated_speech
from tests.trainer.jobs import completed, never, stored_file
from trainer.events import Checkpoint, Completed
from trainer.features.frontend import unpack_features
from trainer.learning.loop import train
from trainer.model import load_model
from trainer.scoring.detection import DetectionConfig, detect
from trainer.scoring.metrics import event_counts


@pytest.fixture(scope="module")
def longer(job):
    return replace(job, config=replace(job.config, epochs=8, learning_rate=0.003))


@pytest.fixture(scope="module")
def events(objects, longer):
    return list(train(longer, objects, never))


def test_the_stored_model_detects_artifacts_in_new_audio(objects, events):
    done = events[-1]
    assert isinstance(done, Completed)
    assert done.metrics.overall.f1_score > 0.8
    assert set(done.recommended_thresholds) == {"gone", "noisy"}
    model = load_model(objects, done.weights, done.config)
    fresh = stored_file(objects, "fresh", *annotated_speech(40, 99))
    detected = detect(
        model, unpack_features(objects.get(fresh.features)), fresh.duration_ms, DetectionConfig()
    )
    for kind in ("gone", "noisy"):
        reference = np.array([(a.start_ms, a.end_ms) for a in fresh.annotations if a.artifact_type == kind])
        estimated = np.array(
            [(d.start_ms, d.end_ms) for d in detected if d.artifact_type == kind], np.int64
        ).reshape(-1, 2)
        assert event_counts(reference, estimated).figures().f1_score > 0.8


def test_a_resumed_job_gives_the_same_bytes(objects, longer, events):
    before = [event.key for event in events if isinstance(event, Checkpoint)][-2]
    done = completed(replace(longer, resume_from=before, prefix="resumed"), objects)
    assert objects.get(done.weights) == objects.get(events[-1].weights)
    assert objects.get(done.config) == objects.get(events[-1].config)
