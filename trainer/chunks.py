"""The chunk grid, and the windows in which neighbouring chunks share their context.

Lengths are in frames of the front end (10 ms). Chunks of `chunk` frames start every `stride` frames. Up to
`chunks` of them in a row form a window's core, so that what they share is computed once, and so is the
context on both sides.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int32

from trainer.features.frontend import FRAME_MS
from trainer.job import TrainingConfig

CORE_FRAMES = 400
CONTEXT_FRAMES = 64
WINDOWS_PER_STEP = 2  # at least so many, so that a step sees more than one place
ALIGNMENT = 16  # what the network's folding of frames divides


@dataclass(frozen=True, slots=True)
class Grid:
    """The geometry of a window; hashable, for it fixes the shapes of the compiled step."""

    chunk: int
    stride: int
    chunks: int
    context: int

    @property
    def core(self) -> int:
        """Of a window's chunks, from the first one's start to the last one's end."""
        return (self.chunks - 1) * self.stride + self.chunk

    @property
    def length(self) -> int:
        """Of a window with its context on both sides, aligned."""
        return -(-(self.core + 2 * self.context) // ALIGNMENT) * ALIGNMENT


def chunk_grid(config: TrainingConfig) -> Grid:
    """A core of about CORE_FRAMES, or less where a step would hold too few windows."""
    chunk = max(1, round(config.chunk_size_ms / FRAME_MS))
    stride = min(chunk, max(1, round(config.stride_ms / FRAME_MS)))
    fitting = 1 + max(0, CORE_FRAMES - chunk) // stride
    return Grid(chunk, stride, max(1, min(fitting, config.batch_size // WINDOWS_PER_STEP)), CONTEXT_FRAMES)


def windows_per_step(config: TrainingConfig, grid: Grid) -> int:
    """As many as hold `batch_size` chunks, to the nearest."""
    return max(1, round(config.batch_size / grid.chunks))


def chunk_starts(frames: int, grid: Grid) -> np.ndarray:
    """First frames of the chunks of a region of `frames`; the last chunk may reach beyond its end."""
    count = 1 + max(0, -(-(frames - grid.chunk) // grid.stride))
    return np.arange(count) * grid.stride


def window_table(bounds: Sequence[tuple[int, int]], grid: Grid) -> Int32[np.ndarray, "windows 4"]:
    """Each window as a row: first frame of its core, begin and end of its region, number of its chunks.

    `bounds` are the begin and the end of each region in the shard. Each chunk is in exactly one window, and
    the windows of a region have as equal numbers of chunks as possible.
    """
    rows = []
    for begin, end in bounds:
        starts = chunk_starts(end - begin, grid)
        parts = np.array_split(starts, -(-len(starts) // grid.chunks))
        rows += [(begin + part[0], begin, end, len(part)) for part in parts]
    return np.array(rows, np.int32).reshape(-1, 4)


def core_weights(grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Per frame of a window (length,): the first and the last of the chunks that it lies in.

    The last is lower than the first where it lies in none. Neither is limited to the window's own chunks.
    """
    position = np.arange(grid.length) - grid.context
    first = np.maximum(0, (position - grid.chunk) // grid.stride + 1)
    return first.astype(np.int32), (position // grid.stride).astype(np.int32)
