from itertools import accumulate

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from earmark.trainer.chunks import (
    ALIGNMENT,
    CORE_FRAMES,
    FUTURE_FRAMES,
    PAST_FRAMES,
    WINDOWS_PER_STEP,
    chunk_grid,
    chunk_starts,
    core_weights,
    window_table,
    windows_per_step,
)
from tests.trainer.jobs import config

CONFIGS = st.builds(
    lambda chunk, share, batch: config(
        chunk_size_ms=chunk, stride_ms=max(10, int(chunk * share)), batch_size=batch
    ),
    st.integers(100, 10_000),
    st.floats(0.001, 1),
    st.integers(8, 256),
)
GRIDS = CONFIGS.map(chunk_grid)


def test_at_the_defaults_a_window_is_four_seconds_of_overlapping_chunks():
    grid = chunk_grid(config())
    assert (grid.chunk, grid.stride, grid.chunks) == (50, 25, 1 + (CORE_FRAMES - 50) // 25)
    assert grid.core == CORE_FRAMES
    assert windows_per_step(config(), grid) == WINDOWS_PER_STEP


@given(settings=CONFIGS)
def test_all_valid_settings_give_a_valid_grid(settings):
    grid = chunk_grid(settings)
    assert 1 <= grid.stride <= grid.chunk
    assert abs(grid.chunk - settings.chunk_size_ms / 10) <= 0.5
    assert grid.core <= max(CORE_FRAMES, grid.chunk)
    assert grid.length % ALIGNMENT == 0
    assert 0 <= grid.length - grid.core - PAST_FRAMES - FUTURE_FRAMES < ALIGNMENT


@given(settings=CONFIGS)
def test_a_step_has_several_windows_and_about_as_many_chunks_as_requested(settings):
    grid = chunk_grid(settings)
    windows = windows_per_step(settings, grid)
    assert windows >= WINDOWS_PER_STEP
    assert abs(windows * grid.chunks - settings.batch_size) <= grid.chunks / 2


@given(grid=GRIDS, frames=st.integers(1, 5000))
def test_chunks_begin_inside_the_file_and_cover_it(grid, frames):
    starts = chunk_starts(frames, grid)
    assert starts[0] == 0
    assert starts[-1] < frames <= starts[-1] + grid.chunk
    assert np.all(np.diff(starts) == grid.stride)


@given(grid=GRIDS, lengths=st.lists(st.integers(1, 3000), min_size=1, max_size=4), first=st.integers(0, 500))
def test_every_chunk_is_in_exactly_one_window(grid, lengths, first):
    """Each region is a file without its first frames."""
    ends = list(accumulate(first + length for length in lengths))
    bounds = [(end - length, end) for end, length in zip(ends, lengths, strict=True)]
    in_windows = []
    for start, _, _, chunks in window_table(bounds, grid).tolist():
        in_windows += [start + number * grid.stride for number in range(chunks)]
    expected = [begin + start for begin, end in bounds for start in chunk_starts(end - begin, grid).tolist()]
    assert sorted(in_windows) == sorted(expected)


@given(grid=GRIDS, frames=st.integers(1, 20_000))
def test_a_windows_core_begins_in_its_region_and_is_no_longer_than_a_core(grid, frames):
    table = window_table([(7, 7 + frames)], grid)
    start, begin, end, chunks = table.T
    assert set(zip(begin, end, strict=True)) == {(7, 7 + frames)}
    assert np.all((begin <= start) & (start < end))
    assert np.all((chunks >= 1) & ((chunks - 1) * grid.stride + grid.chunk <= grid.core))


@given(grid=GRIDS, frames=st.integers(1, 20_000))
def test_the_windows_of_a_region_are_equally_full(grid, frames):
    chunks = window_table([(0, frames)], grid)[:, 3]
    assert chunks.max() - chunks.min() <= 1


@given(grid=GRIDS, share=st.floats(0, 1))
def test_a_frame_counts_as_often_as_chunks_of_the_window_contain_it(grid, share):
    chunks = round(share * grid.chunks)
    counted = np.zeros(grid.length, np.int64)
    for number in range(chunks):
        begin = grid.past + number * grid.stride
        counted[begin : begin + grid.chunk] += 1
    first, last = core_weights(grid)
    np.testing.assert_array_equal(np.maximum(0, np.minimum(last, chunks - 1) - first + 1), counted)
