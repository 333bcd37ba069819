from dataclasses import astuple, replace
from itertools import pairwise

import jax
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from earmark.scores import FRAME_MS, DetectionConfig, Findings, detections, merged, rounded, runs
from earmark.trainer.features.frontend import FEATURES
from earmark.trainer.features.stored import FileFeatures
from earmark.trainer.model import LearnedType, Model, empty_model
from earmark.trainer.network import Architecture, initial_parameters, logits
from earmark.trainer.scoring import live
from earmark.trainer.scoring.detection import (
    TILE,
    cleaned,
    detect,
    frame_scores,
    prepare,
    raw_scores,
    shifted,
    tile_scores,
)

SCORES = st.lists(st.floats(0, 1, width=32), max_size=80).map(
    lambda values: np.array(values, np.float32)[:, None]
)
ONE, TWO = [LearnedType("x")], [LearnedType("a"), LearnedType("b")]
WINDOWS, SHORTEST = st.integers(0, 400), st.integers(0, 200)


def scores_of(*spans, duration_ms=2000, level=0.9):
    scores = np.zeros((duration_ms // FRAME_MS, 1), np.float32)
    for start, end in spans:
        scores[start // FRAME_MS : end // FRAME_MS] = level
    return scores


def mono(scores, types, duration_ms, config):
    """The detections in the scores (frames, types) of the only channel."""
    return detections(rounded(scores)[None], ((0,),), (0,), types, duration_ms, config)


def detected(scores, duration_ms=2000, **config):
    return [(d.start_ms, d.end_ms) for d in mono(scores, ONE, duration_ms, DetectionConfig(**config))]


def test_detections_no_further_apart_than_the_window_are_joined():
    spans = np.array([(1000, 1100), (1150, 1250), (1280, 1380)])
    assert merged(spans, 200).tolist() == [[1000, 1380]]
    assert merged(spans, 50).tolist() == [[1000, 1380]]
    assert merged(spans, 49).tolist() == [[1000, 1100], [1150, 1380]]
    assert merged(spans, 0).tolist() == spans.tolist()


def test_short_detections_are_dropped_after_joining():
    scores = scores_of((200, 240), (300, 340), (1000, 1040))
    assert detected(scores, merge_window_ms=60, min_duration_ms=50) == [(200, 340)]
    assert detected(scores, merge_window_ms=0, min_duration_ms=50) == []


def test_touching_detections_are_joined_even_with_a_window_of_zero():
    assert merged(np.array([(0, 20), (20, 40)]), 0).tolist() == [[0, 40]]


def test_detections_end_with_the_file():
    assert detected(np.ones((20, 1), np.float32), duration_ms=193) == [(0, 193)]


def test_an_empty_file_has_no_detection():
    assert detected(np.empty((0, 1), np.float32), duration_ms=0) == []


def test_the_threshold_of_a_type_overrides_the_common_one():
    scores = np.full((50, 2), 0.6, np.float32)
    config = DetectionConfig(threshold=0.7, thresholds={"a": 0.6 - 1e-3})
    assert [d.artifact_type for d in mono(scores, TWO, 1000, config)] == ["a"]


def test_detections_of_different_types_may_overlap_and_are_ordered_by_start():
    scores = np.zeros((100, 2), np.float32)
    scores[20:60, 0], scores[10:40, 1] = 0.8, 0.9
    assert [(d.artifact_type, d.start_ms) for d in mono(scores, TWO, 1000, DetectionConfig())] == [
        ("b", 100),
        ("a", 200),
    ]


@given(SCORES, st.floats(0.01, 1), WINDOWS, SHORTEST)
@example(np.float32([[0.610108], [0], [0.610108]]), 0.6101080135435449, 0, 0)
def test_every_detection_obeys_the_configuration(scores, threshold, window, shortest):
    duration = FRAME_MS * len(scores) - 5 if len(scores) else 0
    config = DetectionConfig(threshold, {}, window, shortest)
    result = mono(scores, ONE, duration, config)
    for detection in result:
        assert 0 <= detection.start_ms < detection.end_ms <= duration
        assert detection.end_ms - detection.start_ms >= shortest
        assert threshold <= detection.confidence <= 1 or detection.confidence == pytest.approx(threshold)
    for before, after in pairwise(result):
        assert after.start_ms - before.end_ms > window


@given(SCORES, st.floats(0.01, 1), WINDOWS)
def test_a_wider_window_joins_more_and_covers_all_that_a_narrow_one_does(scores, threshold, window):
    duration = FRAME_MS * len(scores)
    narrow, wide = (
        mono(scores, ONE, duration, DetectionConfig(threshold, {}, size, 0)) for size in (window, window + 40)
    )
    assert len(wide) <= len(narrow)
    for one in narrow:
        assert any(big.start_ms <= one.start_ms and one.end_ms <= big.end_ms for big in wide)


@given(st.lists(st.booleans(), max_size=60))
def test_runs_cover_exactly_the_active_outputs(active):
    covered = np.zeros(len(active), bool)
    for start, end in runs(np.array(active, bool)):
        assert not covered[start:end].any()
        covered[start:end] = True
    assert covered.tolist() == active


OWN = [LearnedType(name, min_duration_ms=101, merge_window_ms=49) for name in ("a", "b")]


def found(**config):
    """What is detected of two types in runs of 100, 120 and 150 ms with gaps of 50 and 30 ms."""
    scores = np.repeat(scores_of((200, 300), (350, 470), (500, 650)), 2, axis=1)
    result = mono(scores, OWN, 2000, DetectionConfig(**config))
    return {name: [(d.start_ms, d.end_ms) for d in result if d.artifact_type == name] for name in ("a", "b")}


LONG, BOTH = [(350, 650)], [(200, 300), (350, 650)]
APART, JOINED = [(350, 470), (500, 650)], [(200, 650)]


def test_without_settings_each_type_has_its_own_window_and_minimum():
    assert found() == {"a": LONG, "b": LONG}


@pytest.mark.parametrize(
    ("minimum", "kept"), [(0, BOTH), (100, BOTH), (101, LONG), (300, LONG), (301, []), (1000, [])]
)
def test_a_requested_minimum_replaces_that_of_every_type(minimum, kept):
    assert found(min_duration_ms=minimum) == {"a": kept, "b": kept}


@pytest.mark.parametrize(("window", "kept"), [(0, APART), (29, APART), (30, LONG), (49, LONG), (50, JOINED)])
def test_a_requested_window_replaces_that_of_every_type(window, kept):
    assert found(merge_window_ms=window) == {"a": kept, "b": kept}


@pytest.mark.parametrize("for_all", [None, 0, 301])
def test_the_minimum_of_a_type_overrides_the_common_one(for_all):
    others = found(min_duration_ms=for_all)["b"]
    for minimum, kept in ((0, BOTH), (300, LONG), (1000, [])):
        result = found(min_duration_ms=for_all, min_durations_ms={"a": minimum})
        assert result == {"a": kept, "b": others}


@pytest.mark.parametrize("for_all", [None, 0, 5000])
def test_the_window_of_a_type_overrides_the_common_one(for_all):
    others = found(merge_window_ms=for_all)["b"]
    for window, kept in ((0, APART), (30, LONG), (5000, JOINED)):
        result = found(merge_window_ms=for_all, merge_windows_ms={"a": window})
        assert result == {"a": kept, "b": others}


def test_the_minimum_of_zero_does_not_report_a_detection_without_length():
    """The last frame begins where the recording ends."""
    assert detected(np.ones((1, 1), np.float32), duration_ms=0, min_duration_ms=0) == []


def test_the_length_of_a_joined_detection_is_that_of_the_whole():
    scores, kind = scores_of((200, 300), (400, 500)), LearnedType("x", min_duration_ms=250)
    assert len(mono(scores, [kind], 2000, DetectionConfig(merge_window_ms=100))) == 1
    assert mono(scores, [kind], 2000, DetectionConfig(merge_window_ms=99)) == []


def test_smoothing_removes_short_peaks_and_fills_short_gaps():
    scores = scores_of((200, 240), (600, 800), (840, 1000))
    result = cleaned(scores, [LearnedType("x", smoothing=9)])
    np.testing.assert_array_equal(result, scores_of((600, 1000)))


def test_each_type_is_smoothed_by_its_own_length():
    scores = np.repeat(scores_of((200, 230)), 2, axis=1)
    result = cleaned(scores, [LearnedType("a", smoothing=3), LearnedType("b", smoothing=9)])
    np.testing.assert_array_equal(result[:, 0], scores[:, 0])
    assert not result[:, 1].any()


def test_each_type_is_joined_by_its_own_window():
    scores = np.repeat(scores_of((200, 300), (350, 400)), 2, axis=1)
    types = [LearnedType("close", merge_window_ms=49), LearnedType("far", merge_window_ms=50)]
    result = mono(scores, types, 2000, DetectionConfig())
    spans = sorted((d.artifact_type, d.start_ms, d.end_ms) for d in result)
    assert spans == [("close", 200, 300), ("close", 350, 400), ("far", 200, 400)]


def test_shifting_adds_to_the_logit_and_keeps_scores_of_0_and_1():
    scores = np.array([[0, 0.2], [1, 0.5]], np.float32)
    result = shifted(scores, [2.0, np.log(4)])
    np.testing.assert_allclose(result, [[0, 0.5], [1, 0.8]], rtol=1e-6)


@given(SCORES, st.floats(-12, 12))
@example(np.ones((1, 1), np.float32), -6.0)
@example(np.ones((1, 1), np.float32), -8.0)
def test_shifted_scores_stay_between_0_and_1_and_in_the_same_order(scores, offset):
    result = shifted(scores, [offset])
    assert np.all((result >= 0) & (result <= 1))
    order = np.argsort(scores[:, 0], kind="stable")
    assert np.all(np.diff(result[order, 0]) >= -1e-6)


@given(SCORES, st.floats(0.0625, 1, width=32), st.sampled_from([1, 3, 5, 9]))
def test_cleaning_scores_before_or_after_the_threshold_gives_the_same(scores, threshold, width):
    kind = LearnedType("x", smoothing=width)
    before = cleaned(rounded(scores), [kind]) >= threshold
    after = cleaned((rounded(scores) >= threshold).astype(np.float32), [kind]) > 0.5
    np.testing.assert_array_equal(before, after)


SCORED = st.integers(1, 3).flatmap(
    lambda tracks: st.lists(
        st.lists(st.sampled_from([0.0, 0.3, 0.5, 0.9, 1.0]), min_size=2 * tracks, max_size=2 * tracks),
        max_size=60,
    ).map(lambda rows: np.array(rows, np.float32).reshape(-1, tracks, 2).swapaxes(0, 1))
)


@settings(max_examples=100)
@given(SCORED, st.lists(st.integers(0, 60)), st.integers(0, 120), st.integers(0, 60), st.data())
def test_detections_of_a_stream_are_those_of_the_whole_each_once_and_by_start(
    scores, cuts, window, shortest, data
):
    """However the scores are cut; the second type is behind the first."""
    tracks, frames = scores.shape[:2]
    config = DetectionConfig(0.5, {}, window, shortest)
    begins = data.draw(st.lists(st.integers(0, 60), min_size=tracks, max_size=tracks))
    channels, duration = tuple((number,) for number in range(tracks)), max(0, frames * FRAME_MS - 3)
    findings, given_, judged = Findings(channels, TWO, config), [], 0
    for part in np.split(scores, sorted(min(cut, frames) for cut in cuts), axis=1):
        findings.add(0, part[:, :, 0], begins)
        given_ += (now := findings.take())
        assert all(detection.start_ms >= judged for detection in now)
        findings.add(1, part[:, :, 1], begins)
        given_ += findings.take()
        judged = findings.judged_ms
    given_ += (last := findings.finish(duration))
    assert all(detection.start_ms >= judged for detection in last)
    assert given_ == detections(scores, channels, begins, TWO, duration, config)


def test_a_detection_is_given_as_soon_as_its_window_has_passed_and_not_before():
    findings = Findings(((0,),), ONE, DetectionConfig(merge_window_ms=30))
    scores = scores_of((100, 200), duration_ms=240).T
    findings.add(0, scores[:, :23], (0,))
    assert (findings.take(), findings.judged_ms) == ([], 100)
    findings.add(0, scores[:, 23:], (0,))
    assert [(d.start_ms, d.end_ms) for d in findings.take()] == [(100, 200)]
    assert findings.judged_ms == 240


def test_a_track_counts_from_its_begin_on():
    scores = np.stack([scores_of((0, 500)), scores_of((0, 500))])
    result = detections(scores, ((0,), (1,)), (30, 200), ONE, 2000, DetectionConfig())
    assert [(d.start_ms, d.end_ms, d.channels) for d in result] == [(300, 500, (0,))]


LENGTHS = [1, 2, 9, 767, 768, 769, TILE - 1, TILE, TILE + 1, 1537, 3001]


@pytest.fixture(scope="module")
def model():
    """A model with random weights, so that every output depends on all of its context."""
    architecture, rng = Architecture(8, width=16), np.random.default_rng(1)
    weights = jax.tree.map(
        lambda w: w + rng.normal(0, 0.2, w.shape).astype(np.float32), initial_parameters(architecture, 0)
    )
    types = tuple(LearnedType(name, offset=offset) for name, offset in (("a", 0.0), ("b", -1.5), ("c", 0.5)))
    mean, deviation = rng.normal(size=FEATURES), rng.uniform(0.5, 2, FEATURES)
    return Model(architecture, types, weights, mean.astype(np.float32), deviation.astype(np.float32))


@pytest.fixture(scope="module")
def audio():
    rng = np.random.default_rng(2)
    return [rng.normal(size=(length, FEATURES)).astype(np.float16) for length in LENGTHS]


@pytest.fixture(scope="module")
def whole(model):
    """Scores one file in one pass, padded beyond the network's reach; all files have the same shape."""
    around, length = TILE, 6 * TILE
    assert around > model.architecture.past
    compiled = jax.jit(lambda x, valid: logits(model.architecture, model.parameters, x, valid))

    def scores(file):
        x, valid = np.zeros((1, length, FEATURES), np.float32), np.zeros((1, length), bool)
        x[0, around : around + len(file)] = (file.astype(np.float32) - model.mean) / model.deviation
        valid[0, around : around + len(file)] = True
        result = np.asarray(compiled(x, valid))[0, around:]
        return 1 / (1 + np.exp(-result[: len(file), : len(model.types)]))

    return scores


def test_scores_in_tiles_are_those_of_one_whole_pass(model, audio, whole):
    for file, scores in zip(audio, raw_scores(model, audio), strict=True):
        assert scores.shape == (len(file), len(model.types))
        assert scores.dtype == np.float32
        np.testing.assert_allclose(scores, whole(file), atol=1e-5)


def test_detections_are_those_of_one_whole_pass(model, audio, whole):
    config = DetectionConfig(threshold=0.4, merge_window_ms=0, min_duration_ms=0)
    total = 0
    for file in audio:
        scores, duration = cleaned(whole(file), model.types), len(file) * 10 - 3
        result = detect(model, FileFeatures.of_mono(file), duration, config)
        expected = mono(scores, model.types, duration, config)
        assert [d[:3] for d in map(astuple, result)] == [d[:3] for d in map(astuple, expected)]
        total += len(result)
    assert total > 100


def test_many_files_at_once_have_the_same_scores_as_one_at_a_time(model, audio):
    together = frame_scores(model, audio * 2)
    for scores, file in zip(together, audio * 2, strict=True):
        np.testing.assert_allclose(scores, frame_scores(model, [file])[0], atol=1e-5)
    assert frame_scores(model, []) == []


def test_nothing_is_compiled_for_a_length_or_a_number_of_files(model, audio):
    frame_scores(model, audio)
    frame_scores(model, audio[:1])
    compiled = tile_scores._cache_size()
    for files in (audio[:3], audio[3:4], audio * 5):
        frame_scores(model, files)
    assert tile_scores._cache_size() == compiled


def test_an_offset_moves_only_the_logits_of_its_type(model, audio):
    moved = replace(model, types=(model.types[0], replace(model.types[1], offset=0.5), model.types[2]))
    (raw,) = raw_scores(model, audio[-1:])
    before, after = (shifted(raw, [learned.offset for learned in of.types]) for of in (model, moved))
    np.testing.assert_array_equal(after[:, [0, 2]], before[:, [0, 2]])
    odds = [scores[:, 1] / (1 - scores[:, 1]) for scores in (before, after)]
    np.testing.assert_allclose(odds[1] / odds[0], np.exp(2), rtol=1e-3)


def test_what_is_compiled_before_there_is_a_model_serves_all_models_of_its_architecture():
    architecture = Architecture(8, width=8)  # no other test has compiled for it
    prepare(empty_model(architecture))
    live.prepare(empty_model(architecture))
    compiled = tile_scores._cache_size()
    zeros, ones = np.zeros(FEATURES, np.float32), np.ones(FEATURES, np.float32)
    weights = jax.device_put(initial_parameters(architecture, 1))
    model = Model(architecture, (LearnedType("a"), LearnedType("b")), weights, zeros, ones)
    for frames in (1, TILE, 20 * TILE):
        track = np.ones((frames, FEATURES), np.float16)
        frame_scores(model, [track])
        stream = live.LiveStream(model, DetectionConfig(), [False])
        stream.push(track[:, None], np.ones((frames, 1), bool))
        live.advance([stream])
    assert tile_scores._cache_size() == compiled
