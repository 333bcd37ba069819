import json
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.figures import Figures
from earmark.matching import matched_pairs
from earmark.metrics import (
    FEWEST_FILES,
    Counts,
    average_precision,
    boolean_counts,
    chunk_labels,
    event_counts,
    event_counts_by_region,
    f1_intervals,
    segment_counts,
)

SPANS = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 30)), max_size=5).map(
    lambda pairs: np.array([(50 * a, 50 * (a + b)) for a, b in pairs], np.int64).reshape(-1, 2),
)
COUNTS = st.builds(Counts, *3 * [st.integers(0, 50)])

# As sed_eval 0.2.1 counts random lists: make_sed_eval_cases.py says how.
SED_EVAL_CASES = json.loads(Path(__file__).with_name("sed_eval_cases.json").read_text())

# (reference, estimated, matched), as sed_eval counts these too.
EXAMPLES = [
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


def close(event, estimate):
    collar = max(200, (event[1] - event[0]) / 2)
    return abs(event[0] - estimate[0]) <= 200 and abs(event[1] - estimate[1]) <= collar


def matches(reference, estimated):
    return len(matched_pairs(reference, estimated)[0])


def f1_interval(counts):
    return f1_intervals(counts[:, None])[0]


def best_by_trying_all(reference, estimated):
    allowed = np.array([[close(a, b) for b in estimated] for a in reference], bool)
    allowed = allowed.reshape(len(reference), len(estimated))
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
def test_the_matching_is_the_largest_possible(reference, estimated):
    assert matches(reference, estimated) == best_by_trying_all(reference, estimated)


@given(reference=SPANS, estimated=SPANS, order=st.randoms())
def test_the_order_of_events_does_not_matter(reference, estimated, order):
    shuffled = reference.tolist()
    order.shuffle(shuffled)
    assert matches(spans(*shuffled), estimated) == matches(reference, estimated)


@given(events=SPANS)
def test_events_match_themselves(events):
    assert event_counts(events, events) == Counts(len(events), len(events), len(events))


@pytest.mark.parametrize(("reference", "estimated", "expected"), EXAMPLES)
def test_which_events_match(reference, estimated, expected):
    assert matches(spans(*reference), spans(*estimated)) == expected


@pytest.mark.parametrize(("counted", "level"), [(event_counts, "events"), (segment_counts, "segments")])
def test_events_and_segments_are_counted_as_by_sed_eval(counted, level):
    assert len(SED_EVAL_CASES) >= 200
    for number, case in enumerate(SED_EVAL_CASES):
        for kind, (right, wrong, missed) in case[level].items():
            lists = [(spans(*f["reference"][kind]), spans(*f["estimated"][kind])) for f in case["files"]]
            total = sum((counted(*pair) for pair in lists), Counts())
            assert total == Counts(right + missed, right + wrong, right), (number, kind)


def test_regions_on_one_timeline_are_counted_as_on_their_own():
    for case in SED_EVAL_CASES:
        region_starts = np.arange(len(case["files"])) * 20_000
        for kind in "abc":
            lists = [(spans(*f["reference"][kind]), spans(*f["estimated"][kind])) for f in case["files"]]
            line = [
                np.concatenate(
                    [
                        spans_of_file + start
                        for spans_of_file, start in zip(column, region_starts, strict=True)
                    ]
                )
                for column in zip(*lists, strict=True)
            ]
            each = [event_counts(*pair) for pair in lists]
            counts = [[c.reference, c.estimated, c.matched] for c in each]
            assert event_counts_by_region(*line, region_starts).tolist() == counts
            assert segment_counts(*line) == sum((segment_counts(*pair) for pair in lists), Counts())


def test_memory_grows_only_with_the_number_of_close_pairs():
    onsets = 1000 * np.arange(100_000)
    events = np.stack([onsets, onsets + 300], axis=1)
    assert matches(events, events + 50) == len(events)


def test_a_segment_is_active_when_an_event_covers_any_of_it():
    assert segment_counts(spans((99, 201)), spans((100, 200))) == Counts(3, 1, 1)
    assert segment_counts(spans((0, 100), (50, 150)), spans()) == Counts(2, 0, 0)
    assert segment_counts(spans(), spans()) == Counts()


def test_the_matching_is_not_greedy():
    assert matches(spans((0, 400), (150, 550)), spans((150, 550), (-150, 350))) == 2


@given(a=COUNTS, b=COUNTS, c=COUNTS)
def test_counts_add_up_in_any_order(a, b, c):
    assert (a + b) + c == c + (b + a)


def test_figures_without_support_are_unset():
    assert Counts(0, 5, 0).figures() == Figures(None, None, None, 0)


def test_figures_without_an_estimate_have_no_precision():
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


def test_what_two_events_cover_of_a_chunk_counts_once():
    starts = np.array([0, 500])
    assert chunk_labels(spans((350, 1500), (350, 1500)), starts, 500).tolist() == [False, True]
    assert chunk_labels(spans((350, 1500), (-400, 100)), starts, 500).tolist() == [True, True]


@given(events=SPANS, stride=st.integers(1, 9), chunk=st.integers(1, 30))
def test_chunk_labels_agree_with_counting_milliseconds(events, stride, chunk):
    starts, length = 50 * stride * np.arange(12), 50 * chunk
    line = np.zeros(12 * 50 * 9 + 50 * 100, bool)
    for start, end in events:
        line[start:end] = True
    for start, label in zip(starts, chunk_labels(events, starts, length), strict=True):
        halves = [2 * (min(e, start + length) - max(s, start)) >= e - s for s, e in events]
        assert label == (any(halves) or 2 * line[start : start + length].sum() >= length)


def test_boolean_counts():
    reference, estimated = np.array([1, 1, 0, 0], bool), np.array([1, 0, 1, 0], bool)
    assert boolean_counts(reference, estimated) == Counts(2, 2, 1)


def test_average_precision_is_that_of_scikit_learn():
    # sklearn.metrics.average_precision_score of the documentation's example, and one with ties
    positive, scores = np.array([False, False, True, True]), np.array([0.1, 0.4, 0.35, 0.8])
    assert average_precision(positive, scores) == pytest.approx(0.8333333)
    assert average_precision(np.array([True, False, True, False]), np.full(4, 0.5)) == pytest.approx(0.5)
    assert average_precision(np.array([False, False]), np.array([0.1, 0.4])) is None


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1)), min_size=1, max_size=20))
def test_average_precision_lies_between_the_share_of_positives_and_one(pairs):
    positive, scores = np.array([p for p, _ in pairs]), np.array([s for _, s in pairs])
    value = average_precision(positive, scores)
    assert value is None or 0 < value <= 1 + 1e-12


def test_an_interval_contains_the_f1_of_all_files():
    rng = np.random.default_rng(0)
    real = rng.integers(1, 9, 40)
    counts = np.stack([real, rng.integers(1, 9, 40), rng.binomial(real, 0.6)], axis=1)
    counts[:, 2] = np.minimum(counts[:, 2], counts[:, 1])
    reference, estimated, right = counts.sum(axis=0)
    interval = f1_interval(counts)
    assert 0 < interval.low < 2 * right / (reference + estimated) < interval.high < 1
    assert interval == f1_interval(counts)
    narrower = f1_interval(np.concatenate([counts] * 8))
    assert narrower.high - narrower.low < 0.5 * (interval.high - interval.low)


def test_an_interval_contains_the_true_f1_about_95_times_in_100():
    rng = np.random.default_rng(1)
    inside = 0
    for _ in range(200):
        real = rng.poisson(4, 30)
        counts = np.stack([real, real, rng.binomial(real, 0.7)], axis=1)
        interval = f1_interval(counts)
        inside += interval.low <= 0.7 <= interval.high
    assert 0.88 <= inside / 200 <= 0.99


def test_too_few_files_with_the_type_have_no_interval():
    counts = np.array([[2, 2, 1]] * (FEWEST_FILES - 1) + [[0, 1, 0]] * 20)
    assert f1_interval(counts) is None
    assert f1_interval(np.concatenate([counts, [[1, 1, 1]]])) is not None
    assert f1_interval(np.empty((0, 3), np.int64)) is None
