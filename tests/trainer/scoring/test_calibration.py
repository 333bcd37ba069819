import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.model import LearnedType
from trainer.network import OUTPUT_MS
from trainer.scoring.calibration import (
    CANDIDATES,
    LOGITS,
    SHORTEST_SHARE,
    first_offset,
    offset,
    shortest_ms,
    smoothing,
)
from trainer.scoring.detection import cleaned

LENGTHS = st.lists(st.integers(10, 5_000), min_size=1, max_size=30)
STEP = LOGITS[1] - LOGITS[0]


def counts_of(f1, regions, events=50):
    """(thresholds, regions, 3): at each threshold every region has the same F1."""
    counts = np.full((len(CANDIDATES), regions, 3), events, np.int64)
    counts[..., 2] = np.round(np.array(f1) * events)[:, None]
    return counts


def peak(logit, best=0.9, sharpness=0.1):
    """An F1 that falls on both sides of `logit`."""
    return np.clip(best - sharpness * (LOGITS - logit) ** 2, 0, 1)


@pytest.mark.parametrize("logit", [-2.0, -1.0, 0.0, 1.5])
def test_the_threshold_with_the_best_f1_becomes_one_half_where_many_say_so(logit):
    assert offset(counts_of(peak(logit), regions=40)) == pytest.approx(-logit, abs=STEP)


def test_what_a_handful_says_is_believed_less_than_what_many_say():
    moved = [offset(counts_of(peak(-2, sharpness=0.2), 2, events)) for events in (1, 4, 40, 400)]
    assert moved == sorted(moved)
    assert moved[0] < 2 - 2 * STEP
    assert moved[-1] == pytest.approx(2, abs=STEP)


def test_a_handful_that_favours_another_threshold_by_little_moves_nothing_far():
    f1 = np.where(LOGITS <= -3, 0.8, 0.7)
    assert offset(counts_of(f1, regions=2, events=10)) == 0


def test_a_type_that_is_never_found_is_believed_more_however_few_examples_there_are():
    f1 = np.where(LOGITS <= -1.5, 0.8, 0.0)
    assert offset(counts_of(f1, regions=4, events=1)) >= 1.5


def test_of_equals_the_one_in_the_middle_counts():
    assert offset(counts_of(np.full(len(CANDIDATES), 0.7), regions=3)) == 0


def test_a_best_threshold_whose_neighbours_are_bad_is_chance():
    spike = np.full(len(CANDIDATES), 0.5)
    spike[LOGITS == -3] = 0.9
    broad = np.maximum(np.full(len(CANDIDATES), 0.5), peak(2, 0.7))
    assert offset(counts_of(np.maximum(spike, broad), regions=40)) == pytest.approx(-2, abs=2 * STEP)


def test_a_region_that_is_nothing_like_the_others_does_not_decide():
    """Draws of regions without it, a third of all, gain nothing by what it wants."""
    counts = counts_of(peak(0, 0.9, 0.02), regions=20, events=4)
    counts[:, 0] = counts_of(peak(-3, 1.0, 0.2), regions=1, events=4)[:, 0]
    assert offset(counts) == pytest.approx(0, abs=2 * STEP)


def test_false_alarms_count_in_regions_without_the_type():
    counts = counts_of(peak(-2, 0.9, 0.05), regions=20)
    assert offset(counts) == pytest.approx(2, abs=STEP)
    counts[:, 10:] = 0
    counts[LOGITS <= -1, 10:, 1] = 200
    assert offset(counts) < 1


def test_without_support_a_type_is_left_as_it_is():
    claimed = counts_of(peak(-2), regions=5)
    claimed[..., [0, 2]] = 0
    assert offset(claimed) == 0
    assert offset(np.zeros((len(CANDIDATES), 0, 3), np.int64)) == 0


@given(st.floats(1, 12), st.floats(1, 12))
def test_most_of_a_types_weight_is_undone_from_the_start(one, other):
    assert first_offset(1.0) == 0
    assert -np.log(one) <= first_offset(one) <= -0.5 * np.log(one)
    assert (first_offset(one) > first_offset(other)) == (one < other) or one == pytest.approx(other)


@given(LENGTHS)
def test_smoothing_is_odd_and_about_half_of_a_short_artifact_at_most(lengths):
    width = smoothing(lengths)
    assert width % 2 == 1
    assert width - 1 <= np.quantile(lengths, 0.1) / 2 / OUTPUT_MS


@given(st.integers(4 * OUTPUT_MS, 5_000))
def test_smoothing_leaves_an_artifact_of_the_usual_length(length):
    found = -(-length // OUTPUT_MS)
    scores = np.zeros((found + 200, 1), np.float32)
    scores[100 : 100 + found] = 0.9
    kind = LearnedType("x", smoothing([length] * 5))
    np.testing.assert_array_equal(cleaned(scores, [kind]), scores)


@given(LENGTHS)
def test_no_detection_need_be_longer_than_the_artifacts_are(lengths):
    shortest = shortest_ms(lengths)
    assert SHORTEST_SHARE * min(lengths) - 1 <= shortest <= SHORTEST_SHARE * np.median(lengths)


def test_one_slip_of_the_mouse_hardly_shortens_what_is_found():
    assert shortest_ms([500] * 99 + [10]) == int(SHORTEST_SHARE * 500)


def test_without_lengths_nothing_is_cleaned_or_dropped():
    assert (smoothing([]), shortest_ms([])) == (1, 0)
