"""The chunk grid, and the windows in which neighbouring chunks share their context.

Lengths are in frames of the front end (10 ms). Chunks of `chunk` frames start every `stride` frames. Every
`tilings`-th chunk does not overlap the one before, so up to `chunks` of them in a row form a window's core,
and the context on both sides is paid for once.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trainer.frontend import FRAME_MS
from trainer.job import TrainingConfig
from trainer.split import Region

CORE_FRAMES = 400
CONTEXT_FRAMES = 64
WINDOWS_PER_STEP = 4  # at least so many, so that a step sees more than one place
ALIGNMENT = 16  # what the network's folding of frames divides


@dataclass(frozen=True, slots=True)
class Grid:
    """The geometry of a window; hashable, for it fixes the shapes of the compiled step."""

    chunk: int
    stride: int
    tilings: int
    chunks: int
    context: int

    @property
    def period(self) -> int:
        """From one chunk of a window to the next."""
        return self.tilings * self.stride

    @property
    def length(self) -> int:
        """Of a window with its context on both sides, aligned."""
        core = (self.chunks - 1) * self.period + self.chunk
        return -(-(core + 2 * self.context) // ALIGNMENT) * ALIGNMENT


def chunk_grid(config: TrainingConfig) -> Grid:
    """A core of about CORE_FRAMES, or less where a step would hold too few windows."""
    chunk = max(1, round(config.chunk_size_ms / FRAME_MS))
    stride = min(chunk, max(1, round(config.stride_ms / FRAME_MS)))
    tilings = -(-chunk // stride)
    fitting = CORE_FRAMES // (tilings * stride)
    chunks = max(1, min(fitting, config.batch_size // WINDOWS_PER_STEP))
    return Grid(chunk, stride, tilings, chunks, CONTEXT_FRAMES)


def chunk_starts(frames: int, grid: Grid) -> np.ndarray:
    """First frames of the chunks of a region of `frames`; the last chunk may reach beyond its end."""
    count = 1 + max(0, -(-(frames - grid.chunk) // grid.stride))
    return np.arange(count) * grid.stride


def window_table(regions: Sequence[Region], offsets: np.ndarray, grid: Grid) -> np.ndarray:
    """(windows, 4) int32: first frame of the core, begin and end of the region, chunks in the window.

    `offsets[file]` is where the file begins in the resident array. Each chunk is in exactly one window.
    """
    rows = []
    for region in regions:
        begin, end = offsets[region.file] + region.start, offsets[region.file] + region.end
        starts = chunk_starts(region.end - region.start, grid)
        for tiling in range(min(grid.tilings, len(starts))):
            mine = starts[tiling :: grid.tilings]
            rows += [
                (begin + mine[first], begin, end, min(grid.chunks, len(mine) - first))
                for first in range(0, len(mine), grid.chunks)
            ]
    return np.array(rows, np.int32).reshape(-1, 4)


def core_weights(grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Per frame of a window: 1 inside a chunk else 0, and that chunk's number (both (length,))."""
    position = np.arange(grid.length) - grid.context
    number = position // grid.period
    inside = (position >= 0) & (position % grid.period < grid.chunk) & (number < grid.chunks)
    return inside.astype(np.float32), number.astype(np.int32)
