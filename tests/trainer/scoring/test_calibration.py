import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.scores import FRAME_MS
from earmark.trainer.model import LearnedType
from earmark.trainer.regions import Region, RegionEvent
from earmark.trainer.scoring.calibration import (
    CANDIDATES,
    LOGITS,
    LONGEST_MERGE_WINDOW_MS,
    LONGEST_MIN_DURATION_MS,
    SHORTEST_SHARE,
    gaps_ms,
    initial_offset,
    learned_types,
    merge_window_ms,
    min_duration_ms,
    offset,
    smoothing,
)
from earmark.trainer.scoring.detection import cleaned

LENGTHS = st.lists(st.integers(10, 5_000), min_size=1, max_size=30)
STEP = LOGITS[1] - LOGITS[0]


def counts_of(f1, regions, events=50):
    """Counts (thresholds, regions, 3), with the same F1 in every region at each threshold."""
    counts = np.full((len(CANDIDATES), regions, 3), events, np.int64)
    counts[..., 2] = np.round(np.array(f1) * events)[:, None]
    return counts


def peak(logit, best=0.9, sharpness=0.1):
    """An F1 that falls on both sides of `logit`."""
    return np.clip(best - sharpness * (LOGITS - logit) ** 2, 0, 1)


@pytest.mark.parametrize("logit", [-2.0, -1.0, 0.0, 1.5])
def test_the_threshold_with_the_best_f1_on_many_examples_becomes_one_half(logit):
    assert offset(counts_of(peak(logit), regions=40)) == pytest.approx(-logit, abs=STEP)


def test_few_examples_move_the_offset_less_than_many_do():
    offsets = [offset(counts_of(peak(-2, sharpness=0.2), 2, events)) for events in (1, 4, 40, 400)]
    assert offsets == sorted(offsets)
    assert offsets[0] < 2 - 2 * STEP
    assert offsets[-1] == pytest.approx(2, abs=STEP)


def test_few_examples_that_slightly_favour_a_distant_threshold_move_nothing():
    f1 = np.where(LOGITS <= -3, 0.8, 0.7)
    assert offset(counts_of(f1, regions=2, events=10)) == 0


def test_few_examples_move_the_offset_of_a_type_that_is_never_detected_otherwise():
    f1 = np.where(LOGITS <= -1.5, 0.8, 0.0)
    assert offset(counts_of(f1, regions=4, events=1)) >= 1.5


def test_equally_good_thresholds_move_nothing():
    assert offset(counts_of(np.full(len(CANDIDATES), 0.7), regions=3)) == 0


def test_a_best_threshold_with_bad_neighbours_is_not_chosen():
    spike = np.full(len(CANDIDATES), 0.5)
    spike[LOGITS == -3] = 0.9
    broad = np.maximum(np.full(len(CANDIDATES), 0.5), peak(2, 0.7))
    assert offset(counts_of(np.maximum(spike, broad), regions=40)) == pytest.approx(-2, abs=2 * STEP)


def test_one_region_unlike_the_others_does_not_decide():
    """A third of the bootstrap samples do not contain it, and gain nothing from its best threshold."""
    counts = counts_of(peak(0, 0.9, 0.02), regions=20, events=4)
    counts[:, 0] = counts_of(peak(-3, 1.0, 0.2), regions=1, events=4)[:, 0]
    assert offset(counts) == pytest.approx(0, abs=2 * STEP)


def test_false_alarms_count_in_regions_without_the_type():
    counts = counts_of(peak(-2, 0.9, 0.05), regions=20)
    assert offset(counts) == pytest.approx(2, abs=STEP)
    counts[:, 10:] = 0
    counts[LOGITS <= -1, 10:, 1] = 200
    assert offset(counts) < 1


def test_a_type_without_support_has_no_offset():
    unsupported = counts_of(peak(-2), regions=5)
    unsupported[..., [0, 2]] = 0
    assert offset(unsupported) == 0
    assert offset(np.zeros((len(CANDIDATES), 0, 3), np.int64)) == 0


@given(st.floats(1, 12), st.floats(1, 12))
def test_the_initial_offset_undoes_most_of_a_types_weight(one, other):
    assert initial_offset(1.0) == 0
    assert -np.log(one) <= initial_offset(one) <= -0.5 * np.log(one)
    assert (initial_offset(one) > initial_offset(other)) == (one < other) or one == pytest.approx(other)


@given(LENGTHS, st.lists(st.integers(0, 5_000), max_size=20))
def test_smoothing_is_odd_and_no_longer_than_half_an_artifact_or_a_gap(lengths, gaps):
    width = smoothing(lengths, gaps)
    assert width % 2 == 1
    assert width - 1 <= np.quantile(lengths, 0.1) / 2 / FRAME_MS
    assert not gaps or width - 1 <= np.quantile(gaps, 0.1) / FRAME_MS


@given(st.lists(st.integers(0, 5_000), min_size=1, max_size=50))
def test_the_merge_window_is_shorter_than_nearly_every_gap(gaps):
    window = merge_window_ms(gaps)
    assert 0 <= window <= LONGEST_MERGE_WINDOW_MS
    assert sum(gap <= window for gap in gaps if gap) <= 0.1 * len(gaps)


def test_without_gaps_the_merge_window_is_the_longest():
    assert merge_window_ms([]) == LONGEST_MERGE_WINDOW_MS


def test_gaps_are_between_neighbours_and_never_negative():
    spans = np.array([[0, 100], [150, 900], [200, 300], [900, 950], [1000, 1010]])
    assert gaps_ms(spans) == [50, 0, 0, 50]
    assert gaps_ms(np.empty((0, 2), np.int64)) == []


def test_what_is_learned_of_a_type_comes_from_its_own_events():
    events = [RegionEvent("close", 100 * n, 100 * n + 60) for n in range(20)]
    events += [RegionEvent("far", 5000, 5400), RegionEvent("far", 9000, 9400)]
    regions = [Region(0, 0, 1000, tuple(events)), Region(1, 0, 1000, (RegionEvent("far", 0, 400),))]
    close, far, absent = learned_types(("close", "far", "absent"), regions, np.ones(8, np.float32))
    assert (close.merge_window_ms, close.min_duration_ms, close.smoothing) == (20, 42, 3)
    assert (far.merge_window_ms, far.min_duration_ms, far.smoothing) == (200, 280, 21)
    assert (absent.merge_window_ms, absent.min_duration_ms, absent.smoothing) == (200, 0, 1)


@given(st.integers(4 * FRAME_MS, 5_000))
def test_smoothing_does_not_change_an_artifact_of_the_usual_length(length):
    outputs = -(-length // FRAME_MS)
    scores = np.zeros((outputs + 200, 1), np.float32)
    scores[100 : 100 + outputs] = 0.9
    kind = LearnedType("x", smoothing([length] * 5, []))
    np.testing.assert_array_equal(cleaned(scores, [kind]), scores)


@given(LENGTHS)
def test_the_shortest_detection_is_shorter_than_the_artifacts(lengths):
    shortest = min_duration_ms(lengths)
    lowest = min(SHORTEST_SHARE * min(lengths), LONGEST_MIN_DURATION_MS)
    assert lowest - 1 <= shortest <= SHORTEST_SHARE * np.median(lengths)


def test_the_shortest_length_is_one_that_a_request_can_set():
    assert min_duration_ms([60_000]) == LONGEST_MIN_DURATION_MS


def test_one_very_short_annotation_hardly_lowers_the_shortest_length():
    assert min_duration_ms([500] * 99 + [10]) == int(SHORTEST_SHARE * 500)


def test_without_lengths_nothing_is_smoothed_or_dropped():
    assert (smoothing([], []), min_duration_ms([])) == (1, 0)
