"""The matching is as large as SciPy's, which is the reference."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from earmark.matching import close_pairs, largest_matching, matched_pairs

PAIRS = st.sets(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=120)


def size_by_scipy(rows, columns):
    if not len(rows):
        return 0
    pairs = csr_array((np.ones(len(rows), np.int8), (rows, columns)))
    return int((maximum_bipartite_matching(pairs, perm_type="column") >= 0).sum())


def check(rows, columns):
    chosen = list(zip(*(side.tolist() for side in largest_matching(rows, columns)), strict=True))
    assert set(chosen) <= set(zip(rows.tolist(), columns.tolist(), strict=True))
    assert len({row for row, _ in chosen}) == len({column for _, column in chosen}) == len(chosen)
    assert len(chosen) == size_by_scipy(rows, columns)
    assert chosen == sorted(chosen)


@given(PAIRS)
def test_any_pairs_have_a_matching_as_large_as_that_of_scipy(pairs):
    check(*np.array(sorted(pairs), np.int64).reshape(-1, 2).T)


@given(st.integers(0, 2**32), st.integers(1, 150), st.integers(500, 20_000))
def test_dense_events_have_a_matching_as_large_as_that_of_scipy(seed, events, duration_ms):
    rng = np.random.default_rng(seed)
    onsets = rng.integers(0, duration_ms, (2, events))
    reference, estimated = (np.stack([on, on + rng.integers(10, 600, events)], axis=1) for on in onsets)
    check(*close_pairs(reference, estimated))


def test_a_long_chain_is_matched_whole():
    rows = np.repeat(np.arange(20_000), 2)
    columns = (rows + np.tile([0, 1], 20_000))[1:]  # the first row has the second column alone
    check(rows[1:], columns)


def test_many_events_at_one_place_are_matched_once():
    same = np.tile([[1000, 2000]], (3000, 1))
    assert len(matched_pairs(same, same[:40])[0]) == 40
