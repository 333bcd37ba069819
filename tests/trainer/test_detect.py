from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.detect import DetectionConfig, detections, merged, runs

SCORES = st.lists(st.floats(0, 1, width=32), max_size=80).map(
    lambda values: np.array(values, np.float32)[:, None]
)
WINDOWS, SHORTEST = st.integers(0, 400), st.integers(0, 200)


def scores_of(*spans, frames=100, level=0.9):
    scores = np.zeros((frames, 1), np.float32)
    for start, end in spans:
        scores[start // 20 : end // 20] = level
    return scores


def found(scores, duration_ms=2000, **config):
    return [(d.start_ms, d.end_ms) for d in detections(scores, ["x"], duration_ms, DetectionConfig(**config))]


def test_detections_no_further_apart_than_the_window_are_one():
    spans = np.array([(1000, 1100), (1150, 1250), (1280, 1380)])
    assert merged(spans, 200).tolist() == [[1000, 1380]]
    assert merged(spans, 50).tolist() == [[1000, 1380]]
    assert merged(spans, 49).tolist() == [[1000, 1100], [1150, 1380]]
    assert merged(spans, 0).tolist() == spans.tolist()


def test_short_ones_are_dropped_after_joining():
    scores = scores_of((200, 240), (300, 340), (1000, 1040))
    assert found(scores, merge_window_ms=60, min_duration_ms=50) == [(200, 340)]
    assert found(scores, merge_window_ms=0, min_duration_ms=50) == []


def test_touching_detections_are_one_under_a_window_of_zero():
    assert merged(np.array([(0, 20), (20, 40)]), 0).tolist() == [[0, 40]]


def test_times_end_with_the_file():
    assert found(np.ones((10, 1), np.float32), duration_ms=193) == [(0, 193)]


def test_an_empty_track_has_no_detection():
    assert found(np.empty((0, 1), np.float32), duration_ms=0) == []


def test_a_types_own_threshold_goes_before_the_common_one():
    scores = np.full((50, 2), 0.6, np.float32)
    config = DetectionConfig(threshold=0.7, thresholds={"a": 0.6 - 1e-3})
    assert [d.artifact_type for d in detections(scores, ["a", "b"], 1000, config)] == ["a"]


def test_different_types_may_overlap_and_come_by_start():
    scores = np.zeros((50, 2), np.float32)
    scores[10:30, 0], scores[5:20, 1] = 0.8, 0.9
    assert [
        (d.artifact_type, d.start_ms) for d in detections(scores, ["a", "b"], 1000, DetectionConfig())
    ] == [
        ("b", 100),
        ("a", 200),
    ]


@given(SCORES, st.floats(0.01, 1), WINDOWS, SHORTEST)
def test_every_detection_keeps_its_promises(scores, threshold, window, shortest):
    duration = 20 * len(scores) - 5 if len(scores) else 0
    config = DetectionConfig(threshold, {}, window, shortest)
    result = detections(scores, ["x"], duration, config)
    for detection in result:
        assert 0 <= detection.start_ms < detection.end_ms <= duration
        assert detection.end_ms - detection.start_ms >= shortest
        assert threshold <= detection.confidence <= 1 or detection.confidence == pytest.approx(threshold)
    for before, after in pairwise(result):
        assert after.start_ms - before.end_ms > window


@given(SCORES, st.floats(0.01, 1), WINDOWS)
def test_a_wider_window_joins_more_and_loses_no_time(scores, threshold, window):
    duration = 20 * len(scores)
    narrow, wide = (
        detections(scores, ["x"], duration, DetectionConfig(threshold, {}, size, 0))
        for size in (window, window + 40)
    )
    assert len(wide) <= len(narrow)
    for one in narrow:
        assert any(big.start_ms <= one.start_ms and one.end_ms <= big.end_ms for big in wide)


@given(st.lists(st.booleans(), max_size=60))
def test_runs_cover_exactly_what_is_active(active):
    covered = np.zeros(len(active), bool)
    for start, end in runs(np.array(active, bool)):
        assert not covered[start:end].any()
        covered[start:end] = True
    assert covered.tolist() == active
