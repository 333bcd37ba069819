from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.events import Figures
from trainer.metrics import (
    Counts,
    acceptable,
    average_precision,
    boolean_counts,
    chunk_labels,
    event_counts,
    match,
)

SPANS = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 30)), max_size=5).map(
    lambda pairs: np.array([(50 * a, 50 * (a + b)) for a, b in pairs], np.int64).reshape(-1, 2),
)
COUNTS = st.builds(Counts, *3 * [st.integers(0, 50)])

# (reference, estimated, matched) as sed_eval 0.2.1 counts them (t_collar 0.2, percentage_of_length 0.5). On
# 3,000 random lists the two differed twice, each time at a distance of exactly 200 ms, which is more than
# 0.2 s in floating point: in whole milliseconds it is not.
SED_EVAL_CASES = [
    ([], [], 0),
    ([(0, 500)], [], 0),
    ([], [(0, 500)], 0),
    ([(0, 500), (500, 1000)], [(0, 1000)], 0),
    ([(0, 500), (500, 1000)], [(10, 490), (510, 990)], 2),
    ([(0, 1000)], [(0, 500), (500, 1000)], 1),
    ([(0, 120)], [(0, 320)], 1),
    ([(0, 120)], [(0, 321)], 0),
    ([(1000, 3000)], [(1199, 3990)], 1),
    ([(1000, 3000)], [(1150, 2010)], 1),
    ([(1000, 3000)], [(1150, 1990)], 0),
    ([(1000, 3000)], [(1210, 3000)], 0),
    ([(19800, 20000)], [(19950, 20000)], 1),
    ([(0, 300), (100, 400), (200, 500)], [(190, 480), (250, 600)], 2),
    ([(0, 60), (70, 130), (140, 200)], [(0, 200)], 1),
    ([(0, 200), (0, 200)], [(0, 200), (0, 200)], 2),
]


def spans(*pairs):
    return np.array(pairs, np.int64).reshape(-1, 2)


def best_by_trying_all(reference, estimated):
    allowed = acceptable(reference, estimated)
    if allowed.shape[0] > allowed.shape[1]:
        allowed = allowed.T
    rows, columns = allowed.shape
    return max(
        (
            sum(allowed[row, column] for row, column in enumerate(order))
            for order in permutations(range(columns), rows)
        ),
        default=0,
    )


@given(reference=SPANS, estimated=SPANS)
def test_the_matching_is_the_largest_there_is(reference, estimated):
    assert match(reference, estimated) == best_by_trying_all(reference, estimated)


@given(reference=SPANS, estimated=SPANS, order=st.randoms())
def test_the_order_of_events_does_not_matter(reference, estimated, order):
    shuffled = reference.tolist()
    order.shuffle(shuffled)
    assert match(spans(*shuffled), estimated) == match(reference, estimated)


@given(events=SPANS)
def test_events_match_themselves(events):
    assert event_counts(events, events) == Counts(len(events), len(events), len(events))


@pytest.mark.parametrize(("reference", "estimated", "matched"), SED_EVAL_CASES)
def test_events_are_counted_as_sed_eval_counts_them(reference, estimated, matched):
    assert match(spans(*reference), spans(*estimated)) == matched


def test_a_greedy_matcher_would_lose_one():
    assert match(spans((0, 400), (150, 550)), spans((150, 550), (-150, 350))) == 2


@given(a=COUNTS, b=COUNTS, c=COUNTS)
def test_counts_add_up_in_any_order(a, b, c):
    assert (a + b) + c == c + (b + a)


def test_figures_without_support_are_unset():
    assert Counts(0, 5, 0).figures() == Figures(None, None, None, 0)


def test_figures_without_a_claim_have_no_precision():
    assert Counts(4, 0, 0).figures() == Figures(None, 0.0, 0.0, 4)


def test_figures():
    assert Counts(4, 2, 1).figures() == Figures(0.5, 0.25, 1 / 3, 4)


def test_a_chunk_is_positive_when_half_of_it_or_half_of_the_event_is_in_it():
    starts = np.array([0, 500, 1000])
    assert chunk_labels(spans((250, 700)), starts, 500).tolist() == [True, False, False]
    assert chunk_labels(spans((499, 501)), starts, 500).tolist() == [True, True, False]
    assert chunk_labels(spans((260, 1240)), starts, 500).tolist() == [False, True, False]
    assert chunk_labels(spans((500, 620), (620, 740), (900, 2000)), starts, 500).tolist() == [
        False,
        True,
        True,
    ]
    assert not chunk_labels(spans(), starts, 500).any()


def test_boolean_counts():
    reference, estimated = np.array([1, 1, 0, 0], bool), np.array([1, 0, 1, 0], bool)
    assert boolean_counts(reference, estimated) == Counts(2, 2, 1)


def test_average_precision_is_that_of_scikit_learn():
    # sklearn.metrics.average_precision_score of the documentation's example, and one with ties
    assert average_precision(np.array([0, 0, 1, 1]), np.array([0.1, 0.4, 0.35, 0.8])) == pytest.approx(
        0.8333333
    )
    assert average_precision(np.array([1, 0, 1, 0]), np.full(4, 0.5)) == pytest.approx(0.5)
    assert average_precision(np.array([0, 0]), np.array([0.1, 0.4])) is None


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1)), min_size=1, max_size=20))
def test_average_precision_lies_between_the_share_of_positives_and_one(pairs):
    positive, scores = np.array([p for p, _ in pairs]), np.array([s for _, s in pairs])
    value = average_precision(positive, scores)
    assert value is None or 0 < value <= 1 + 1e-12
