"""Two jobs over the same files are compared in pairs."""

import numpy as np
import pytest

from earmark.gateway.evaluation.comparison import Difference, differences
from earmark.metrics import FEWEST_FILES, RESAMPLES, Counts


def counts(seed, files=40, share=0.6, types=2):
    """(files, types, 3): files of very different difficulty, of which `share` is found."""
    rng = np.random.default_rng(seed)
    real = np.random.default_rng(0).integers(1, 12, (files, types))
    hard = np.random.default_rng(1).random((files, 1))
    right = rng.binomial(real, np.clip(share * 2 * hard, 0, 1))
    return np.stack([real, np.maximum(right, rng.integers(0, 4, (files, types))), right], axis=2)


def test_the_differences_are_those_of_the_figures():
    first, second = counts(2), counts(3, share=0.4)
    *of_types, micro, macro = differences(first, second)
    scores = [
        [Counts(*row).figures().f1_score for row in side.sum(axis=0).tolist()] for side in (first, second)
    ]
    assert [each.value for each in of_types] == pytest.approx([a - b for a, b in zip(*scores, strict=True)])
    assert macro.value == pytest.approx(np.mean(scores[0]) - np.mean(scores[1]))
    totals = [Counts(*side.sum(axis=(0, 1)).tolist()).figures().f1_score for side in (first, second)]
    assert micro.value == pytest.approx(totals[0] - totals[1])
    for each in (*of_types, micro, macro):
        assert each.interval.low < each.value < each.interval.high


def test_the_draws_are_those_of_the_same_files():
    """File by file, by hand."""
    first, second = counts(2, files=9, types=1), counts(3, files=9, types=1)
    drawn = np.random.default_rng(0).multinomial(9, np.full(9, 1 / 9), RESAMPLES)
    less = []
    for times in drawn:
        sums = [np.repeat(side[:, 0], times, axis=0).sum(axis=0).tolist() for side in (first, second)]
        scores = [Counts(*of_side).figures().f1_score for of_side in sums]
        less.append(scores[0] - scores[1])
    of_type, *_ = differences(first, second)
    assert [of_type.interval.low, of_type.interval.high] == pytest.approx(np.percentile(less, [2.5, 97.5]))
    shares = [np.greater(less, 0).mean() + np.equal(less, 0).mean() / 2]
    assert [of_type.first_better] == pytest.approx(shares)


def test_a_job_is_no_better_than_itself():
    for each in differences(counts(2), counts(2)):
        assert (each.value, each.interval.low, each.interval.high, each.first_better) == (0, 0, 0, 0.5)


def test_pairs_are_narrower_than_jobs_apart():
    first, second = counts(2), counts(2)
    second[:, :, 2] = np.maximum(0, second[:, :, 2] - 1)
    micro = differences(first, second)[-2]
    apart = differences(first, second[np.random.default_rng(7).permutation(len(second))])[-2]
    assert micro.value == pytest.approx(apart.value)
    assert micro.first_better == 1.0
    assert micro.interval.high - micro.interval.low < apart.interval.high - apart.interval.low


def test_too_few_files_have_no_interval_and_no_annotations_no_difference():
    first, second = counts(2), counts(3)
    first[FEWEST_FILES - 1 :, 0, [0, 2]] = second[FEWEST_FILES - 1 :, 0, [0, 2]] = 0
    first[:, 1, [0, 2]] = second[:, 1, [0, 2]] = 0
    rare, absent, micro, macro = differences(first, second)
    assert rare.value is not None
    assert rare.interval is rare.first_better is None
    assert absent == Difference(None)
    assert micro.interval is macro.interval is None
    assert macro.value == rare.value
