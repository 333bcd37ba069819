"""Stored scores give the detections that the model would find, at any threshold."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from earmark.scores import ONE, DetectionConfig, Scores, detections, rounded
from earmark.trainer.model import LearnedType

TYPES = [LearnedType("dropout", merge_window_ms=80, min_duration_ms=30), LearnedType("echo")]


@st.composite
def scored_files(draw):
    tracks, frames = draw(st.integers(1, 3)), draw(st.integers(0, 60))
    values = draw(arrays.arrays(np.float32, (tracks, frames, len(TYPES)), elements=st.floats(0, 1, width=32)))
    channels = tuple((number,) for number in range(tracks))
    begins = tuple(draw(st.lists(st.integers(0, frames), min_size=tracks, max_size=tracks)))
    return Scores(rounded(values), channels, begins, duration_ms=10 * frames)


CONFIGS = st.builds(
    DetectionConfig,
    threshold=st.integers(0, ONE).map(lambda number: number / ONE) | st.floats(0, 1),
    thresholds=st.dictionaries(st.sampled_from(["dropout", "echo"]), st.floats(0, 1)),
    merge_window_ms=st.none() | st.integers(0, 300),
    min_duration_ms=st.none() | st.integers(0, 100),
)


@given(scored_files(), CONFIGS)
def test_stored_scores_give_the_detections_of_fresh_ones(scores, config):
    stored = Scores.unpack(scores.pack())

    np.testing.assert_array_equal(stored.values, scores.values)
    assert stored.detections(TYPES, config) == detections(
        scores.values, scores.channels, scores.begins, TYPES, scores.duration_ms, config
    )


@given(scored_files(), CONFIGS)
def test_no_confidence_is_below_its_threshold(scores, config):
    for detection in scores.detections(TYPES, config):
        assert detection.confidence >= np.float32(
            config.thresholds.get(detection.artifact_type, config.threshold)
        )


@pytest.mark.parametrize("threshold", [number / ONE for number in range(1, ONE + 1)])
def test_a_score_reaches_the_threshold_of_the_same_thousandths(threshold):
    scores = Scores(rounded(np.full((1, 10, 1), threshold, np.float32)), ((0,),), (0,), 100)

    assert [found.confidence for found in scores.detections(TYPES[:1], DetectionConfig(threshold))] == [
        threshold
    ]


def test_scores_of_silence_take_little_space():
    scores = Scores(np.zeros((1, 360_000, 8), np.float32), ((0,),), (0,), 3_600_000)

    assert len(scores.pack()) < 30_000


@pytest.mark.parametrize(
    "damaged",
    [b"", b"{}\n", b'{"shape": [1, 2, 3], "channels": [[0]], "begins": [0], "duration_ms": 20}\nxx'],
)
def test_bytes_of_another_form_are_refused(damaged):
    with pytest.raises(ValueError, match="scores"):
        Scores.unpack(damaged)
