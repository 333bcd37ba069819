import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from signals import config

from trainer.chunks import chunk_grid, chunk_starts, core_weights, window_table
from trainer.split import Region

GRIDS = st.builds(
    lambda chunk, share, batch: chunk_grid(
        config(chunk_size_ms=chunk, stride_ms=max(10, int(chunk * share)), batch_size=batch),
    ),
    st.integers(100, 10_000),
    st.floats(0.001, 1),
    st.integers(8, 256),
)


def test_at_the_defaults_eight_chunks_share_a_window():
    grid = chunk_grid(config())
    assert (grid.chunk, grid.stride, grid.tilings, grid.chunks) == (50, 25, 2, 8)


@given(grid=GRIDS, lengths=st.lists(st.integers(1, 3000), min_size=1, max_size=4))
def test_every_chunk_is_in_exactly_one_window_and_stays_apart_from_its_neighbours(grid, lengths):
    offsets = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    regions = [Region(number, 0, length) for number, length in enumerate(lengths)]
    found = []
    for start, begin, end, chunks in window_table(regions, offsets, grid):
        assert begin <= start < end
        assert 1 <= chunks <= grid.chunks
        found += [start + n * grid.period for n in range(chunks)]
    wanted = [o + s for o, n in zip(offsets, lengths, strict=True) for s in chunk_starts(n, grid)]
    assert sorted(found) == sorted(wanted)


@given(grid=GRIDS, frames=st.integers(1, 5000))
def test_chunks_begin_inside_the_file_and_cover_it(grid, frames):
    starts = chunk_starts(frames, grid)
    assert starts[-1] < frames <= starts[-1] + grid.chunk or grid.stride == grid.chunk
    assert starts[-1] + grid.chunk >= frames
    assert np.all(np.diff(starts) == grid.stride)


@given(grid=GRIDS)
def test_a_window_holds_its_chunks_with_context_on_both_sides(grid):
    inside, number = core_weights(grid)
    assert inside.sum() == grid.chunk * grid.chunks
    covered = np.flatnonzero(inside)
    assert covered[0] >= grid.context
    assert grid.length - 1 - covered[-1] >= grid.context
    assert sorted(set(number[covered])) == list(range(grid.chunks))


@given(grid=GRIDS)
def test_the_loss_reads_from_several_places_in_a_step(grid):
    assert grid.chunks <= max(1, 256 // 4)
    assert grid.period >= grid.chunk
